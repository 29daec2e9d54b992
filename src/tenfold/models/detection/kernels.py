"""The compiled operations that detectors need, torchvision's and Numba's, whose imports wait for the first use.

Shapes: N images, C channels, H x W places of a map, R regions, S places of a pooled region's side, B boxes.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor

Pool = Literal["align", "pool"]

_SAMPLES = 2
"""Points along each axis that `align` takes the mean of, in each place, as roi_align.py does."""


def suppress(boxes_xyxy: Tensor, scores: Tensor, kinds: Tensor, most_iou: float) -> Tensor:
    """Non-maximum suppression within each kind: which of the boxes [B, 4] stay, int64, the highest score first.

    `scores` float32 [B], `kinds` int64 [B]; a box that overlaps a better one of its kind by more than `most_iou` goes.
    """
    kept: Tensor = _ops().batched_nms(boxes_xyxy, scores, kinds, most_iou)
    return kept


def pool_region(level: Tensor, regions: Tensor, side: int, stride: int, kind: Pool) -> Tensor:
    """Cut regions out of a map float32 [N, C, H, W], each to S x S places: [R, C, S, S].

    `regions` float32 [R, 5]: the image's place and xyxy in input pixels; `stride` is the map's. "pool" rounds to whole
    places and takes the largest value (Girshick, "Fast R-CNN", 2015, section 2.1, https://arxiv.org/abs/1504.08083),
    "align" interpolates (He et al., "Mask R-CNN", 2017, section 3, https://arxiv.org/abs/1703.06870): on a processor
    by loops of our own, as torchvision's take ten times as long there, forward and back (benchmarks/roi_align.py).
    """
    if kind == "pool":
        pooled: Tensor = _ops().roi_pool(level, regions, side, 1 / stride)
        return pooled
    if _is_ours(level, kind):
        from tenfold.models.detection.roi_align import roi_align

        return roi_align(level, regions, side, stride)
    aligned: Tensor = _ops().roi_align(level, regions, side, 1 / stride, _SAMPLES, True)
    return aligned


def lay_out(level: Tensor, kind: Pool) -> Tensor:
    """A map [N, C, H, W] as `pool_region` reads it without a copy: ours with the channels last, torchvision's not."""
    return level.contiguous(memory_format=torch.channels_last if _is_ours(level, kind) else torch.contiguous_format)


def _is_ours(level: Tensor, kind: Pool) -> bool:
    return kind == "align" and level.device.type == "cpu"


def cut_squares(images: Tensor, regions: Tensor, side: int) -> Tensor:
    """Cut regions [R, 5] out of images float32 [N, C, H, W], each warped to S x S pixels: [R, C, S, S].

    Each pixel is the mean of as many interpolated points as the region has pixels there; outside of the image is 0.
    """
    cut: Tensor = _ops().roi_align(images, regions, side, 1.0, -1, True)
    return cut


def _ops() -> Any:
    import torchvision

    return torchvision.ops
