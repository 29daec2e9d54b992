"""Boxes and points move with the image.

Shapes: B boxes, B' of them kept; P points, P' of them kept.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tenfold.errors import UsageError

Boxes = NDArray[np.float32]
Points = NDArray[np.float32]
Kept = NDArray[np.int64]

_FLAT = 1e-13  # a volume, relative to its sides: a map that is flat but for rounding has less


def move_boxes(
    boxes_xyxy: ArrayLike, matrix: NDArray[np.float64], size: tuple[int, int], visible: float = 0.3
) -> tuple[Boxes, Kept]:
    """Boxes float32 [B, 4] (pixels, x1 < x2, y1 < y2) -> the hulls of their moved corners [B', 4], and which these are.

    `matrix` float64 [3, 3] takes output to input pixels, as Drawn.total does; `size` is the output's height and width.
    Hulls are clipped to the output; one of which less than the share `visible` of its area is left, or nothing, is
    dropped, and so is one with a corner behind the viewer (perspective): `kept` int64 [B'] says which boxes are still
    there. What a fill repeats outside the image has no box. Raises UsageError for boxes of another form.
    """
    boxes = _rows(boxes_xyxy, 4, "The boxes must be finite numbers [B, 4] (x1, y1, x2, y2)")
    _check_corners(boxes)
    corners = boxes[:, [[0, 1], [2, 1], [2, 3], [0, 3]]]  # [B, 4, 2]
    moved, ahead = _forward(corners.reshape(-1, 2), matrix)
    moved = moved.reshape(-1, 4, 2)
    hulls = np.concatenate([moved.min(1), moved.max(1)], 1)
    clipped = np.clip(hulls, 0, np.array([size[1], size[0], size[1], size[0]]))
    left, whole = _areas(clipped), _areas(hulls)
    kept = np.flatnonzero(ahead.reshape(-1, 4).all(1) & (left > 0) & (left >= visible * whole))
    return clipped[kept].astype(np.float32), kept


def move_many(boxes_xyxy: Boxes, matrices: NDArray[np.float64], size: tuple[int, int], visible: float = 0.3) -> Boxes:
    """Boxes of N images in one array, float32 [N, B, 4], rows of NaN where an image has fewer -> the same array moved.

    As `move_boxes` by each image's matrix [3, 3]; a box that is dropped becomes a row of NaN.
    """
    result = np.full(boxes_xyxy.shape, np.nan, np.float32)
    for own, matrix, moved in zip(boxes_xyxy, matrices, result, strict=True):
        real = np.flatnonzero(~np.isnan(own).all(1))
        found, kept = move_boxes(own[real], matrix, size, visible)
        moved[real[kept]] = found
    return result


def move_points(points_xy: ArrayLike, matrix: NDArray[np.float64], size: tuple[int, int]) -> tuple[Points, Kept]:
    """Points float32 [P, 2] -> those that still lie in the output, moved [P', 2], and which these are, int64 [P']."""
    moved, ahead = _forward(_rows(points_xy, 2, "The points must be finite numbers [P, 2] (x, y)"), matrix)
    inside = (moved >= 0).all(1) & (moved <= [size[1], size[0]]).all(1)
    kept = np.flatnonzero(ahead & inside)
    return moved[kept].astype(np.float32), kept


def inverse_maps(matrices: NDArray[np.float64]) -> NDArray[np.float64]:
    """The inverses of maps [N, 3, 3]; NaN where a map has none, as when a skew flattens the image into a line."""
    result = np.full(matrices.shape, np.nan)
    lengths = np.linalg.norm(matrices, axis=1).prod(1)  # of the columns, so that no zoom makes a map flat
    sound = np.abs(np.linalg.det(matrices)) > _FLAT * lengths
    result[sound] = np.linalg.inv(matrices[sound])
    return result


def _rows(given: ArrayLike, columns: int, rule: str) -> NDArray[Any]:
    """Boxes or points, perhaps a list of them, as an array of this many columns; a UsageError with the rule, if not."""
    try:
        rows = np.asarray(given)
    except ValueError:
        raise UsageError(f"{rule}, not rows of several lengths.") from None
    if rows.shape == (0,):  # an empty list
        rows = rows.reshape(0, columns)
    if rows.dtype.kind not in "iuf":
        raise UsageError(f"{rule}, not {'text' if rows.dtype.kind in 'US' else rows.dtype}.")
    if rows.ndim != 2 or rows.shape[1] != columns:
        raise UsageError(f"{rule}, not {list(rows.shape)}.")
    if not np.isfinite(rows).all():
        raise UsageError(f"{rule}, not {list(rows.shape)} with NaN or infinity.")
    return rows


def _check_corners(boxes: NDArray[Any]) -> None:
    """A UsageError that names the first box [4] without area, or with its corners in another order."""
    wrong = np.flatnonzero(~(boxes[:, :2] < boxes[:, 2:]).all(1))
    if len(wrong):
        box = boxes[wrong[0]]
        ordered = (box[:2] <= box[2:]).all()
        advice = "leave out what has no area" if ordered else "convert them from width and height first"
        raise UsageError(f"The boxes must have x1 < x2 and y1 < y2, and boxes[{wrong[0]}] is {box.tolist()}; {advice}.")


def _forward(points: NDArray[Any], matrix: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Where points of the input lie in the output, and whether before the viewer rather than behind (perspective)."""
    homogeneous = np.concatenate([points.astype(np.float64), np.ones((len(points), 1))], 1)
    moved = homogeneous @ inverse_maps(matrix[None])[0].T
    ahead = moved[:, 2] > 0
    return moved[:, :2] / np.where(ahead, moved[:, 2], 1.0)[:, None], ahead


def _areas(boxes: NDArray[np.float64]) -> NDArray[np.float64]:
    areas: NDArray[np.float64] = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    return areas
