"""The table of detection_signs.py: what the papers found, what was found here, and whether that is the same."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from tenfold.commands.output import show_table

Entry = dict[str, Any]


@dataclass(frozen=True)
class Sign:
    """One change, and what a paper says of it."""

    words: str
    paper: str
    """What the paper found."""
    place: str
    direction: int
    """1 where the change is for the better there, -1 for the worse."""
    figure: str = "ap50"
    """The paper's: VOC's mAP is at an IoU of 0.5, COCO's AP the mean over 0.5 to 0.95."""


_RCNN = "R-CNN (Girshick et al. 2014)"
_FEWER = (
    "recall of Selective Search falls from 2,000 to 1,000 and 300, no AP is given",
    "Faster R-CNN (Ren et al. 2015), 4.1, figure 4",
    -1,
)
SIGNS = {
    "below-0.5": Sign("negatives below IoU 0.5, not 0.3", "5 points of mAP less", f"{_RCNN}, 2.3", -1),
    "below-0": Sign("negatives only at IoU 0, not below 0.3", "4 points of mAP less", f"{_RCNN}, 2.3", -1),
    "no-moves": Sign("without box regression", "mAP 54.2, not 58.5", f"{_RCNN}, table 2, fine-tuned fc7", -1),
    "softmax": Sign(
        "softmax, not SVMs",
        "mAP 50.9, not 54.2; in Fast R-CNN 0.1 to 0.8 points more",
        f"{_RCNN}, appendix B, fine-tuned; Fast R-CNN (Girshick 2015), table 8",
        -1,
    ),
    "align": Sign(
        "RoI align, not RoI pool",
        "box AP 34.0, not 28.2; AP50 55.3, not 52.7",
        "Mask R-CNN (He et al. 2017), table 2d, stride 32",
        1,
        "ap",
    ),
}
NAMES = {"ap50": "AP50", "ap": "AP"}
_HEADS = ("Changed", "In the paper", "AP50, difference", "AP, difference", "Verdict")


def sign_of(name: str) -> Sign:
    """What is known of a sign, by its name in the results."""
    count = name.removeprefix("first-")
    return SIGNS[name] if name in SIGNS else Sign(f"the first {int(count):,} proposals", *_FEWER)


def verdict(difference: dict[str, float], direction: int) -> str:
    """Whether a difference with its interval, "value", "low" and "high", is as in the paper."""
    if difference["low"] <= 0 <= difference["high"]:
        return "not measurable here"
    return "as in the paper" if (difference["value"] > 0) == (direction > 0) else "the other way round"


def show(entries: Iterable[Entry]) -> None:
    """A table for each number of proposals and images, and one for each length of the trainings."""
    entries = [entry for entry in entries if "sign" in entry]
    for name in sorted({entry["processor"] for entry in entries}):
        print(f"Processor: {name}")
    signs = [entry for entry in entries if entry["stage"] == "signs"]
    kinds = list(dict.fromkeys((entry["proposals"], entry["train"], entry["judged"]) for entry in signs))
    for kind in kinds:
        own = [entry for entry in signs if (entry["proposals"], entry["train"], entry["judged"]) == kind]
        title = "R-CNN, {:,} proposals, {} training and {} validation images, one seed".format(*kind)
        _show(title, own)
    pooled = [entry for entry in entries if entry["stage"] == "pool"]
    for epochs in dict.fromkeys(entry["epochs"] for entry in pooled):
        own = [entry for entry in pooled if entry["epochs"] == epochs]
        _show(f"Fast R-CNN, {epochs} epochs, {own[0]['judged']} validation images, one seed", own)


def _show(title: str, entries: list[Entry]) -> None:
    rows = [_row(entry) for entry in sorted(entries, key=lambda entry: "difference" in entry)]
    show_table(_HEADS, rows, f"{title}; 95 % intervals, those of differences to the first line, paired")
    print()


def _row(entry: Entry) -> tuple[str, ...]:
    figures, difference = entry["figures"], entry.get("difference")
    if difference is None:
        words = {"baseline": "nothing: SVMs, negatives below 0.3, box regression", "pool": "nothing: RoI pool"}
        return (words[entry["sign"]], "", *(_interval(figures[name], "") for name in NAMES), "")
    sign = sign_of(entry["sign"])
    cells = [f"{figures[name]['value']:.3f}, {_interval(difference[name], '+')}" for name in NAMES]
    judged = verdict(difference[sign.figure], sign.direction)
    return (sign.words, f"{sign.paper}: {sign.place}", *cells, f"{judged} ({NAMES[sign.figure]})")


def _interval(found: dict[str, float], plus: str) -> str:
    return f"{found['value']:{plus}.3f} ({found['low']:{plus}.3f} to {found['high']:{plus}.3f})"
