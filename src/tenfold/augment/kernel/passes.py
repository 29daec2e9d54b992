"""The compiled loops of the fused pass.

An image is packed into one 32-bit word a pixel, with a border of what lies outside it. Then, for one block of output
pixels after another: where each comes from, folded back into the image by the fill rule; its neighbours, gathered; the
weighted mean, a channel at a time; the colour map; the store. Each stage is a plain loop over a block that stays in
the first-level cache (bilinear: about 20 KiB), which becomes vector instructions; only the gather is scalar.

Error: places are computed in float64, and weights, means and colours in float32. A weight is off by at most 2**-25 and
a bilinear mean is 9 operations on values up to 255, each off by at most 2**-24 of its result, so an interpolated value
is off by less than 12 * 255 * 2**-24 = 2e-4 grey levels (bicubic: 1e-3), and a byte differs from the exact one only
where the exact value is that near to a half. Rounding is half up.

All compiled code is in this one file, because Numba keeps what it compiled until the file of the function that is
called changes, and does not look at the files of others.

Shapes: n images, H x W pixels in, h x w pixels out, C channels in, K channels out, B pixels a block.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba
import numpy as np

Function = TypeVar("Function", bound=Callable[..., Any])

B = 256
NEAREST, CONSTANT, REFLECT, WRAP, WRAP_SCIPY = range(5)
ZERO, HALF, WHITE = np.float32(0), np.float32(0.5), np.float32(255)  # plain floats would widen float32 to float64


def _compiled(function: Function) -> Function:
    """Numba without the lock. Only a * b + c may be contracted to one rounding; no other liberty is taken."""
    compiler = numba.njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
    return cast(Function, compiler(function))


@_compiled
def warp_images(images, matrices, color, out, sampling, size, planar):
    """Geometry, then colour, for images uint8 [n, H, W, bytes a pixel]; out [n, ...] is C-contiguous."""
    taps, fill, floats, outside = sampling
    _, H, W, depth = images.shape
    channels = depth // 4 if floats else depth
    border = 2 * max(taps // 2, 1)
    packed = np.empty((len(outside), H + 2 * border, W + 2 * border), np.uint32)
    for n in range(len(images)):
        matrix = matrices[n]
        columns = _needed(matrix[0], matrix[2], size, W, border)
        rows = _needed(matrix[1], matrix[2], size, H, border)
        for layer in range(len(outside)):
            _pack(images[n], layer, outside[layer], fill, border, rows, columns, packed[layer])
        aligned = matrix[0, 1] == 0 and matrix[1, 0] == 0 and matrix[2, 0] == 0 and matrix[2, 1] == 0
        source, target = (H, W, border, taps, fill, floats), (size, channels, color[n], planar, out[n].reshape(-1))
        if aligned and taps == 2:
            _aligned(packed, matrix, source, target)
        else:
            _general(packed, matrix, source, target)


@_compiled
def recolor_images(images, color, out, planar):
    """Colour alone, for images uint8 [n, H, W, C]; out [n, ...] is C-contiguous."""
    channels = images.shape[3]
    planes, colored = np.empty(channels * B, np.float32), np.empty(color.shape[1] * B, np.float32)
    pixels = images.shape[1] * images.shape[2]
    for n in range(len(images)):
        source, target = images[n].reshape(-1), out[n].reshape(-1)
        for start in range(0, pixels, B):
            count = min(B, pixels - start)
            for c in range(channels):
                for i in range(count):
                    planes[c * B + i] = source[(start + i) * channels + c]
            _mix(planes, channels, count, color[n], colored)
            _put(colored, color.shape[1], count, planar, start, pixels, target)


@_compiled
def _general(packed, matrix, source, target):
    """One image by any matrix, a block of its pixels after the other, through the ends of rows."""
    H, W, border, taps, fill, floats = source
    size, channels, color, planar, out = target
    u, v, places, weights = np.empty(B), np.empty(B), np.empty(B, np.uint32), np.empty(8 * B, np.float32)
    found, lines = np.empty(16 * B, np.uint32), np.empty((3, 6 * B), np.float32)
    planes, colored = lines[2], np.empty(len(color) * B, np.float32)
    stride, pixels = packed.shape[2], size[0] * size[1]
    for start in range(0, pixels, B):
        count = min(B, pixels - start)
        _locate(matrix, size[1], start, u[:count], v[:count])
        _split(u[:count], W, fill, taps, border, weights)
        _split(v[:count], H, fill, taps, border, weights[4 * B if taps == 4 else B :])
        for i in range(count):
            places[i] = np.int32(v[i] * stride + u[i])
        for layer in range(len(packed)):
            _gather(packed[layer].reshape(-1), stride, places[:count], taps, found)
            _interpolate(found, floats, layer, channels, taps, weights, count, lines)
        if len(color):
            _mix(planes, channels, count, color, colored)
            _put(colored, len(color), count, planar, start, pixels, out)
        else:
            _put(planes, channels, count, planar, start, pixels, out)


@_compiled
def _aligned(packed, matrix, source, target):
    """One image by a matrix that keeps rows rows: crop, flip, resize, shift; bilinear.

    Each row that is needed is interpolated along x and recolored once, and kept for the next output row: an affine
    colour map may come before the mean along y, as the weights sum to 1.
    """
    H, W, border, taps, fill, floats = source
    (h, w), channels, color, planar, out = target
    x_weights, y_weights = np.empty(w, np.float32), np.empty(h, np.float32)
    u = (np.arange(w) + 0.5) * matrix[0, 0] + matrix[0, 2] - 0.5
    v = (np.arange(h) + 0.5) * matrix[1, 1] + matrix[1, 2] - 0.5
    _split(u, W, fill, taps, border, x_weights)
    _split(v, H, fill, taps, border, y_weights)
    found, places, weights = np.empty(2 * B, np.uint32), u.astype(np.uint32), np.empty(B, np.float32)
    K = len(color) if len(color) else channels
    planes, lines = np.empty((4 + K) * B, np.float32), np.empty((2, (4 + K) * B), np.float32)
    for start in range(0, w, B):
        count = min(B, w - start)
        held = [-1, -1]  # the number of the packed row that each of the two lines was made of
        for y in range(h):
            row = int(v[y])
            for needed in (row, row + 1):
                if held[needed % 2] != needed:
                    held[needed % 2], line = needed, lines[needed % 2]
                    straight = planes if len(color) else line
                    for layer in range(len(packed)):
                        _gather_pairs(packed[layer, needed], places[start : start + count], found)
                        last = layer + 1 if floats else channels
                        _linear(found, floats, layer, last, x_weights[start:], count, straight)
                    if len(color):
                        _mix(planes, channels, count, color, line)
            weights[:] = y_weights[y]
            _between_lines(lines[row % 2], lines[(row + 1) % 2], weights, 0, K, count, planes)
            _put(planes, K, count, planar, y * w + start, h * w, out)


@_compiled
def _needed(row, last, size, length, border):
    """First and one past the last packed pixel along one axis; all of them where the output comes near the edge."""
    low = row[2] + min(row[0] * size[1], 0.0) + min(row[1] * size[0], 0.0)
    high = row[2] + max(row[0] * size[1], 0.0) + max(row[1] * size[0], 0.0)
    if last[0] != 0 or last[1] != 0 or not (low >= border and high <= length - border):
        return 0, length + 2 * border
    return int(low), min(int(high) + 2 * border + 1, length + border)


@_compiled
def _pack(image, layer, outside, fill, border, rows, columns, packed):
    """The pixels of uint8 [H, W, bytes] as words [H + 2 border, W + 2 border]; floats have a layer a channel."""
    H, W, depth = image.shape
    first, last = max(columns[0] - border, 0), min(columns[1] - border, W)
    for y in range(rows[0], rows[1]):
        source = _source(y - border, H, fill)
        if source < 0:
            packed[y, columns[0] : columns[1]] = outside
            continue
        line = packed[y]
        _pack_line(image[source, first:last].reshape(-1), depth, 4 * layer, line[border + first : border + last])
        for start, stop in ((columns[0], border), (border + W, columns[1])):  # empty where the edge is far
            for x in range(start, stop):
                place = _source(x - border, W, fill)
                line[x] = outside if place < 0 else line[border + place]


@_compiled
def _source(place, length, fill):
    """The pixel that stands for the one at `place`; -1 for the constant."""
    if 0 <= place < length:
        return place
    if fill == NEAREST:
        return 0 if place < 0 else length - 1
    if fill == REFLECT:
        place = place % (2 * length)
        return place if place < length else 2 * length - 1 - place
    if fill == WRAP:
        return place % length
    return place % max(length - 1, 1) if fill == WRAP_SCIPY else -1


@_compiled
def _pack_line(line, depth, first, words):
    """Bytes first to first + 3 of each `depth`, 1, 2, 3 or a multiple of 4, as one word, the first byte lowest."""
    if depth == 3:
        for i in range(len(words)):
            words[i] = line[3 * i] | line[3 * i + 1] << 8 | line[3 * i + 2] << 16
        return
    if depth % 4 == 0:  # a float, or four bytes, is a word as it is
        every, step = line.view(np.uint32)[first // 4 :], depth // 4
        for i in range(len(words)):
            words[i] = every[i * step]
        return
    for i in range(len(words)):
        words[i] = line[i * depth]
        if depth == 2:
            words[i] |= np.uint32(line[2 * i + 1]) << np.uint32(8)


@_compiled
def _locate(matrix, width, start, u, v):
    """Where the output pixels from number `start` on come from, in pixels whose centers are whole numbers."""
    done = 0
    while done < len(u):
        y, x = divmod(start + done, width)
        stop = min(done + width - x, len(u))
        _locate_row(matrix, x + 0.5, y + 0.5, u[done:stop], v[done:stop])
        done = stop


@_compiled
def _locate_row(matrix, x, y, u, v):
    a, b = matrix[0, 0], matrix[1, 0]
    p = a * x + (matrix[0, 1] * y + matrix[0, 2])
    q = b * x + (matrix[1, 1] * y + matrix[1, 2])
    if matrix[2, 0] == 0 and matrix[2, 1] == 0:
        for i in range(len(u)):
            step = np.float64(np.int32(i))  # 32 bits, which vector instructions convert
            u[i] = step * a + p - 0.5
            v[i] = step * b + q - 0.5
        return
    c = matrix[2, 0]
    r = c * x + (matrix[2, 1] * y + matrix[2, 2])
    for i in range(len(u)):
        step = np.float64(np.int32(i))
        depth = step * c + r
        inverse = 1 / depth if depth != 0 else 0.0  # the horizon comes from the corner
        u[i] = (step * a + p) * inverse - 0.5
        v[i] = (step * b + q) * inverse - 0.5


@_compiled
def _fold(u, length, fill):
    """Bring places into the image by the fill rule, in place; "nearest" and "constant" leave that to `_split`."""
    if fill == REFLECT:
        for i in range(len(u)):
            t = u[i] + 0.5
            t -= 2 * length * np.floor(t / (2 * length))
            u[i] = length - abs(length - t) - 0.5
    elif fill == WRAP:
        for i in range(len(u)):
            u[i] -= length * np.floor((u[i] + 0.5) / length)
    elif fill == WRAP_SCIPY:
        period = max(length - 1.0, 1.0)
        for i in range(len(u)):
            if u[i] < 0:  # as scipy has it, a whole number of periods to the left is the last pixel, not the first
                u[i] += period * (np.floor(-u[i] / period) + 1)
            elif u[i] > period:
                u[i] -= period * np.floor(u[i] / period)


@_compiled
def _split(u, length, fill, taps, border, weights):
    """Places along one axis become, in place, the first neighbour's packed column or row; and the weights."""
    _fold(u, length, fill)
    reach = 2.0 if taps == 4 else 1.0  # that far outside, all neighbours are alike
    low, high = -reach, length - 1 + reach
    shift = 0.5 if taps == 1 else 0.0
    origin = border - 1 if taps == 4 else border
    for i in range(len(u)):
        x = u[i] if u[i] > low else low  # written so that NaN is cut off too
        x = (x if x < high else high) + shift
        whole = np.floor(x)
        weights[i] = x - whole
        u[i] = whole + origin
    if taps == 4:
        _cubic(weights, len(u))


