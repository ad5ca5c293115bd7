"""All data sets as a table, one of them as its card, and what this machine has of each."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from tabulate import tabulate

from reprolib.data.acquire.fetch import downloads
from reprolib.data.card import Card, File
from reprolib.data.cards import CARDS
from reprolib.data.catalog import find
from reprolib.data.errors import DataError

PREPARED, ON_DEMAND = "prepared", "made on demand"


def state(name: str, options: Mapping[str, object], *, root: Path = Path("data")) -> str:
    """What this machine has of a data set: `PREPARED`, `ON_DEMAND` for generated ones, how much of its files, or why
    that is not known. Reads only."""
    card = CARDS.get(name)
    try:
        if find(name, options, root=root):
            return PREPARED
    except DataError as error:
        return ON_DEMAND if card and card.generated and not options else str(error)
    if card.generated:
        return ON_DEMAND
    folder = downloads(root, card.files_owner)
    fetched = [file for file in card.files if (folder / file.name).is_file()]
    begun = [f"{file.name} {_share(file, part)}" for file in card.files if (part := _part(folder, file))]
    here = [f"{len(fetched)} of {len(card.files)} files fetched"] if fetched else []
    return ", ".join(here + [f"begun: {text}" for text in begun]) or "not here"


def table(datasets: Mapping[str, Mapping[str, object]], *, root: Path = Path("data")) -> str:
    """A line per card: name, size, licence, how it is got, state here. datasets: options by name, as in a profile."""
    rows = []
    for name, card in CARDS.items():
        here = "give --from-dir" if card.of_the_user else state(name, datasets.get(name, {}), root=root)
        rows.append((name, card.size, card.licence, card.obtained, here))
    return tabulate(rows, headers=("data set", "size", "licence", "how it is got", "here"))


def card_text(card: Card) -> str:
    """A card to read, whatever is unverified said as such."""
    lines = [f"{card.name}: {card.title}", f"home: {card.home}" if card.home else ""]
    lines += [f"licence: {card.licence}", f"terms: {card.terms}", f"size: {card.size}"]
    lines += [f"cite: {card.citation}" if card.citation else "", f"how to get it: {card.how_to}", *_files(card)]
    if card.splits:
        lines.append("published counts:")
    for split, counts in card.splits.items():
        lines.append(f"  {split}: " + ", ".join(f"{count:,} {what}" for what, count in counts.items()))
    classes = len(card.classes) or card.class_count
    if classes:
        lines.append(f"{classes} classes" + (f": {', '.join(card.classes)}" if card.classes else ""))
    lines += [f"note: {note}" for note in card.notes] + [f"unverified: {text}" for text in card.unverified]
    return "\n".join(line for line in lines if line)


def _files(card: Card) -> list[str]:
    lines = ["files:"] if card.files else []
    for file in card.files:
        size = f"{file.bytes:,} bytes" if file.bytes else f"about {file.about_bytes:,} bytes"
        lines.append(
            f"  {file.name}: {size}; checked by {file.verification}".replace("checked by unverified", "unverified")
        )
        lines += [f"    {url}" for url in file.urls]
        lines += [f"    Google Drive id {file.drive}"] if file.drive else []
        lines += [f"    {kind} {digest}" for kind, digest in (("sha256", file.sha256), ("md5", file.md5)) if digest]
    return lines


def _part(folder: Path, file: File) -> Path | None:
    return next(iter(sorted(folder.glob(f"{file.name}.*part"))), None) if folder.is_dir() else None


def _share(file: File, part: Path) -> str:
    whole = file.bytes or file.about_bytes
    return f"{100 * part.stat().st_size / whole:.0f}%"
