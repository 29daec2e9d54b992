"""Mean and standard deviation: of each image (sample-wise), or of the training images (feature-wise).

Every formula is that of Keras' ImageDataGenerator: x -> (x - mean) / (std + 1e-6), std the population's (divided by
N, not N - 1). Keras sums in float32, which stops growing where a value is less than half a unit in the last place of
the sum: the 51 million values of a channel of 50,000 images of 32 x 32, from 0 to 255, add up to 2^32 at most, so
that a mean above 83.9 comes out as 83.9. Here sums are float64, so with many images the results differ.

Fit on the images of the training part only: figures of validation and test images must not reach the network.

Shapes: N images, H x W pixels, C channels (channel_axis says where they stand).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import DTypeLike, NDArray

from tenfold.errors import DataError, UsageError, unknown

Images = NDArray[Any]
"""Real numbers, [N, H, W, C] or, where one image will do, [H, W, C]."""

Floats = NDArray[np.floating[Any]]

STD_FLOOR = 1e-6
"""Added to a standard deviation before dividing by it."""

BLOCK = 1024
"""Images that are worked on at a time."""

Per = Literal["channel", "feature"]
PER: tuple[Per, ...] = ("channel", "feature")


@dataclass(frozen=True)
class Statistics:
    """Feature-wise mean and standard deviation, fitted once and the same for every image afterwards."""

    mean: Floats
    """[1, 1, C] for one mean a channel, [H, W, C] for one a feature."""
    std: Floats
    """The population's standard deviation, of the same shape."""

    @classmethod
    def fit(
        cls,
        images: Images | Iterable[Images],
        per: Per = "channel",
        *,
        channel_axis: int = -1,
        dtype: DTypeLike = np.float32,
        finite: bool = True,
    ) -> Statistics:
        """Mean and std of images [N, H, W, C], or of a stream of such batches, seen once.

        `per` channel: over all pixels; feature: of each pixel and channel on its own. Batches are joined in float64 by
        the update of Chan, Golub and LeVeque 1983 ("Algorithms for computing the sample variance", section 2), which
        loses nothing where the mean is large against the deviation. The result is rounded to the float `dtype`. Raises
        UsageError for no images or wrong shapes, and with `finite` DataError where a value is not; without, the
        channel or feature of that value gets NaN.
        """
        if per not in PER:
            raise unknown("per of Statistics.fit", per, PER)
        count, mean, spread = 0, np.zeros(1), np.zeros(1)
        for block in image_blocks(images, "Statistics.fit", finite):
            axes = (0, *other_axes(block.ndim, channel_axis)) if per == "channel" else (0,)
            values = block.astype(np.float64)
            size = values.size // np.prod([values.shape[axis] for axis in range(4) if axis not in axes], dtype=int)
            own = values.mean(axes, keepdims=True)
            values -= own
            total = count + size
            spread = spread + np.square(values).sum(axes, keepdims=True) + (own - mean) ** 2 * (count * size / total)
            mean = mean + (own - mean) * (size / total)
            count = total
        if count == 0:
            raise UsageError("Statistics.fit needs at least one image, but none came.")
        return cls(mean[0].astype(dtype), np.sqrt(spread[0] / count).astype(dtype))

    def apply(self, images: Images) -> Floats:
        """(images - mean) / (std + 1e-6), in the dtype of these, of the shape of `images` [N, H, W, C] or [H, W, C]."""
        result: Floats = images.astype(self.mean.dtype)
        result -= self.mean
        result /= self.std + STD_FLOOR
        return result

    def invert(self, images: Images) -> Floats:
        """The images that `apply` gave `images` for, of the same dtype and shape."""
        result: Floats = images.astype(self.mean.dtype)
        result *= self.std + STD_FLOOR
        result += self.mean
        return result


def rescale_images(images: Images, factor: float) -> NDArray[np.float32]:
    """Every value times `factor`, for example 1 / 255: float32, of the same shape."""
    return np.multiply(images, np.float32(factor), dtype=np.float32)


def center_samples(images: Images) -> NDArray[np.float32]:
    """Each image minus the mean of all its values: [N, H, W, C] or one image [H, W, C] -> float32 of that shape."""
    result = images.astype(np.float32)
    result -= images.mean((-3, -2, -1), dtype=np.float64, keepdims=True).astype(np.float32)
    return result


def scale_samples(images: Images) -> NDArray[np.float32]:
    """Each image divided by the standard deviation of all its values plus 1e-6, its mean left as it is.

    [N, H, W, C] or one image [H, W, C] -> float32 of that shape. After `center_samples`, mean 0 and deviation 1.
    """
    result = images.astype(np.float32)
    result /= images.std((-3, -2, -1), dtype=np.float64, keepdims=True).astype(np.float32) + np.float32(STD_FLOOR)
    return result


def image_blocks(images: Images | Iterable[Images], what: str, finite: bool = True) -> Iterator[Images]:
    """Cut [N, H, W, C], or join a stream of such batches, into blocks of 1,024 images, the last one smaller.

    `what` names the caller in an error: UsageError where a batch is no array [N, H, W, C] of real numbers or has
    another shape than the first, with `finite` DataError where a value is not.
    """
    waiting: list[Images] = []
    shape: tuple[int, ...] | None = None
    for batch in [images] if isinstance(images, np.ndarray) else images:
        if not isinstance(batch, np.ndarray) or batch.ndim != 4 or batch.dtype.kind not in "buif":
            came = f"{batch.dtype} {list(batch.shape)}" if isinstance(batch, np.ndarray) else type(batch).__name__
            raise UsageError(f"{what} needs images as arrays of numbers [N, H, W, C], not {came}.")
        shape = shape or batch.shape[1:]
        if batch.shape[1:] != shape:
            raise UsageError(f"{what} needs images of one shape, but after {list(shape)} came {list(batch.shape[1:])}.")
        for start in range(0, len(batch), BLOCK):
            waiting.append(batch[start : start + BLOCK])
            if sum(map(len, waiting)) >= BLOCK:
                joined = _joined(waiting, what, finite)
                yield joined[:BLOCK]
                waiting = [joined[BLOCK:]] if len(joined) > BLOCK else []
    if waiting:
        yield _joined(waiting, what, finite)


def other_axes(ndim: int, channel_axis: int) -> tuple[int, ...]:
    """The axes of one image in a batch of `ndim` axes that are not `channel_axis` (counted from the end, or in it)."""
    channel = channel_axis % ndim
    return tuple(axis for axis in range(1, ndim) if axis != channel)


def _joined(batches: list[Images], what: str, finite: bool) -> Images:
    block = batches[0] if len(batches) == 1 else np.concatenate(batches)
    if finite and block.dtype.kind == "f" and not np.isfinite(block).all():
        raise DataError(f"{what} needs finite values, but an image holds NaN or infinity; leave that image out.")
    return block