@_compiled
def _cubic(weights, count):
    """Weights of four neighbours, B numbers each, from the distance past the second at the place of the first."""
    for i in range(count):
        f = np.float64(weights[i])
        weights[i] = ((-0.5 * f + 1) * f - 0.5) * f
        weights[i + B] = (1.5 * f - 2.5) * f * f + 1
        weights[i + 2 * B] = ((-1.5 * f + 2) * f + 0.5) * f
        weights[i + 3 * B] = (0.5 * f - 0.5) * f * f


@_compiled
def _gather(packed, stride, places, taps, found):
    """The words of the taps x taps neighbours of each place: of two, pairs, a row after the other; else B of each."""
    if taps == 2:
        _gather_pairs(packed, places, found)
        _gather_pairs(packed[stride:], places, found[2 * B :])
        return
    for row in range(taps):
        for column in range(taps):
            source, target = packed[row * stride + column :], found[(row * taps + column) * B :]
            for i in range(len(places)):
                target[i] = source[places[i]]


@_compiled
def _gather_pairs(line, places, found):
    for i in range(len(places)):
        place = np.intp(places[i])
        found[2 * i], found[2 * i + 1] = line[place], line[place + 1]  # side by side: one load and one store of 64 bits


@_compiled
def _interpolate(found, floats, layer, channels, taps, weights, count, lines):
    """The weighted means of the neighbours of all channels, or of channel `layer` of floats, into the last line."""
    planes = lines[2]
    last = layer + 1 if floats else channels
    if taps == 2:
        _linear(found, floats, layer, last, weights, count, lines[0])
        _linear(found[2 * B :], floats, layer, last, weights, count, lines[1])
        _between_lines(lines[0], lines[1], weights[B:], layer, last, count, planes)
        return
    for c in range(layer, last):
        plane = planes[c * B : c * B + count]
        for i in range(count):
            plane[i] = _value(found[i], floats, 8 * c) if taps == 1 else ZERO
        for row in range(0 if taps == 1 else 4):
            _add_line(found[4 * row * B :], floats, 8 * c, weights, weights[(4 + row) * B :], plane)


