"""What `tenfold gallery` says of its answers, and of what they are worth."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

from tenfold.commands.output import say, show_figures

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


def tell_worth(known: Gallery) -> None:
    """What the thresholds are worth, and where the network's weights come from."""
    from tenfold.transfer.thresholds import NO_THRESHOLD, QUESTIONS

    print(f"Network: {known.origin.weights}.\n")
    if not known.points:
        print(f"{NO_THRESHOLD} Until then identify shows the nearest alone, and verify has no answer.")
    for question, point in known.points.items():
        show_figures(point.figures, f"{QUESTIONS[question].capitalize()}: yes from {_promise(question, point)}")
    worst = max((point.false_accept for point in known.points.values()), default=0.0)
    if worst > known.false_accept:
        say(
            f"{len(known.identities)} identities support a false accept rate of {_percent(worst)} at best, not the "
            f"{_percent(known.false_accept)} that was asked for; {math.ceil(1 / known.false_accept)} would."
        )


def size_words(folder: Path, known: Gallery) -> str:
    """How many are enrolled."""
    return f"{folder} has {len(known.identities)} identities and {len(known.labels)} images."


def _promise(question: str, point: Point) -> str:
    """The threshold, and who reaches it by chance. "About": strangers met one template less (see gallery.py)."""
    share = f"at most about {_percent(point.false_accept)} of {_OTHERS[question]} are expected to reach"
    return f"{point.threshold:.3f} on, which {share}"


def _percent(share: float) -> str:
    """With three digits, rounded up, so that "at most" is true of it."""
    unit = 10.0 ** (math.floor(math.log10(100 * share)) - 2)
    return f"{math.ceil(100 * share / unit - 1e-6) * unit:.3g} %"
