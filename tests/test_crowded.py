"""Images with more objects of a class than COCO's rule looks at detections: what is said of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tenfold.recipe import Recipe
from tenfold.report.blocks.detection_classes import detection_classes
from tenfold.report.crowded import crowded_note
from tests.test_detection_page import context_of


@pytest.mark.parametrize(
    ("allowed", "said"),
    [
        (0, "this run allows 100 in an image, fewer than the 130 objects: set --detect.detections."),
        (260, "this run allows 260 in an image."),
    ],
)
def test_what_coco_s_limit_costs_is_said(tmp_path: Path, allowed: int, said: str) -> None:
    corners = [(6 * (place % 13), 6 * (place // 13)) for place in range(130)]
    objects = [(0, x, y, x + 5, y + 5, "cell", False) for x, y in corners]
    context = context_of(tmp_path, objects, [(0, 0, 0, 5, 5, "cell", 0.9)], ("cell",))
    context.run.recipe = Recipe().change(detect={"detections": allowed})
    html = str(detection_classes(context).html)
    assert (
        "best 100 detections of a class in an image, and 1 image of this part holds more objects of one class, "
        "up to 130: 30 of 130 objects can never count as found there. VOC&#39;s figures look at all detections, "
        f"of which {said}"
    ) in html
    few = context_of(tmp_path, objects[:100], [(0, 0, 0, 5, 5, "cell", 0.9)], ("cell",))
    assert "of a class in an image" not in str(detection_classes(few).html)
    assert crowded_note(few.run, {}) == ""  # an evaluation of before has no such detail