@_compiled
def _value(word, floats, shift):
    if floats:
        return np.uint32(word).view(np.float32)
    return np.float32(np.int32((word >> (shift & 31)) & 255))  # & 31 lets the compiler stay within 32 bits


@_compiled
def _linear(words, floats, first, last, weights, count, planes):
    """The mean of pairs, three channels at a time, wanted or not, so that pairs are parted once."""
    for c in range(first, last, 3):  # called with literals, which compile to constants: half the time
        if floats:
            _linear_three(words, True, 0, weights, count, planes[c * B :])
        elif c == 0:
            _linear_three(words, False, 0, weights, count, planes)
        else:
            _linear_three(words, False, 24, weights, count, planes[c * B :])


@_compiled
def _linear_three(words, floats, shift, weights, count, planes):
    for i in range(count):
        a, b = words[2 * i], words[2 * i + 1]
        for k in range(3):
            left, right = _value(a, floats, shift + 8 * k), _value(b, floats, shift + 8 * k)
            planes[k * B + i] = left + weights[i] * (right - left)


@_compiled
def _between_lines(above, below, weights, first, last, count, planes):
    for c in range(first, last):
        top, bottom, plane = above[c * B :], below[c * B :], planes[c * B : c * B + count]
        for i in range(len(plane)):
            plane[i] = top[i] + weights[i] * (bottom[i] - top[i])


