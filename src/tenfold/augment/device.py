"""Carrying out what was drawn on a torch device, a batch at a time: the same Drawn as apply.py, so the same parameters.

Geometry and linear color are done in float32. Both ways round to bytes at the same places. Where they differ:

- bilinear places are known to about 1e-5 pixels here (images of 128), so an interpolated value is off by less than
  0.01 grey levels, and a byte by one where the value lies that near to a half; bicubic is nearer still;
- with "nearest" a place exactly in the middle between two pixels may take either, as rounding has it: where 128 pixels
  become 112, a seventh of the columns lie so, and a few of them differ;
- `contrast_about_mean` may take the luma of a pixel to be one grey level lower or higher, and `blur` is as exact as
  the device's matrix products are: with TF32 switched on it is off by half a grey level at most, before rounding;
- tone curves, equalizing and edges can make more of one grey level than one.

Noise and erasing draw the very same numbers. What is not written for a device yet (`ops_on_cpu`) goes to the CPU, for
the images that have it only, and comes back: that waits for the device, and makes a batch slow.

Shapes: N images, n of them; C channels, 1 or 3; in H x W, out h x w; P parameters; b border pixels; L pixels of a side.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from tenfold.augment.apply import Sampling, normalizing
from tenfold.augment.draw import Blending, Drawn, Fill, Pass, Pixels, Rows, Step, Tone
from tenfold.augment.ops import OPS
from tenfold.augment.ops.color import LUMA
from tenfold.augment.tree import Node, ops_of
from tenfold.errors import UsageError

Values = NDArray[np.float64]

_TAPS = {"nearest": 1, "bilinear": 2, "bicubic": 4}
_GOLDEN, _FIRST, _SECOND = (word - 2**64 for word in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB))
"""The constants of draws.py as signed numbers: torch has no others of 64 bits, and their products wrap to the same."""


def apply_on_device(
    drawn: Drawn, images: Tensor, mean: tuple[float, ...], std: tuple[float, ...], sampling: Sampling
) -> Tensor:
    """Images uint8 [N, C, H, W] -> (changed pixels / 255 - mean) / std, float32 [N, C, h, w] on the same device.

    The memory may be channels first or last. `mean` and `std` [C] on the 0 to 1 scale; values are not clipped.
    `sampling.threads` has no meaning here. Raises UsageError for images of another form, and on mps (no float64).
    """
    _check(drawn, images, sampling)
    color, sampling = normalizing(drawn.color, mean, std), sampling.in_order(drawn.channels)
    work = _work(drawn, images, sampling)
    result = images.new_empty((len(images), images.shape[1], *drawn.size), dtype=torch.float32)
    for rows, source in _sources(drawn, images, work, np.arange(len(images))):
        sampled = _resample(source[_sent(rows, source)], drawn.matrices[rows], drawn.size, sampling)
        result[_sent(rows, images)] = _recolor(sampled, color[rows])
    return result


def ops_on_cpu(nodes: Sequence[Node]) -> tuple[str, ...]:
    """The ops of a policy, `policy.ops`, for which `apply_on_device` goes back to the CPU: their names, sorted."""
    names = {op.name for node in nodes for op in ops_of(node) if op.kind.stage == "pixels"}
    return tuple(sorted(names - set(_ON_DEVICE)))


def _work(drawn: Drawn, images: Tensor, sampling: Sampling) -> Tensor:
    """What the steps make of the images: uint8 [N, C, h, w]; what no step has sampled is not in it."""
    work = images.new_empty((len(images), images.shape[1], *drawn.size))
    for step in drawn.steps:
        _carry_out(step, drawn, images, work, sampling)
    return work


def _sources(drawn: Drawn, images: Tensor, work: Tensor, rows: Rows) -> list[tuple[Rows, Tensor]]:
    """Which of the images the last pass takes from where."""
    parts = ((rows[~drawn.moved[rows]], images), (rows[drawn.moved[rows]], work))
    return [(part, source) for part, source in parts if len(part)]


def _carry_out(step: Step, drawn: Drawn, images: Tensor, work: Tensor, sampling: Sampling) -> None:
    index = _sent(step.rows, work)
    if isinstance(step, Pass):
        work[index] = _pass(step, work if step.moved else images, drawn.size, sampling)
    elif isinstance(step, Tone):
        work[index] = _look_up(work[index], _sent(step.tables, work)[:, None])
    elif isinstance(step, Pixels):
        turned = drawn.channels == "bgr"  # ops of the pixels know red first
        pixels = work[index].flip(1) if turned else work[index]
        function = _ON_DEVICE.get(step.name)
        changed = function(pixels, step.values) if function else _on_cpu(step, pixels)
        work[index] = changed.flip(1) if turned else changed
    else:
        work[index] = _blend(step, work, sampling)


def _blend(step: Blending, work: Tensor, sampling: Sampling) -> Tensor:
    weights = _sent(step.weights.astype(np.float32), work)[:, :, None, None, None]
    mean = weights[:, 0] * work[_sent(step.rows, work)]
    for place, copy in enumerate(step.copies):
        mean += weights[:, 1 + place] * _copy(copy, work, sampling, step.rows)
    return mean.clamp(0, 255).round().to(torch.uint8)


def _copy(drawn: Drawn, images: Tensor, sampling: Sampling, rows: Rows) -> Tensor:
    """`rows` of a blend's copy: uint8 [n, C, h, w]."""
    work = _work(drawn, images, sampling)
    for part, source in _sources(drawn, images, work, rows):
        last = Pass(part, drawn.matrices[part], drawn.color[part], source is work)
        work[_sent(part, work)] = _pass(last, source, drawn.size, sampling)
    return work[_sent(rows, work)]


