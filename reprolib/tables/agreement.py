"""What agrees with the direction that a paper claims, and what does not: its claims about differences of two rows
beside the differences of this profile's runs, as Markdown. Says nothing about sizes; verdicts do. Imports no torch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from reprolib.params import load_profile
from reprolib.tables.claims import Claim, claims
from reprolib.tables.layout import metric_label

AGREES, OPPOSES = "agrees", "opposes"
CLEAR, IN_NOISE, ALONE = "", ", within noise", ", noise unknown"


HEADING = """## What agrees with the reported direction

The paper's claims about a difference of two rows, beside that difference between this profile's runs: its sign, and
whether the noise of images and seeds could have made it. Its size beside the reported one, and whether data and scale
allow a comparison at all, are the verdicts' matter.
"""


def agreement_section(paper: str, profile: str) -> str:
    """A paper notebook's section. Raises as `claims`."""
    return "\n".join([HEADING, f"> {load_profile(profile).note}\n", agreement(claims(profile, paper=paper))])


def direction(claim: Claim) -> str | None:
    """`agrees` or `opposes`, with what is known of the noise: nothing added where the interval excludes 0.

    None where the claim is not about a difference of two rows, claims none, or nothing was reproduced.
    """
    claimed = {">0": 1.0, "<0": -1.0}.get(claim.claimed, claim.reported)
    if len(claim.rows) != 2 or not claimed or claim.reproduced is None:
        return None
    word = AGREES if claim.reproduced * claimed > 0 else OPPOSES
    if claim.interval is None:
        return word + ALONE
    return word + (IN_NOISE if 0.0 in claim.interval else CLEAR)


def agreement(found: Sequence[Claim]) -> str:
    """A sentence that counts and a table that lists the claims whose rows have both been run."""
    judged = [(claim, word) for claim in found if (word := direction(claim))]
    if not judged:
        return f"Of {len(found)} claims, none is about rows that have both been run under this profile."
    counts = Counter(word for _, word in judged)
    parts = [
        f"{counts[word + noise]} {text}{said}"
        for word, text in ((AGREES, "agree in direction"), (OPPOSES, "go the other way"))
        for noise, said in ((CLEAR, " beyond noise"), (IN_NOISE, " within noise"), (ALONE, " with noise unknown"))
        if counts[word + noise]
    ]
    lines = [
        f"Of {len(found)} claims, {len(judged)} are about differences of rows that have both been run: "
        f"{', '.join(parts)}. Noise is the 95% interval of the difference; “unknown” where nothing gives one.",
        "",
        "| claim | metric | claimed | reproduced | direction |",
        "| --- | --- | ---: | ---: | --- |",
    ]
    for claim, word in judged:
        spread = f" ± {claim.interval.half_width:.2f}" if claim.interval else ""
        reproduced = f"{claim.reproduced:+.2f}{spread}".replace("-", "−")
        claimed = claim.claimed.replace("-", "−")
        lines.append(f"| {claim.text} | {metric_label(claim.metric)} | {claimed} | {reproduced} | {word} |")
    return "\n".join(lines)
