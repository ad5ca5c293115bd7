"""Numbers, intervals and rows as the text of a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from reprolib.tables.joined import JoinedRow
from reprolib.tables.uncertainty import IMAGES_ONLY, Interval

NOTHING = "–"
SMALL_NUMBERS = (
    "no",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
)


def count_word(count: int) -> str:
    """A number of things in a sentence: in words up to twelve."""
    return SMALL_NUMBERS[count] if count < len(SMALL_NUMBERS) else str(count)


def number_text(value: float | None, decimals: int, *, signed: bool = False) -> str:
    """A number with as many decimals as the publication prints; a proper minus sign."""
    if value is None:
        return NOTHING
    text = f"{value:+.{decimals}f}" if signed else f"{value:.{decimals}f}"
    if signed and float(text) == 0:
        text = text.replace("-", "+")
    return text.replace("-", "−")


def spread_text(interval: Interval | None, decimals: int) -> str:
    """Half the width of an interval, which is symmetric, to go behind its number; empty without interval."""
    return f" ± {interval.half_width:.{decimals}f}" if interval else ""


def interval_text(interval: Interval | None, decimals: int, *, signed: bool = False) -> str:
    """An interval by its ends."""
    if interval is None:
        return NOTHING
    low, high = (number_text(end, decimals, signed=signed) for end in (interval.low, interval.high))
    return f"{low} to {high}"


def p_text(p_value: float) -> str:
    """A p-value behind the letter."""
    return "< 0.001" if p_value < 0.001 else f"= {p_value:.3f}"


def intervals_note(rows: Sequence[JoinedRow]) -> str:
    """What is behind the ±, and what was done about many comparisons."""
    levels: dict[str, list[int]] = {}
    gains: dict[str, list[int]] = {}
    for row in rows:
        for cell in row.cells:
            for sources, source in ((levels, cell.interval_source), (gains, cell.delta_interval_source)):
                if source and row.number not in sources.setdefault(source, []):
                    sources[source].append(row.number)
    if not levels and not gains:
        return ""
    sentences = [f"± is half a 95% interval: {_sources(levels)}."] if levels else []
    if gains:
        compared = [{cell.cell.metric for cell in row.cells if cell.delta_interval} for row in rows]
        family = max(sum(metric in found for found in compared) for metric in set().union(*compared))
        sentences.append(
            f"That of a gain is paired ({_sources(gains)}) and widened by Holm's procedure over the {family} rows that"
            " are compared, for each metric: together, not one by one, they keep 95%; p is adjusted so."
        )
    if any(IMAGES_ONLY in sources for sources in (levels, gains)):
        sentences.append(
            f"Where it is of {IMAGES_ONLY}, the noise between seeds is not in it, and no verdict is better than"
            " inconclusive."
        )
    return " ".join(sentences)


def _sources(sources: Mapping[str, Sequence[int]]) -> str:
    if len(sources) == 1:
        return next(iter(sources))
    return "; ".join(f"{source} ({_rows(numbers)})" for source, numbers in sources.items())


def _rows(numbers: Sequence[int]) -> str:
    return f"{'row' if len(numbers) == 1 else 'rows'} {row_ranges(numbers)}"


def row_ranges(numbers: Sequence[int]) -> str:
    """1, 2, 3, 7 as `1 to 3, 7`."""
    runs: list[list[int]] = []
    for number in sorted(numbers):
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    texts = (f"{run[0]} to {run[-1]}" if len(run) > 2 else ", ".join(map(str, run)) for run in runs)
    return ", ".join(texts)
