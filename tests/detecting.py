"""Boxes, batches and an overlap by hand, that tests of detectors share."""

import numpy as np
import torch

from tenfold.images.batch import Batch
from tenfold.models.detection.matching import Truths


def some_boxes(count, size=64, seed=0, least=1.0):
    generator = torch.Generator().manual_seed(seed)
    first = torch.rand(count, 2, generator=generator) * size * 0.7
    return torch.cat([first, first + least + torch.rand(count, 2, generator=generator) * size * 0.3], 1)


def truths_of(boxes, real=None, ignored=None, label=None):
    shape = boxes.shape[:2]
    real = torch.ones(shape, dtype=torch.bool) if real is None else real
    ignored = torch.zeros(shape, dtype=torch.bool) if ignored is None else ignored
    label = torch.zeros(shape, dtype=torch.long) if label is None else label
    return Truths(boxes, label, real, ignored)


def batch_of(images, boxes, label, ignore=None, **targets):
    count = len(images)
    boxes, label = torch.as_tensor(boxes, dtype=torch.float32), torch.as_tensor(label)
    ignore = torch.zeros(label.shape, dtype=torch.bool) if ignore is None else torch.as_tensor(ignore)
    targets = {"boxes": boxes, "label": label, "ignore": ignore, **targets}
    keys = np.arange(count, dtype=np.uint64)
    return Batch(images, targets, np.arange(count), keys, torch.eye(2, 3).expand(count, 2, 3))


def iou(a, b):
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    shared = max(width, 0) * max(height, 0)
    area = [(x[2] - x[0]) * (x[3] - x[1]) for x in (a, b)]
    return shared / (sum(area) - shared) if sum(area) > shared else 0.0
