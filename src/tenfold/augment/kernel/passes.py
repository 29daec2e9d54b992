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
BELOW, MEANS = 6 * B, 12 * B  # of lines: the upper neighbours' means, the lower ones', and those of both
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
    channels, pixels = images.shape[3], images.shape[1] * images.shape[2]
    planes, colored = np.empty(channels * B, np.float32), np.empty(color.shape[1] * B, np.float32)
    for n in range(len(images)):
        source, target = images[n].reshape(-1), out[n].reshape(-1)
        for start in range(0, pixels, B):
            count = min(B, pixels - start)
            for c in range(channels):
                for i in range(count):
                    planes[c * B + i] = source[(start + i) * channels + c]
            _mix(planes, 0, channels, count, color[n], colored, 0)
            _put(colored, 0, color.shape[1], count, planar, start, pixels, target)


@_compiled
def _at(start, i):
    # Of the i-th number from there on. Unsigned, as Numba looks whether another index is below zero, which keeps a loop
    # from becoming vector instructions; a slice, which needs none, takes as long to make as 50 pixels.
    return np.uint64(start) + np.uint64(i)


@_compiled
def _general(packed, matrix, source, target):
    """One image by any matrix, a block of its pixels after the other, through the ends of rows."""
    H, W, border, taps, fill, floats = source
    size, channels, color, planar, out = target
    u, v, places, weights = np.empty(B), np.empty(B), np.empty(B, np.uint32), np.empty(8 * B, np.float32)
    found, lines = np.empty(16 * B, np.uint32), np.empty(18 * B, np.float32)
    colored, words, stride = np.empty(len(color) * B, np.float32), packed.reshape(-1), packed.shape[2]
    pixels = size[0] * size[1]
    for start in range(0, pixels, B):
        count = min(B, pixels - start)
        _locate(matrix, size[1], start, count, u, v)
        _split(u, count, W, fill, taps, border, weights, 0)
        _split(v, count, H, fill, taps, border, weights, 4 * B if taps == 4 else B)
        for i in range(count):
            places[i] = np.int32(v[i] * stride + u[i])
        for layer in range(len(packed)):
            _gather(words, layer * packed[0].size, stride, places, count, taps, found)
            _interpolate(found, floats, layer, channels, taps, weights, count, lines)
        if len(color):
            _mix(lines, MEANS, channels, count, color, colored, 0)
            _put(colored, 0, len(color), count, planar, start, pixels, out)
        else:
            _put(lines, MEANS, channels, count, planar, start, pixels, out)