@_compiled
def _add_line(words, floats, shift, weights, vertical, plane):
    for i in range(len(plane)):
        a, b = _value(words[i], floats, shift), _value(words[B + i], floats, shift)
        c, d = _value(words[2 * B + i], floats, shift), _value(words[3 * B + i], floats, shift)
        line = weights[i] * a + weights[B + i] * b + weights[2 * B + i] * c + weights[3 * B + i] * d
        plane[i] += vertical[i] * line


@_compiled
def _put(planes, channels, count, planar, start, pixels, out):
    """Store one block; for bytes, rounded half up and cut to 0 to 255 (the conversion drops the fraction)."""
    for c in range(channels if out.itemsize == 1 else 0):
        for i in range(count):
            value = planes[c * B + i] + HALF
            value = value if value > ZERO else ZERO
            planes[c * B + i] = value if value < WHITE else WHITE
    if channels == 3 and not planar:
        three = out[3 * start :]
        for i in range(count):
            three[3 * i], three[3 * i + 1], three[3 * i + 2] = planes[i], planes[B + i], planes[2 * B + i]
        return
    step = 1 if planar else channels
    for c in range(channels):
        plane, target = planes[c * B : c * B + count], out[c * pixels + start if planar else start * channels + c :]
        for i in range(count):
            target[i * step] = plane[i]


@_compiled
def _mix(planes, channels, count, color, colored):
    for k in range(len(color)):
        row, target = color[k], colored[k * B : k * B + count]
        if channels == 3:
            red, green, blue, offset = row[0], row[1], row[2], row[3]
            for i in range(count):
                target[i] = offset + red * planes[i] + green * planes[B + i] + blue * planes[2 * B + i]
            continue
        target[:] = row[channels]
        for c in range(channels):
            for i in range(count):
                target[i] += row[c] * planes[c * B + i]
