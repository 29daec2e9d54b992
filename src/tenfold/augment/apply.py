"""Carrying out what was drawn: Drawn + pixels -> pixels.

Shapes: N images, n of them; in H x W, out h x w; C channels, 1 or 3; K copies.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tenfold.augment.draw import Blending, Drawn, Fill, Interpolation, Pass, Pixels, Rows, Step, Tone
from tenfold.augment.ops import OPS
from tenfold.errors import UsageError
from tenfold.images.pixels import Channels

Images = NDArray[np.uint8]


class Sampling(NamedTuple):
    """How pixels are sampled."""

    fill: Fill = "reflect"
    """What lies outside the image: its nearest pixel, a constant, the image mirrored or repeated."""
    value: tuple[float, ...] = (0.0,)
    """The grey level of "constant", 0 to 255: one, or one a channel, red first."""
    interpolation: Interpolation = "bilinear"
    threads: int = 1

    def in_order(self, channels: Channels) -> Sampling:
        """The same for images of these channels, which may have blue first."""
        return self._replace(value=self.value[::-1]) if channels == "bgr" else self

    def options(self) -> dict[str, Any]:
        """What the kernel is told."""
        return {**self._asdict(), "value": self.value[0] if len(self.value) == 1 else np.array(self.value)}


def apply(drawn: Drawn, images: Images, sampling: Sampling) -> Images:
    """Images uint8 [N, H, W, C] -> uint8 [N, h, w, C]."""
    _check(drawn, images)
    return _apply(drawn, images, sampling.in_order(drawn.channels), np.arange(len(images)))


def apply_normalized(
    drawn: Drawn,
    images: Images,
    mean: tuple[float, ...],
    std: tuple[float, ...],
    layout: Literal["NHWC", "NCHW"],
    sampling: Sampling,
    out: NDArray[np.float32] | None = None,
) -> NDArray[np.float32]:
    """Images uint8 [N, H, W, C] -> (changed pixels / 255 - mean) / std, float32 [N, C, h, w] or [N, h, w, C].

    `mean` and `std` [C] on the 0 to 1 scale. With geometry and linear color alone it is one pass over the pixels,
    and values are not clipped to 0 to 255: a network needs no clipping, and the maps stay linear. The result is written
    to `out` where given: C-contiguous, of the result's shape.
    """
    from tenfold.augment.kernel import warp_normalized

    _check(drawn, images)
    color, sampling = normalizing(drawn.color, mean, std), sampling.in_order(drawn.channels)
    work = _work(drawn, images, sampling, np.arange(len(images)))
    shape = (len(images), *drawn.size, images.shape[3])
    shape = shape if layout == "NHWC" else (shape[0], shape[3], *drawn.size)
    if out is not None and (out.shape != shape or out.dtype != np.float32 or not out.flags.c_contiguous):
        raise UsageError(f"out must be C-contiguous float32 {list(shape)}, not {out.dtype} {list(out.shape)}.")
    result = np.empty(shape, np.float32) if out is None else out
    for rows, source in _sources(drawn, images, work, np.arange(len(images))):
        options = {"layout": layout, **sampling.options()}
        if len(rows) == len(images):
            return warp_normalized(source, drawn.matrices, drawn.size, color, out=result, **options)
        result[rows] = warp_normalized(source[rows], drawn.matrices[rows], drawn.size, color[rows], **options)
    return result


def normalizing(color: NDArray[np.float32], mean: tuple[float, ...], std: tuple[float, ...]) -> NDArray[np.float32]:
    """Color maps followed by the normalization (x / 255 - mean) / std: float32 [N, C, C + 1] -> the same."""
    if not len(mean) == len(std) == color.shape[1]:
        raise UsageError(
            f"mean and std must have {color.shape[1]} numbers, one a channel, not {len(mean)} and {len(std)}."
        )
    scale = 255 * np.array(std)
    result = color / scale[:, None]
    result[:, :, -1] -= np.array(mean) / np.array(std)
    return np.ascontiguousarray(result, np.float32)


def _apply(drawn: Drawn, images: Images, sampling: Sampling, rows: Rows) -> Images:
    """`rows` of the images; the others are left as they come."""
    work = _work(drawn, images, sampling, rows)
    for part, source in _sources(drawn, images, work, rows):
        last = Pass(part, drawn.matrices[part], drawn.color[part], source is work)
        _sample(last, source, work, sampling)
    return work


def _work(drawn: Drawn, images: Images, sampling: Sampling, rows: Rows) -> Images:
    """What the steps make of the images; those that no step has sampled are not in it."""
    work = np.empty((len(images), *drawn.size, images.shape[3]), np.uint8)
    for step in drawn.steps:
        _carry_out(step, drawn, images, work, sampling)
    return work


def _sources(drawn: Drawn, images: Images, work: Images, rows: Rows) -> list[tuple[Rows, Images]]:
    """Which images the last pass takes from where."""
    parts = ((rows[~drawn.moved[rows]], images), (rows[drawn.moved[rows]], work))
    return [(part, source) for part, source in parts if len(part)]


def _carry_out(step: Step, drawn: Drawn, images: Images, work: Images, sampling: Sampling) -> None:
    if isinstance(step, Pass):
        _sample(step, work if step.moved else images, work, sampling)
    elif isinstance(step, Tone):
        for row, table in zip(step.rows, step.tables, strict=True):
            work[row] = table[work[row]]
    elif isinstance(step, Pixels):
        function = OPS[step.name].apply
        for row, values in zip(step.rows, step.values, strict=True):
            if drawn.channels == "bgr":  # ops of the pixels know red first
                work[row] = function(np.ascontiguousarray(work[row, ..., ::-1]), *values)[..., ::-1]
            else:
                work[row] = function(work[row], *values)
    else:
        _blend(step, work, sampling)


def _blend(step: Blending, work: Images, sampling: Sampling) -> None:
    weights = step.weights.astype(np.float32)[:, :, None, None, None]
    mean = weights[:, 0] * work[step.rows]
    for place, copy in enumerate(step.copies):
        mean += weights[:, 1 + place] * _apply(copy, work, sampling, step.rows)[step.rows]
    work[step.rows] = np.rint(np.clip(mean, 0, 255)).astype(np.uint8)


def _sample(step: Pass, source: Images, work: Images, sampling: Sampling) -> None:
    """Put the sampled rows of `source` into `work`, which may be the same array."""
    from tenfold.augment.kernel import recolor_bytes, warp

    rows, size = step.rows, work.shape[1:3]
    still = (step.matrices == np.eye(3)).all((1, 2))
    if source.shape[1:3] != size:
        still[:] = False
    plain = (step.color == np.eye(*step.color.shape[1:], dtype=np.float32)).all((1, 2))
    if source is not work and still.any():
        work[rows[still]] = source[rows[still]]
    moving, recolored = rows[~still], rows[~plain]
    if len(moving):
        work[moving] = warp(_some(source, moving), step.matrices[~still], size, **sampling.options())
    if len(recolored):
        work[recolored] = recolor_bytes(_some(work, recolored), step.color[~plain], threads=sampling.threads)


def _some(images: Images, rows: Rows) -> Images:
    """Some images, without a copy where they are all."""
    return images if len(rows) == len(images) else images[rows]


def _check(drawn: Drawn, images: Images) -> None:
    channels = 1 if drawn.channels == "grey" else 3
    fits = images.ndim == 4 and len(images) == len(drawn.matrices) and images.shape[3] == channels
    if images.dtype != np.uint8 or not fits:
        raise UsageError(
            f"The images must be uint8 [{len(drawn.matrices)}, H, W, {channels}], as they were drawn for, "
            f"not {images.dtype} {list(images.shape)}."
        )