@_compiled
def _aligned(packed, matrix, source, target):
    """One image by a matrix that keeps rows rows: crop, flip, resize, shift; bilinear."""
    # A row that is needed is interpolated along x and recolored once, and kept for the next output row: an affine
    # colour map may come before the mean along y, as the weights sum to 1.
    H, W, border, taps, fill, floats = source
    (h, w), channels, color, planar, out = target
    x_weights, y_weights = np.empty(w, np.float32), np.empty(h, np.float32)
    u = (np.arange(w) + 0.5) * matrix[0, 0] + matrix[0, 2] - 0.5
    v = (np.arange(h) + 0.5) * matrix[1, 1] + matrix[1, 2] - 0.5
    _split(u, w, W, fill, taps, border, x_weights, 0)
    _split(v, h, H, fill, taps, border, y_weights, 0)
    found, places, weights = np.empty(2 * B, np.uint32), u.astype(np.uint32), np.empty(B, np.float32)
    K = len(color) if len(color) else channels
    one = max(K, 6) * B  # a fourth channel is interpolated with two that are not there
    planes, lines = np.empty(one, np.float32), np.empty(2 * one, np.float32)
    words, stride = packed.reshape(-1), packed.shape[2]
    for start in range(0, w, B):
        count = min(B, w - start)
        held = [-1, -1]  # the number of the packed row that each of the two lines was made of
        for y in range(h):
            row = int(v[y])
            for needed in (row, row + 1):
                line = needed % 2 * one
                if held[needed % 2] != needed:
                    held[needed % 2] = needed
                    straight, at = (planes, 0) if len(color) else (lines, line)
                    for layer in range(len(packed)):
                        last, begin = layer + 1 if floats else channels, layer * packed[0].size + needed * stride
                        _gather_pairs(words, begin, places, start, count, found, 0)
                        _linear(found, 0, floats, layer, last, x_weights, start, count, straight, at)
                    if len(color):
                        _mix(planes, 0, channels, count, color, lines, line)
            weights[:] = y_weights[y]
            _between_lines(lines, row % 2 * one, (row + 1) % 2 * one, weights, 0, 0, K, count, planes, 0)
            _put(planes, 0, K, count, planar, y * w + start, h * w, out)


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
    source, words, stride = image.reshape(-1), packed.reshape(-1), packed.shape[1]
    for y in range(rows[0], rows[1]):
        row, start = _source(y - border, H, fill), y * stride + border
        if row < 0:
            packed[y, columns[0] : columns[1]] = outside
            continue
        _pack_row(source, (row * W + first) * depth, depth, 4 * layer, words, start + first, last - first)
        for low, high in ((columns[0] - border, 0), (W, columns[1] - border)):  # empty where the edge is far
            for x in range(low, high):
                place = _source(x, W, fill)
                words[start + x] = outside if place < 0 else words[start + place]


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
def _pack_row(source, begin, depth, first, words, start, count):
    """Bytes first to first + 3 of each `depth`, 1, 2, 3 or a multiple of 4, as one word, the first byte lowest."""
    if depth == 3:
        for i in range(count):
            red, green, blue = source[_at(begin, 3 * i)], source[_at(begin + 1, 3 * i)], source[_at(begin + 2, 3 * i)]
            words[_at(start, i)] = red | green << 8 | blue << 16
        return
    if depth % 4 == 0:  # a float, or four bytes, is a word as it is
        every, step = source.view(np.uint32), depth // 4
        for i in range(count):
            words[_at(start, i)] = every[_at((begin + first) // 4, i * step)]
        return
    for i in range(count):
        word = np.uint32(source[_at(begin, i * depth)])
        if depth == 2:
            word |= np.uint32(source[_at(begin + 1, 2 * i)]) << np.uint32(8)
        words[_at(start, i)] = word


@_compiled
def _locate(matrix, width, start, count, u, v):
    """Where the output pixels from number `start` on come from, in pixels whose centers are whole numbers."""
    done = 0
    while done < count:
        y, x = divmod(start + done, width)
        stop = min(done + width - x, count)
        _locate_row(matrix, x + 0.5, y + 0.5, done, stop - done, u, v)
        done = stop


@_compiled
def _locate_row(matrix, x, y, done, count, u, v):
    a, b = matrix[0, 0], matrix[1, 0]
    p = a * x + (matrix[0, 1] * y + matrix[0, 2])
    q = b * x + (matrix[1, 1] * y + matrix[1, 2])
    if matrix[2, 0] == 0 and matrix[2, 1] == 0:
        for i in range(count):
            step = np.float64(np.int32(i))  # 32 bits, which vector instructions convert
            u[_at(done, i)] = step * a + p - 0.5
            v[_at(done, i)] = step * b + q - 0.5
        return
    c, r = matrix[2, 0], matrix[2, 0] * x + (matrix[2, 1] * y + matrix[2, 2])
    for i in range(count):
        step = np.float64(np.int32(i))
        depth = step * c + r
        inverse = 1 / depth if depth != 0 else 0.0  # the horizon comes from the corner
        u[_at(done, i)] = (step * a + p) * inverse - 0.5
        v[_at(done, i)] = (step * b + q) * inverse - 0.5


@_compiled
def _fold(u, count, length, fill):
    """Bring places into the image by the fill rule, in place; "nearest" and "constant" leave that to `_split`."""
    if fill == REFLECT:
        for i in range(count):
            t = u[i] + 0.5
            t -= 2 * length * np.floor(t / (2 * length))
            u[i] = length - abs(length - t) - 0.5
    elif fill == WRAP:
        for i in range(count):
            u[i] -= length * np.floor((u[i] + 0.5) / length)
    elif fill == WRAP_SCIPY:
        period = max(length - 1.0, 1.0)
        for i in range(count):
            if u[i] < 0:  # as scipy has it, a whole number of periods to the left is the last pixel, not the first
                u[i] += period * (np.floor(-u[i] / period) + 1)
            elif u[i] > period:
                u[i] -= period * np.floor(u[i] / period)


@_compiled
def _split(u, count, length, fill, taps, border, weights, at):
    """Places along one axis become, in place, the first neighbour's packed column or row; and the weights."""
    _fold(u, count, length, fill)
    reach, shift = 2.0 if taps == 4 else 1.0, 0.5 if taps == 1 else 0.0  # that far outside, all neighbours are alike
    low, high, origin = -reach, length - 1 + reach, border - 1 if taps == 4 else border
    for i in range(count):
        x = u[i] if u[i] > low else low  # written so that NaN is cut off too
        x = (x if x < high else high) + shift
        whole = np.floor(x)
        weights[_at(at, i)] = x - whole
        u[i] = whole + origin
    for i in range(count if taps == 4 else 0):  # of four neighbours, B weights each, by the distance past the second
        f = np.float64(weights[_at(at, i)])
        weights[_at(at, i)] = ((-0.5 * f + 1) * f - 0.5) * f
        weights[_at(at + B, i)] = (1.5 * f - 2.5) * f * f + 1
        weights[_at(at + 2 * B, i)] = ((-1.5 * f + 2) * f + 0.5) * f
        weights[_at(at + 3 * B, i)] = (0.5 * f - 0.5) * f * f


@_compiled
def _gather(words, start, stride, places, count, taps, found):
    """The words of the taps x taps neighbours of each place: of two, pairs, a row after the other; else B of each."""
    if taps == 2:
        _gather_pairs(words, start, places, 0, count, found, 0)
        _gather_pairs(words, start + stride, places, 0, count, found, 2 * B)
        return
    for row in range(taps):
        for column in range(taps):
            source, target = start + row * stride + column, (row * taps + column) * B
            for i in range(count):
                found[_at(target, i)] = words[_at(source, places[i])]


@_compiled
def _gather_pairs(words, start, places, first, count, found, at):
    for i in range(count):  # side by side: one load and one store of 64 bits
        place = places[_at(first, i)]
        found[_at(at, 2 * i)], found[_at(at + 1, 2 * i)] = words[_at(start, place)], words[_at(start + 1, place)]


@_compiled
def _interpolate(found, floats, layer, channels, taps, weights, count, lines):
    """The weighted means of the neighbours of all channels, or of channel `layer` of floats, into the last line."""
    last = layer + 1 if floats else channels
    if taps == 2:
        _linear(found, 0, floats, layer, last, weights, 0, count, lines, 0)
        _linear(found, 2 * B, floats, layer, last, weights, 0, count, lines, BELOW)
        _between_lines(lines, 0, BELOW, weights, B, layer, last, count, lines, MEANS)
        return
    for c in range(layer, last):
        at = MEANS + c * B
        for i in range(count):
            lines[_at(at, i)] = _value(found[i], floats, 8 * c) if taps == 1 else ZERO
        for row in range(0 if taps == 1 else 4):
            _add_line(found, 4 * row * B, floats, 8 * c, weights, (4 + row) * B, lines, at, count)


@_compiled
def _value(word, floats, shift):
    if floats:
        return np.uint32(word).view(np.float32)
    return np.float32(np.int32((word >> (shift & 31)) & 255))  # & 31 lets the compiler stay within 32 bits


@_compiled
def _linear(found, pairs, floats, first, last, weights, x, count, planes, at):
    """The mean of pairs, three channels at a time, wanted or not, so that pairs are parted once."""
    for c in range(first, last, 3):  # called with literals, which compile to constants: half the time
        if floats:
            _linear_three(found, pairs, True, 0, weights, x, count, planes, at + c * B)
        elif c == 0:
            _linear_three(found, pairs, False, 0, weights, x, count, planes, at)
        else:
            _linear_three(found, pairs, False, 24, weights, x, count, planes, at + c * B)


@_compiled
def _linear_three(found, pairs, floats, shift, weights, x, count, planes, at):
    for i in range(count):
        a, b = found[_at(pairs, 2 * i)], found[_at(pairs + 1, 2 * i)]
        for k in range(3):
            left, right = _value(a, floats, shift + 8 * k), _value(b, floats, shift + 8 * k)
            planes[_at(at + k * B, i)] = left + weights[_at(x, i)] * (right - left)


@_compiled
def _between_lines(lines, above, below, weights, y, first, last, count, planes, at):
    for c in range(first, last):
        for i in range(count):
            top, bottom = lines[_at(above + c * B, i)], lines[_at(below + c * B, i)]
            planes[_at(at + c * B, i)] = top + weights[_at(y, i)] * (bottom - top)


@_compiled
def _add_line(words, first, floats, shift, weights, vertical, planes, at, count):
    for i in range(count):
        line = ZERO
        for k in range(4):
            line += weights[_at(k * B, i)] * _value(words[_at(first + k * B, i)], floats, shift)
        planes[_at(at, i)] += weights[_at(vertical, i)] * line


@_compiled
def _put(planes, at, channels, count, planar, start, pixels, out):
    """Store one block; for bytes, rounded half up and cut to 0 to 255 (the conversion drops the fraction)."""
    for c in range(channels if out.itemsize == 1 else 0):
        for i in range(count):
            value = planes[_at(at + c * B, i)] + HALF
            value = value if value > ZERO else ZERO
            planes[_at(at + c * B, i)] = value if value < WHITE else WHITE
    if channels == 3 and not planar:
        for i in range(count):
            for c in range(3):
                out[_at(3 * start + c, 3 * i)] = planes[_at(at + c * B, i)]
        return
    step = 1 if planar else channels
    for c in range(channels):
        first = c * pixels + start if planar else start * channels + c
        for i in range(count):
            out[_at(first, i * step)] = planes[_at(at + c * B, i)]


@_compiled
def _mix(planes, at, channels, count, color, colored, to):
    for k in range(len(color)):
        target = to + k * B
        if channels == 3:
            red, green, blue, offset = color[k, 0], color[k, 1], color[k, 2], color[k, 3]
            for i in range(count):
                first, second, third = planes[_at(at, i)], planes[_at(at + B, i)], planes[_at(at + 2 * B, i)]
                colored[_at(target, i)] = offset + red * first + green * second + blue * third
            continue
        colored[target : target + count] = color[k, channels]
        for c in range(channels):
            for i in range(count):
                colored[_at(target, i)] += color[k, c] * planes[_at(at + c * B, i)]
