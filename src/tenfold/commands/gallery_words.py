"""What `tenfold gallery` says of its answers, and of what they are worth."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

from tenfold.commands.output import say, show_figures
from tenfold.words import count

if TYPE_CHECKING:
    from tenfold.transfer.gallery import Gallery, Verdict
    from tenfold.transfer.thresholds import Point

_OTHERS = {
    "identify": "strangers' images",
    "verify_identity": "comparisons of an image with another identity than its own",
    "verify_images": "comparisons of images of two identities",
}
"""Of each of QUESTIONS: what the share that its threshold is fitted for is a share of."""


def how_named(point: Point | None) -> str:
    """What the names in an answer stand on."""
    from tenfold.transfer.thresholds import NO_THRESHOLD

    if point is None:
        return f"{NO_THRESHOLD} Nobody is named: the nearest is shown, whoever it is."
    return f"A name is given from a score of {_promise('identify', point)}."


def claim_words(image: str, name: str, verdict: Verdict) -> str:
    """Whether an image passes as somebody, which does not say that it is of that identity, and who is more alike."""
    nearest, score = verdict.nearest or (name, verdict.score)
    passes = f"{image} {'passes' if verdict.same else 'does not pass'} as {name}"
    other = f"{'but' if verdict.same else 'and'} {nearest} is more alike ({score:.3f})"
    rank = "the most alike of all enrolled" if nearest == name else other
    return f"{passes}, {rank}: score {verdict.score:.3f}, yes from {_promise('verify_identity', verdict.point)}."


def pair_words(one: str, other: str, verdict: Verdict) -> str:
    """Whether two images pass as one identity."""
    passes = f"{one} and {other} {'pass' if verdict.same else 'do not pass'} as the same one"
    return f"{passes}: score {verdict.score:.3f}, yes from {_promise('verify_images', verdict.point)}."


def tell_worth(known: Gallery, *, told: bool = False) -> None:
    """What the thresholds are worth, and where the network's weights come from.

    `told`: what so many identities support has been said already.
    """
    from tenfold.transfer.thresholds import NO_THRESHOLD, QUESTIONS

    print(f"Network: {known.origin.weights}.\n")
    if not known.points:
        print(f"{NO_THRESHOLD} Until then identify shows the nearest alone, and verify has no answer.")
    for question, point in known.points.items():
        show_figures(point.figures, f"{QUESTIONS[question].capitalize()}: yes from {_promise(question, point)}")
    if known.points and not told:
        tell_supported(len(known.identities), known.false_accept)


def tell_supported(identities: int, false_accept: float) -> None:
    """What so many identities support where that is not the false accept rate that was asked for, and what would."""
    from tenfold.transfer.thresholds import FEWEST_IDENTITIES, identities_needed, least_rate

    if (least := least_rate(identities)) <= false_accept:
        return
    support = f"{count(identities, 'identity')} support{'s' if identities == 1 else ''}"
    best = (
        f"a false accept rate of {_percent(least)} at best for all three questions, not the {_percent(false_accept)} "
        "that was asked for"
    )
    none = f"no false accept rate ({FEWEST_IDENTITIES} are the least), and {_percent(false_accept)} was asked for"
    needed = f"{identities_needed(false_accept):,}"
    say(f"{support} {best if identities >= FEWEST_IDENTITIES else none}; {needed} identities would.")


def size_words(folder: Path, known: Gallery) -> str:
    """How many are enrolled."""
    return f"{folder} has {count(len(known.identities), 'identity')} and {count(len(known.labels), 'image')}."


def _promise(question: str, point: Point) -> str:
    """The threshold, and who reaches it by chance. "About": strangers met one template less (see gallery.py)."""
    share = f"at most about {_percent(point.false_accept)} of {_OTHERS[question]} are expected to reach"
    return f"{point.threshold:.3f} on, which {share}"


def _percent(share: float) -> str:
    """With three digits, rounded up, so that "at most" is true of it."""
    unit = 10.0 ** (math.floor(math.log10(100 * share)) - 2)
    return f"{math.ceil(100 * share / unit - 1e-6) * unit:.3g} %"
