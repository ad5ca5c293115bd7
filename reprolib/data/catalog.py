"""Make or find a data set on disk by its name in params.yaml."""

from __future__ import annotations

import contextlib
import fcntl
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType, ModuleType

from reprolib.data import bbbc038, cityscapes, nwpu_vhr10
from reprolib.data.card import Card
from reprolib.data.cards import CARDS
from reprolib.data.download import download
from reprolib.data.errors import DataError
from reprolib.data.scenes import aerial, sar_ships, street
from reprolib.data.scenes.write import write_scenes

FAMILIES: Mapping[str, ModuleType] = MappingProxyType({"sar_ships": sar_ships, "aerial": aerial, "street": street})
SCENE_OPTIONS = ("train", "val", "size", "seed")
FOLDER_OPTIONS = ("train_images", "train_annotations", "val_images", "val_annotations")
SEMANTIC_OPTION = "train_semantic"
FOLDER_HINT = "kind: coco_folder, " + ", ".join(f"{option}: PATH" for option in FOLDER_OPTIONS)


@dataclass(frozen=True, kw_only=True)
class Split:
    """One split on disk. images: the folder that `file_name` starts from; annotations: the COCO-format
    JSON; semantic: the folder of class maps, where there are any."""

    images: Path
    annotations: Path
    semantic: Path | None = None


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A data set on disk; the splits are "train" and "val"."""

    name: str
    splits: Mapping[str, Split]
    card: Card


def prepare(name: str, options: Mapping[str, object], *, root: Path = Path("data")) -> Prepared:
    """Make the data set below `root` unless it is there, and say where it lies.

    options by name:
    - sar_ships, aerial, street (generated): train, val (numbers of images), size (px), seed.
    - bbbc038: archive (path or URL of the zip); the card's URL where none is given.
    - nwpu_vhr10: archive (path or URL of the zip, or a folder of its files), annotations (path or URL of the JSON; by
      default the archive's own, else the card's URL), split (`own`, 455/195, the default, or `public`, 520/130).
    - cityscapes, cityscapes_5 (five of its classes): folder (of the unpacked `gtFine` and `leftImg8bit`).
    - any name with `kind: coco_folder`: train_images, train_annotations, val_images, val_annotations (paths); read
      where they are. Optional: train_semantic, a folder of class maps for HTC's and SCNet's semantic branch.

    Calling it again changes nothing; an interrupted call leaves nothing half made; two processes that prepare
    the same set take turns. Raises DataError for unknown names and options, and where something has to be
    placed by hand.
    """
    given = dict(options)
    kind = given.pop("kind", None)
    if kind == "coco_folder":
        return _coco_folder(name, given)
    if kind is not None:
        raise DataError(f"data set {name}: kind {kind!r} is unknown; the only one is coco_folder")
    root = Path(root)
    if name in FAMILIES:
        return _scenes(name, given, root=root)
    if name == "bbbc038":
        return _bbbc038(given, root=root)
    if name == "nwpu_vhr10":
        return _nwpu_vhr10(given, root=root)
    if name in ("cityscapes", "cityscapes_5"):
        return _cityscapes(name, given, root=root)
    if name in CARDS:
        raise DataError(f"data set {name}: {CARDS[name].how_to} Then set its options to {{{FOLDER_HINT}}}")
    raise DataError(f"data set {name!r} is unknown; known are {', '.join(CARDS)}, and any name with {{{FOLDER_HINT}}}")


def _scenes(name: str, options: dict, *, root: Path) -> Prepared:
    _refuse_unknown(name, options, known=SCENE_OPTIONS, required=SCENE_OPTIONS)
    folder = root / name / "-".join(f"{option}{options[option]}" for option in SCENE_OPTIONS)
    with _lock(root, name):
        for split in ("train", "val"):
            try:
                write_scenes(
                    FAMILIES[name],
                    FAMILIES[name].CLASSES,
                    folder,
                    images=options[split],
                    size=options["size"],
                    seed=options["seed"],
                    split=split,
                )
            except ValueError as error:
                raise DataError(f"data set {name}, {split}: {error}") from None
    return Prepared(
        name=name,
        splits={
            s: Split(images=folder / s, annotations=folder / "annotations" / f"{s}.json") for s in ("train", "val")
        },
        card=CARDS[name],
    )


def _bbbc038(options: dict, *, root: Path) -> Prepared:
    name = "bbbc038"
    _refuse_unknown(name, options, known=("archive",))
    archive = str(options.get("archive") or CARDS[name].files[0].url)
    folder = root / name
    contents = bbbc038.corrected()
    with _lock(root, name):
        if not bbbc038.is_prepared(folder, contents=contents):
            path = _fetched(archive, root / "downloads" / "bbbc038_stage1.zip")
            bbbc038.convert(path, folder, contents=contents)
    return _converted(name, images=folder / "images", annotations=folder / "annotations")


def _nwpu_vhr10(options: dict, *, root: Path) -> Prepared:
    name, (images, labels) = "nwpu_vhr10", CARDS["nwpu_vhr10"].files
    _refuse_unknown(name, options, known=("archive", "annotations", "split"))
    split = options.get("split", nwpu_vhr10.SPLITS[0])
    if split not in nwpu_vhr10.SPLITS:
        raise DataError(f"data set {name}: split {split!r} is unknown; known are {', '.join(nwpu_vhr10.SPLITS)}")
    folder = root / name
    contents = nwpu_vhr10.published()
    with _lock(root, name):
        if not nwpu_vhr10.is_prepared(folder, contents=contents):
            path = _fetched(str(options.get("archive") or images.url), root / "downloads" / "nwpu_vhr10.zip")
            given = str(options.get("annotations") or ("" if nwpu_vhr10.holds_annotations(path) else labels.url))
            target = root / "downloads" / "nwpu_vhr10_annotations.json"
            annotations = _fetched(given, target, sha256=labels.sha256) if given else None
            nwpu_vhr10.convert(path, folder, contents=contents, annotations=annotations)
    return _converted(name, images=folder / "images", annotations=folder / "annotations" / split)


def _cityscapes(name: str, options: dict, *, root: Path) -> Prepared:
    _refuse_unknown(name, options, known=("folder",))
    card = CARDS[name]
    if not options.get("folder"):
        raise DataError(f"data set {name}: {card.how_to}")
    source, folder = Path(str(options["folder"])), root / f"{name}_coco"  # `root / name` may be the source
    with _lock(root, name):
        if not cityscapes.is_prepared(source, folder, classes=card.classes):
            cityscapes.convert(source, folder, classes=card.classes)
    splits = {
        s: Split(images=source / "leftImg8bit" / s, annotations=folder / "annotations" / f"{s}.json")
        for s in cityscapes.IMAGES
    }
    return Prepared(name=name, splits=splits, card=card)


def _fetched(place: str, target: Path, **checks: str) -> Path:
    """Where the file of a path or URL lies; a URL is fetched to `target`, and checked as `download` does."""
    return download(place, target, **checks) if place.startswith(("http://", "https://")) else Path(place)


def _converted(name: str, *, images: Path, annotations: Path) -> Prepared:
    splits = {s: Split(images=images, annotations=annotations / f"{s}.json") for s in ("train", "val")}
    return Prepared(name=name, splits=splits, card=CARDS[name])


def _coco_folder(name: str, options: dict) -> Prepared:
    _refuse_unknown(name, options, known=(*FOLDER_OPTIONS, SEMANTIC_OPTION), required=FOLDER_OPTIONS)
    semantic = options.get(SEMANTIC_OPTION) and Path(str(options[SEMANTIC_OPTION]))
    if semantic and not semantic.is_dir():
        raise DataError(f"data set {name}: {SEMANTIC_OPTION}: {semantic} is no folder; give the one with the PNG maps")
    for option in FOLDER_OPTIONS:
        path = Path(str(options[option]))
        if option.endswith("images") and not path.is_dir():
            raise DataError(f"data set {name}: {option}: {path} is no folder; give the one `file_name` starts from")
        if option.endswith("annotations") and not path.is_file():
            raise DataError(f"data set {name}: {option}: {path} is no file; give the COCO-format JSON")
    return Prepared(
        name=name,
        splits={
            split: Split(
                images=Path(str(options[f"{split}_images"])),
                annotations=Path(str(options[f"{split}_annotations"])),
                semantic=semantic if split == "train" else None,
            )
            for split in ("train", "val")
        },
        card=CARDS.get(name)
        or Card(
            name=name,
            title=name,
            licence="not stated: a folder of yours",
            terms="as its source says",
            size="as on disk",
            citation="",
        ),
    )


def _refuse_unknown(name: str, options: dict, *, known: tuple[str, ...], required: tuple[str, ...] = ()) -> None:
    unknown = sorted(set(options) - set(known))
    if unknown:
        raise DataError(f"data set {name}: unknown option {unknown[0]!r}; known are {', '.join(known)}")
    missing = [option for option in required if options.get(option) is None]
    if missing:
        raise DataError(f"data set {name}: option {missing[0]!r} is missing; needed are {', '.join(required)}")


@contextlib.contextmanager
def _lock(root: Path, name: str) -> Iterator[None]:
    """Hold the data set for this process; the system lets go of it if the process dies."""
    root.mkdir(parents=True, exist_ok=True)
    path = root / f".{name}.lock"
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"data set {name}: another process prepares it, waiting ({path})", flush=True)
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
