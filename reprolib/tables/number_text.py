"""Numbers, intervals and row numbers as text."""

from __future__ import annotations

from collections.abc import Sequence

from reprolib.tables.confidence_intervals import Interval

NOTHING = "–"
SMALL_NUMBERS = (
    *("no", "one", "two", "three", "four", "five", "six"),
    *("seven", "eight", "nine", "ten", "eleven", "twelve"),
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