def _pass(step: Pass, source: Tensor, size: tuple[int, int], sampling: Sampling) -> Tensor:
    """One pass, rounded to bytes after the geometry and after the color, as apply.py does."""
    result = _bytes(_resample(source[_sent(step.rows, source)], step.matrices, size, sampling))
    if (step.color == np.eye(*step.color.shape[1:], dtype=np.float32)).all():
        return result
    return _bytes(_recolor(result.float(), step.color))


def _recolor(pixels: Tensor, color: NDArray[np.float32]) -> Tensor:
    """Affine maps float32 [n, C, C + 1] of channels [n, C, h, w]."""
    maps = _sent(color, pixels)[..., None, None]
    result = maps[:, :, -1]  # then sums: TF32 would make a matrix product a quarter of a grey level wrong
    for channel in range(pixels.shape[1]):
        result = torch.addcmul(result, maps[:, :, channel], pixels[:, channel : channel + 1])
    return result


def _resample(images: Tensor, matrices: Values, size: tuple[int, int], sampling: Sampling) -> Tensor:
    """Bytes [n, C, H, W] -> float32 [n, C, h, w], each by its matrix [3, 3] from output to input pixels."""
    pixels, (height, width) = images.float(), images.shape[2:]
    if size == (height, width) and (matrices == np.eye(3)).all():
        return pixels
    taps, fill = _TAPS[sampling.interpolation], sampling.fill
    border = 2 if taps == 4 else 1
    constant = np.floor(np.array(sampling.value if fill == "constant" else 0.0, np.float32) + 0.5).reshape(1, -1, 1, 1)
    level = _sent(constant, pixels)
    pixels = _pad(pixels - level, border, fill)  # so that the constant is 0
    u, v = _places(_sent(matrices, pixels), size)
    u, v = (_fold(place, side, fill, border) + border for place, side in ((u, width), (v, height)))
    return (_linear(pixels, u, v) if taps == 2 else _gather(pixels, u, v, taps)) + level


