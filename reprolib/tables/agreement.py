"""What agrees with the direction that a paper claims, and what does not: its claims about differences of two rows
beside the differences of this profile's runs, as Markdown. Says nothing about sizes; verdicts do. Imports no torch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from reprolib.params import load_profile
from reprolib.tables.claim_verdicts import ClaimVerdict, claim_verdicts
from reprolib.tables.layout import metric_label
from reprolib.tables.markdown import markdown_table
from reprolib.tables.number_text import number_text, spread_text

AGREES, OPPOSES = "agrees", "opposes"
BEYOND_NOISE, WITHIN_NOISE, NOISE_UNKNOWN = "", ", within noise", ", noise unknown"


HEADING = """## What agrees with the reported direction

The paper's claims about a difference of two rows, beside that difference between this profile's runs: its sign, and
whether the noise of images and seeds could have made it. Its size beside the reported one, and whether data and scale
allow a comparison at all, are the verdicts' matter.
"""


def agreement_section(paper: str, profile: str) -> str:
    """A paper notebook's section. Raises as `claim_verdicts`."""
    return "\n".join([HEADING, f"> {load_profile(profile).note}\n", agreement(claim_verdicts(profile, paper=paper))])


def direction(result: ClaimVerdict) -> str | None:
    """`agrees` or `opposes`, with what is known of the noise: nothing added where the interval excludes 0.

    None where the claim is not about a difference of two rows, claims none, or nothing was reproduced.
    """
    claimed = {">0": 1.0, "<0": -1.0}.get(result.claim.claimed, result.reported)
    if len(result.rows) != 2 or not claimed or result.reproduced is None:
        return None
    word = AGREES if result.reproduced * claimed > 0 else OPPOSES
    if result.interval is None:
        return word + NOISE_UNKNOWN
    return word + (WITHIN_NOISE if 0.0 in result.interval else BEYOND_NOISE)


def agreement(results: Sequence[ClaimVerdict]) -> str:
    """A sentence that counts and a table that lists the claims whose rows have both been run."""
    directions = [(result, word) for result in results if (word := direction(result))]
    if not directions:
        return f"Of {len(results)} claims, none is about rows that have both been run under this profile."
    counts = Counter(word for _, word in directions)
    counted = [
        f"{counts[word + noise]} {text}{noise_text}"
        for word, text in ((AGREES, "agree in direction"), (OPPOSES, "go the other way"))
        for noise, noise_text in (
            (BEYOND_NOISE, " beyond noise"),
            (WITHIN_NOISE, " within noise"),
            (NOISE_UNKNOWN, " with noise unknown"),
        )
        if counts[word + noise]
    ]
    sentence = (
        f"Of {len(results)} claims, {len(directions)} are about differences of rows that have both been run: "
        f"{', '.join(counted)}. Noise is the 95% interval of the difference; “unknown” where nothing gives one."
    )
    rows = []
    for result, word in directions:
        reproduced = number_text(result.reproduced, 2, signed=True) + spread_text(result.interval, 2)
        claim = result.claim
        rows.append((claim.text, metric_label(claim.metric), claim.claimed.replace("-", "−"), reproduced, word))
    columns = ("claim", "metric", "claimed", "reproduced", "direction")
    return f"{sentence}\n\n{markdown_table(columns, rows, align='llrrl')}"
