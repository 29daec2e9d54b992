"""Boxes: areas, overlaps and formats against slow, obvious ways."""

from __future__ import annotations

import re
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from torchvision.ops import box_iou as torchvision_iou

from tenfold.boxes import (
    CORNERS,
    box_areas,
    box_coverage,
    box_intersections,
    box_iou,
    clip_boxes,
    from_coco,
    from_voc,
    from_yolo,
    large_enough,
    sound_boxes,
    to_coco,
    to_voc,
    to_yolo,
)
from tenfold.check.box_findings import thin


def test_what_the_check_calls_a_click_is_not_large_enough() -> None:
    sides = np.array([[0.5, 9], [1, 9], [9, 1], [1.01, 9], [9, 1.01], [-3, 9], [np.nan, 9], [3, 4]])
    boxes = np.concatenate([np.full((8, 2), 20.0), 20 + sides], 1)
    assert large_enough(boxes).tolist() == [False, False, False, True, True, False, False, True]
    sound = ~np.isnan(boxes).any(1)
    assert (large_enough(boxes) == ~thin(boxes))[sound].all()


def test_no_other_module_names_the_corners_in_a_constant() -> None:
    named = re.compile(r'^_?[A-Z_]+ = [(\[]"x1", "y1", "x2", "y2"[)\]]', re.MULTILINE)
    source = Path(__file__).parents[1] / "src" / "tenfold"
    files = [file for file in source.rglob("*.py") if named.search(file.read_text(encoding="utf-8"))]
    assert [str(file.relative_to(source)) for file in files] == ["boxes.py"]
    assert CORNERS == ("x1", "y1", "x2", "y2")


def draw_boxes(count: int, seed: int = 0, size: int = 100) -> np.ndarray:
    corners = np.random.default_rng(seed).uniform(0, size, (count, 2, 2))
    return np.concatenate([corners.min(1), corners.max(1)], 1)


def painted(box: np.ndarray, size: int) -> np.ndarray:
    """The pixels of a whole-numbered box, one by one."""
    pixels = np.zeros((size, size), bool)
    x1, y1, x2, y2 = box.astype(int)
    pixels[y1:y2, x1:x2] = True
    return pixels


def test_overlaps_are_those_of_counted_pixels() -> None:
    boxes, others = draw_boxes(12, 1, 30).round(), draw_boxes(9, 2, 30).round()
    common, iou, covered = box_intersections(boxes, others), box_iou(boxes, others), box_coverage(boxes, others)
    for b, box in enumerate(boxes):
        own = painted(box, 31)
        assert box_areas(boxes)[b] == own.sum()
        for c, other in enumerate(others):
            both, either = (own & painted(other, 31)).sum(), (own | painted(other, 31)).sum()
            assert common[b, c] == both
            assert iou[b, c] == pytest.approx(both / either if either else 0)
            assert covered[b, c] == pytest.approx(both / own.sum() if own.sum() else 0)


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_iou_is_torchvisions(kind: type) -> None:
    boxes, others = draw_boxes(40, 3).astype(kind), draw_boxes(30, 4).astype(kind)
    theirs = torchvision_iou(torch.from_numpy(boxes), torch.from_numpy(others)).numpy()
    assert box_iou(boxes, others).dtype == kind
    np.testing.assert_allclose(box_iou(boxes, others), theirs, rtol=1e-5, atol=1e-7)


def test_boxes_without_an_area_meet_nothing_and_give_no_nan() -> None:
    odd = np.array([[5, 5, 5, 5], [5, 5, 5, 9], [9, 9, 2, 2], [-3, -3, -3, -3], [2, 9, 9, 2.0]])
    sound = np.array([[0, 0, 10, 10.0]])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for one, other in ((odd, odd), (odd, sound), (sound, odd)):
            for overlap in (box_iou, box_intersections, box_coverage):
                assert (overlap(one, other) == 0).all()
    assert (box_areas(odd) == 0).all()
    assert sound_boxes(odd).tolist() == [False] * 5
    assert sound_boxes(np.array([[0, 0, 1, np.nan], [0, 0, 1e-3, 1]])).tolist() == [False, True]
    assert box_iou(np.empty((0, 4)), sound).shape == (0, 1)
    assert box_iou(sound, np.empty((0, 4))).shape == (1, 0)


def test_clipping() -> None:
    boxes = np.array([[-5, -5, 5, 5], [90, 40, 120, 70], [200, 0, 300, 10.0]], np.float32)
    clipped = clip_boxes(boxes, 60, 100)
    assert clipped.tolist() == [[0, 0, 5, 5], [90, 40, 100, 60], [100, 0, 100, 10]]
    assert clipped.dtype == np.float32
    assert sound_boxes(clipped).tolist() == [True, True, False]


def test_formats_say_the_same_pixels() -> None:
    """The pixels 2 and 3 of the row 5, counted from 0, in an image of 8 x 10."""
    box = np.array([[2, 5, 4, 6.0]])
    assert to_voc(box).tolist() == [[3, 6, 4, 6]]
    assert to_coco(box).tolist() == [[2, 5, 2, 1]]
    assert to_yolo(box, 8, 10).tolist() == [[0.3, 0.6875, 0.2, 0.125]]
    assert from_voc(np.array([[1, 1, 1, 1.0]])).tolist() == [[0, 0, 1, 1]]


def test_formats_come_back_exactly() -> None:
    hundredths = np.random.default_rng(0).integers(-500, 64_000, (2000, 4)) / 100
    assert (from_voc(to_voc(hundredths)) == hundredths).all()
    assert (to_voc(from_voc(hundredths)) == hundredths).all()
    assert (from_coco(to_coco(hundredths)) == hundredths).all()
    assert (to_coco(from_coco(hundredths)) == hundredths).all()
    assert (from_yolo(to_yolo(hundredths, 480, 640), 480, 640) == hundredths).all()
    any_float = draw_boxes(2000, 5, 4000)
    np.testing.assert_allclose(from_coco(to_coco(any_float)), any_float, rtol=0, atol=2e-9)
    np.testing.assert_allclose(from_yolo(to_yolo(any_float, 4000, 4001), 4000, 4001), any_float, rtol=0, atol=1e-6)