def _places(matrices: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Where output pixels come from, pixel centers at whole numbers: float64 [n, h, w] twice."""
    y = torch.arange(size[0], dtype=torch.float64, device=matrices.device)[:, None] + 0.5
    x = torch.arange(size[1], dtype=torch.float64, device=matrices.device) + 0.5
    rows = matrices[..., None, None]
    u, v, depth = (rows[:, i, 0] * x + rows[:, i, 1] * y + rows[:, i, 2] for i in range(3))
    inverse = torch.where(depth == 0, 0.0, 1 / depth)  # the horizon comes from the corner
    return u * inverse - 0.5, v * inverse - 0.5


def _fold(places: Tensor, length: int, fill: Fill, border: int) -> Tensor:
    """Bring places into the image by the fill rule, and what is left outside to its padded border."""
    if fill == "reflect":
        t = torch.remainder(places + 0.5, 2 * length)
        places = length - (length - t).abs() - 0.5
    elif fill == "wrap":
        places = torch.remainder(places + 0.5, length) - 0.5
    return places.clamp(-border, length - 1 + border)


def _pad(pixels: Tensor, border: int, fill: Fill) -> Tensor:
    """[n, C, H, W] -> [n, C, H + 2b, W + 2b]: a border of what lies outside."""
    if fill == "constant":
        return F.pad(pixels, [border] * 4)
    for axis in (2, 3):
        length = pixels.shape[axis]
        place = torch.arange(-border, length + border, dtype=torch.float64, device=pixels.device)
        place = _fold(place, length, fill, border).clamp(0, length - 1)
        pixels = pixels.index_select(axis, place.long())
    return pixels


def _linear(padded: Tensor, u: Tensor, v: Tensor) -> Tensor:
    """The mean of four neighbors at places [n, h, w] of the padded image: [n, C, h, w]."""
    height, width = padded.shape[2:]
    grid = torch.stack([(2 * u + 1) / width - 1, (2 * v + 1) / height - 1], 3).float()
    return F.grid_sample(padded, grid, mode="bilinear", padding_mode="border", align_corners=False)


def _gather(padded: Tensor, u: Tensor, v: Tensor, taps: int) -> Tensor:
    """The nearest pixel, a half rounded up, or the cubic mean of 16 at places [n, h, w]: [n, C, h, w].

    torch's own bicubic is another kernel (a = -3/4), and its nearest rounds a half to even.
    """
    count, channels, height, width = padded.shape
    shift = 0.5 if taps == 1 else 0.0
    left, top = (u + shift).floor(), (v + shift).floor()
    across, down = ([None] if taps == 1 else _cubic((place - low).float()) for place, low in ((u, left), (v, top)))
    first = 0 if taps == 1 else -1
    flat, result = padded.flatten(2), padded.new_zeros((count, channels, *u.shape[1:]))
    for row, vertical in enumerate(down, first):
        line = (top + row).clamp(0, height - 1).long() * width
        for column, horizontal in enumerate(across, first):
            place = line + (left + column).clamp(0, width - 1).long()
            found = flat.gather(2, place.flatten(1)[:, None].expand(-1, channels, -1)).view_as(result)
            result += found if vertical is None or horizontal is None else found * (vertical * horizontal)[:, None]
    return result


def _cubic(f: Tensor) -> list[Tensor | None]:
    """Weights of four neighbors from the distance past the second: Keys 1981 with a = -1/2."""
    return [
        ((-0.5 * f + 1) * f - 0.5) * f,
        (1.5 * f - 2.5) * f * f + 1,
        ((-1.5 * f + 2) * f + 0.5) * f,
        (0.5 * f - 0.5) * f * f,
    ]


# Ops of the pixels, as in ops/pixels.py: bytes [n, C, h, w] and values float64 [n, P] -> bytes [n, C, h, w]


def _on_cpu(step: Pixels, pixels: Tensor) -> Tensor:
    function, images = OPS[step.name].apply, np.ascontiguousarray(pixels.permute(0, 2, 3, 1).cpu().numpy())
    changed = np.stack([function(image, *own) for image, own in zip(images, step.values, strict=True)])
    return _sent(changed, pixels).permute(0, 3, 1, 2)


def _equalize(pixels: Tensor, values: Values) -> Tensor:
    count, channels = pixels.shape[:2]
    levels, rows = (torch.arange(end, device=pixels.device) for end in (256, count * channels))
    bins = (pixels + 256 * rows.view(count, channels, 1, 1)).flatten()
    histogram = torch.bincount(bins, minlength=256 * len(rows)).view(count, channels, 256)
    last = torch.where(histogram > 0, levels, 0).amax(2, keepdim=True)
    step = (histogram.sum(2, keepdim=True) - histogram.gather(2, last)) // 255
    below = histogram.cumsum(2) - histogram
    tables = ((step // 2 + below) // step.clamp(min=1)).clamp(max=255)
    return _look_up(pixels, torch.where(step == 0, levels, tables).to(torch.uint8))


def _autocontrast(pixels: Tensor, values: Values) -> Tensor:
    darkest, brightest = (side.double()[..., None] for side in pixels.flatten(2).aminmax(dim=2))
    levels = torch.arange(256, dtype=torch.float64, device=pixels.device)
    width = brightest - darkest
    tables = torch.where(width == 0, levels, (levels - darkest) * (255 / width.clamp(min=1)))
    return _look_up(pixels, tables.clamp(0, 255).round().to(torch.uint8))


def _contrast_about_mean(pixels: Tensor, values: Values) -> Tensor:
    levels = torch.arange(256, dtype=torch.float64, device=pixels.device)
    grey = pixels.double()
    if pixels.shape[1] == 3:
        grey = (grey * _sent(LUMA, pixels)[:, None, None]).sum(1, keepdim=True).floor()
    change = _sent(values, pixels)[..., None]  # [n, 1, 1]
    tables = levels * (1 + change) - grey.mean((2, 3), keepdim=True)[..., 0] * change
    return _look_up(pixels, tables.clamp(0, 255).round().to(torch.uint8))


def _sharpness(pixels: Tensor, values: Values) -> Tensor:
    result = pixels.clone()
    if min(pixels.shape[2:]) < 3:
        return result
    whole, middle = pixels.float(), pixels[:, :, 1:-1, 1:-1].float()
    smooth = ((9 * F.avg_pool2d(whole, 3, 1)).round() + 4 * middle).div(13).round()  # the sum of nine is whole
    factor = _sent(1 + values, pixels).float()[..., None, None]
    result[:, :, 1:-1, 1:-1] = (smooth + factor * (middle - smooth)).clamp(0, 255).round().to(torch.uint8)
    return result


def _blur(pixels: Tensor, values: Values) -> Tensor:
    """Each side by a matrix, which holds any width and the mirrored border."""
    sigma = _sent(values, pixels)[..., None]
    rows, columns = (_smoothing(sigma, side)[:, None] for side in pixels.shape[2:])
    return (rows @ pixels.float() @ columns.mT).clamp(0, 255).round().to(torch.uint8)


def _smoothing(sigma: Tensor, length: int) -> Tensor:
    """Gaussian smoothing, the border mirrored and cut at 4 sigma as scipy has it: [n, 1, 1] -> float32 [n, L, L]."""
    reach = (4 * sigma + 0.5).floor()
    place = torch.arange(length, dtype=torch.float64, device=sigma.device)
    period, total = 2 * max(length - 1, 1), torch.zeros_like(sigma)
    twice = ((place > 0) & (place < length - 1)).double()  # those at an edge are their own mirror image
    turns = int(reach.max()) // period + 2
    for turn in range(-turns, turns + 1):
        for sign, weight in ((-1, torch.ones_like(place)), (1, twice)):
            distance = place[:, None] + sign * place + turn * period
            bell = torch.exp(-0.5 * (distance / sigma.clamp(min=1e-6)) ** 2)
            total = total + torch.where(distance.abs() <= reach, bell * weight, 0.0)
    return (total / total.sum(2, keepdim=True)).float()


def _noise(pixels: Tensor, values: Values) -> Tensor:
    (count, channels, height, width), size = pixels.shape, pixels[0].numel()
    half = -(-size // 2)
    numbers = _uniforms(values[:, 1], torch.arange(2 * half, device=pixels.device)[None])
    radius, angle = (-2 * torch.log1p(-numbers[:, :half])).sqrt(), 2 * torch.pi * numbers[:, half:]
    normal = torch.cat([radius * angle.cos(), radius * angle.sin()], 1)[:, :size]
    normal = normal.reshape(count, height, width, channels).permute(0, 3, 1, 2)  # as pixels lie in NumPy
    return (pixels + _sent(values[:, :1], pixels)[..., None, None] * normal).clamp(0, 255).round().to(torch.uint8)


def _cutout(pixels: Tensor, values: Values) -> Tensor:
    (height, width), (size, x, y, value) = pixels.shape[2:], values.T
    half = size * min(height, width) / 2
    top, left = np.rint(y * height - half), np.rint(x * width - half)
    bottom, right = np.rint(y * height + half), np.rint(x * width + half)
    inside = _window(pixels, top, left, bottom - top, right - left)[2]
    return torch.where(inside, _column(np.rint(value).astype(np.uint8), pixels), pixels)


def _erase(pixels: Tensor, values: Values) -> Tensor:
    (channels, height, width), (area, aspect, x, y, seed) = pixels.shape[1:], values.T
    columns = np.minimum(np.rint(np.sqrt(area * height * width * aspect)), width)
    rows = np.minimum(np.rint(np.sqrt(area * height * width / aspect)), height)
    top, left = np.rint(y * (height - rows)), np.rint(x * (width - columns))
    row, column, inside = _window(pixels, top, left, rows, columns)
    channel = torch.arange(channels, device=pixels.device)[:, None, None]
    number = (row * _column(columns.astype(np.int64), pixels) + column) * channels + channel  # [n, C, h, w]
    return torch.where(inside, (256 * _uniforms(seed, number)).to(torch.uint8), pixels)


def _decolor(pixels: Tensor, values: Values) -> Tensor:
    if pixels.shape[1] == 1:
        return pixels
    red, green, blue = (pixels[:, channel : channel + 1].int() for channel in range(3))
    luma: Tensor = (19595 * red + 38470 * green + 7471 * blue + 32768) >> 16  # as views.py
    return luma.to(torch.uint8).expand_as(pixels)


_ON_DEVICE: dict[str, Callable[[Tensor, Values], Tensor]] = {
    "equalize": _equalize,
    "autocontrast": _autocontrast,
    "contrast_about_mean": _contrast_about_mean,
    "sharpness": _sharpness,
    "blur": _blur,
    "noise": _noise,
    "cutout": _cutout,
    "erase": _erase,
    "decolor": _decolor,
}
"""Ops of the pixels that are done on the device."""


def _look_up(pixels: Tensor, tables: Tensor) -> Tensor:
    """Bytes [n, C, h, w] through tables uint8 [n, C or 1, 256]."""
    tables = tables.expand(-1, pixels.shape[1], -1)
    return tables.gather(2, pixels.flatten(2).long()).view_as(pixels)


def _window(pixels: Tensor, top: Values, left: Values, rows: Values, columns: Values) -> tuple[Tensor, Tensor, Tensor]:
    """Each pixel's row and column in a window, sides float64 [n], and whether it is inside: [n, 1, h, w] at most."""
    y, x = (torch.arange(side, device=pixels.device) for side in pixels.shape[2:])
    row = y[:, None] - _column(top.astype(np.int64), pixels)
    column = x - _column(left.astype(np.int64), pixels)
    inside = (row >= 0) & (row < _column(rows, pixels)) & (column >= 0) & (column < _column(columns, pixels))
    return row, column, inside


def _column(numbers: NDArray[np.generic], like: Tensor) -> Tensor:
    """One number an image: [n] -> [n, 1, 1, 1]."""
    return _sent(numbers, like)[:, None, None, None]


def _uniforms(seeds: Values, numbers: Tensor) -> Tensor:
    """Numbers int64 [n or 1, ...] of the streams that seeds float64 [n], 0 to 1, begin: float64 in [0, 1)."""
    keys = _sent((seeds * 2.0**53).astype(np.int64), numbers).view(-1, *[1] * (numbers.ndim - 1))
    value = keys + (numbers + 1) * _GOLDEN
    value = (value ^ _shift(value, 30)) * _FIRST
    value = (value ^ _shift(value, 27)) * _SECOND
    return _shift(value ^ _shift(value, 31), 11).double() * 2.0**-53


def _shift(value: Tensor, bits: int) -> Tensor:
    """To the right, zeros coming in, where torch repeats the sign."""
    return torch.bitwise_and(value >> bits, 2 ** (64 - bits) - 1)


def _bytes(values: Tensor) -> Tensor:
    """Rounded half up and cut to 0 to 255, as the kernel does."""
    return (values + 0.5).clamp(0, 255).to(torch.uint8)


def _sent(array: NDArray[np.generic], like: Tensor) -> Tensor:
    """A NumPy array on the device of a tensor."""
    return torch.from_numpy(np.ascontiguousarray(array)).to(like.device)


def _check(drawn: Drawn, images: Tensor, sampling: Sampling) -> None:
    if images.device.type == "mps":
        raise UsageError("The images must be on a device with float64, as cuda and cpu are, not on mps; use apply.")
    channels = 1 if drawn.channels == "grey" else 3
    fits = images.ndim == 4 and len(images) == len(drawn.matrices) and images.shape[1] == channels
    if images.dtype != torch.uint8 or not fits:
        raise UsageError(
            f"The images must be uint8 [{len(drawn.matrices)}, {channels}, H, W], as they were drawn for, "
            f"not {str(images.dtype).removeprefix('torch.')} {list(images.shape)}."
        )
    if sampling.fill == "constant" and len(sampling.value) not in (1, channels):
        raise UsageError(
            f"The value of a constant must be one grey level or one for each of {channels} channels, "
            f"not {len(sampling.value)}."
        )
