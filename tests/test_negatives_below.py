"""Negatives of R-CNN's SVMs below another IoU than its own, against a loop: what the papers' comparison needs."""

from dataclasses import replace

import numpy as np
import pytest

from tenfold.models.detection.region_fits import NEGATIVE_BELOW, hard_negatives
from tests.detecting import iou
from tests.test_rcnn import inside, regions_of

LEAST = float(np.finfo(np.float32).tiny)


@pytest.mark.parametrize("below", [LEAST, NEGATIVE_BELOW, 0.5])
def test_negatives_begin_where_the_regions_say(below):
    for seed in range(3):
        image = replace(regions_of(seed), negative_below=below)
        for kind in range(2):
            own = [box for box, label in zip(image.true.tolist(), image.label, strict=True) if label == kind]
            every = [[iou(image.boxes[row].tolist(), box) for box in own] for row in range(image.proposed)]
            crowds = np.flatnonzero((image.label == kind) & image.ignore)
            apart = [row for row, found in enumerate(every) if all(overlap < below for overlap in found)]
            wanted = [row for row in apart if all(inside(image, row, crowd) < 0.5 for crowd in crowds)]
            assert image.negatives(kind).tolist() == wanted


def test_hard_ones_are_of_these_negatives():
    weight, bias = np.zeros(6), 0.0  # a margin of 0 is above what makes a negative hard
    counts = []
    for below in (LEAST, NEGATIVE_BELOW, 0.5):
        images = [replace(regions_of(seed, count=200), negative_below=below) for seed in range(3)]
        negatives = [len(image.negatives(0)) for image in images]
        counts.append(len(hard_negatives(images, 0, weight, bias)))
        assert counts[-1] == sum(count - len(range(0, count, -(-count // 64))) for count in negatives)
    assert counts == sorted(set(counts))
