"""Geometry: each op changes the frame through which the image is seen.

A frame is the rectangle that becomes the output: at first the whole image. It has a size and a map from its own points,
measured from its centre, to the pixels of the image that came in, x to the right and y down, pixel edges at integers.
Ops are done to it one after the other, and the pixels are sampled once, at the end.

Shapes: n images; columns float64 [n]; maps float64 [3, 3, n], the images last, so that one call treats all of them.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Rows = NDArray[np.int64]


class Frame:
    """The frames of n images."""

    def __init__(self, maps: Array, width: Array, height: Array, shape: float) -> None:
        self.maps = maps
        """[3, 3, n]: (x, y, 1) from the frame's centre -> (x, y, 1) of the image."""
        self.width, self.height = width, height
        """[n], in pixels of the image before any zoom."""
        self.shape = shape
        """Width over height of the output."""

    @classmethod
    def whole(cls, count: int, height: int, width: int, shape: float = 1.0) -> Frame:
        """The frame that is the image."""
        maps = np.zeros((3, 3, count))
        maps[0, 0] = maps[1, 1] = maps[2, 2] = 1
        maps[0, 2], maps[1, 2] = width / 2, height / 2
        return cls(maps, np.full(count, float(width)), np.full(count, float(height)), shape)

    def take(self, rows: Rows) -> Frame:
        """A copy of some of them."""
        return Frame(self.maps[:, :, rows], self.width[rows], self.height[rows], self.shape)

    def put(self, rows: Rows, frame: Frame) -> None:
        """Replace some of them."""
        self.maps[:, :, rows], self.width[rows], self.height[rows] = frame.maps, frame.width, frame.height

    def move(self, x: Array, y: Array) -> None:
        """Shift the frame over the image."""
        self.maps[:, 2] += self.maps[:, 0] * x + self.maps[:, 1] * y

    def stretch(self, x: Array, y: Array) -> None:
        """Let the frame see x times as wide and y times as high a part; below 0 mirrored."""
        self.maps[:, 0] *= x
        self.maps[:, 1] *= y

    def bend(self, a: Array, b: Array, c: Array, d: Array) -> None:
        """The linear map [[a, b], [c, d]] about the frame's centre."""
        left, right = self.maps[:, 0], self.maps[:, 1]
        self.maps[:, 0], self.maps[:, 1] = left * a + right * c, left * b + right * d

    def project(self, matrices: Array) -> None:
        """Projective maps [n, 3, 3] of points from the frame's centre."""
        self.maps = np.einsum("ijn,njk->ikn", self.maps, matrices)

    def matrices(self, size: tuple[int, int]) -> Array:
        """From the pixels of outputs h x w to those of the images: float64 [n, 3, 3]."""
        result = np.empty((len(self.width), 3, 3))
        left, right = self.maps[:, 0] * self.width, self.maps[:, 1] * self.height
        result[:, :, 0], result[:, :, 1] = (left / size[1]).T, (right / size[0]).T
        result[:, :, 2] = (self.maps[:, 2] - (left + right) / 2).T
        return result


def identity(frame: Frame) -> None:
    """Nothing."""


def rotate(frame: Frame, degrees: Array) -> None:
    """Counter-clockwise about the centre."""
    radians = np.deg2rad(degrees)
    cos, sin = np.cos(radians), np.sin(radians)
    frame.bend(cos, -sin, sin, cos)


def shift(frame: Frame, x: Array, y: Array) -> None:
    """To the right and down, as shares of the frame's sides."""
    frame.move(-x * frame.width, -y * frame.height)


def shift_pixels(frame: Frame, x: Array, y: Array) -> None:
    """To the right and down, in pixels."""
    frame.move(-x, -y)


def shear(frame: Frame, x: Array, y: Array) -> None:
    """By angles in degrees about the centre, along x and then y, as torchvision's `affine` does."""
    along_x, along_y = np.tan(np.deg2rad(x)), np.tan(np.deg2rad(y))
    frame.bend(1 + along_x * along_y, along_x, along_y, np.ones(1))


def skew(frame: Frame, x: Array, y: Array) -> None:
    """By slopes from the upper left corner, as the code of AutoAugment does."""
    frame.move(x * frame.height / 2, y * frame.width / 2)
    frame.bend(np.ones(1), x, y, np.ones(1))


def zoom(frame: Frame, both: Array, x: Array, y: Array) -> None:
    """Larger by a share about the centre: both sides alike, and each on its own."""
    frame.stretch(1 / ((1 + both) * (1 + x)), 1 / ((1 + both) * (1 + y)))


def flip(frame: Frame, direction: Array) -> None:
    """Left for right (0) or top for bottom (1)."""
    frame.stretch(2 * direction - 1, 1 - 2 * direction)


def turn(frame: Frame, quarters: Array) -> None:
    """Counter-clockwise by quarters, rounded to whole ones; an odd number of them swaps the frame's sides."""
    which = np.rint(quarters).astype(np.int64) % 4
    cos, sin = np.array([1.0, 0, -1, 0])[which], np.array([0.0, 1, 0, -1])[which]
    frame.bend(cos, -sin, sin, cos)
    odd = which % 2 == 1
    frame.width, frame.height = np.where(odd, [frame.height, frame.width], [frame.width, frame.height])


def crop(frame: Frame, scale: Array, aspect: Array, x: Array, y: Array) -> None:
    """A part of the frame of that share of its area, neither side longer than the frame's.

    It is `aspect` times as wide, for its height, as the output, and so stretched by that much. `x` and `y` from 0 to 1
    say where in the room that is left.
    """
    area, aspect = scale * frame.width * frame.height, aspect * frame.shape
    width, height = np.minimum(np.sqrt(area * aspect), frame.width), np.minimum(np.sqrt(area / aspect), frame.height)
    frame.move((frame.width - width) * (x - 0.5), (frame.height - height) * (y - 0.5))
    frame.width, frame.height = width, height


def pad(frame: Frame, share: Array) -> None:
    """A border on all four sides, as a share of each side."""
    frame.width, frame.height = frame.width * (1 + 2 * share), frame.height * (1 + 2 * share)


def perspective(frame: Frame, distortion: Array, *places: Array) -> None:
    """Each corner moves inwards by up to half of `distortion` of the side, as torchvision's RandomPerspective does.

    `places`: eight columns from 0 to 1, x and y of the upper left, upper right, lower right and lower left corner.
    """
    corners = np.array([[-0.5, -0.5], [0.5, -0.5], [0.5, 0.5], [-0.5, 0.5]])
    kept = 1 - np.stack(places, 1).reshape(-1, 4, 2) * distortion[:, None, None]
    sides = np.stack([frame.width, frame.height], 1)[:, None]
    frame.project(homography(corners * kept * sides, corners * sides))


def homography(start: Array, end: Array) -> Array:
    """The projective maps that take four points to four points: both float64 [n, 4, 2] -> [n, 3, 3].

    Hartley and Zisserman, Multiple View Geometry, 2003, section 4.1, with the last entry 1.
    """
    x, y, u, v = start[..., 0], start[..., 1], end[..., 0], end[..., 1]
    one, zero = np.ones_like(x), np.zeros_like(x)
    upper = np.stack([x, y, one, zero, zero, zero, -u * x, -u * y], 2)
    lower = np.stack([zero, zero, zero, x, y, one, -v * x, -v * y], 2)
    entries = np.linalg.solve(np.concatenate([upper, lower], 1), np.concatenate([u, v], 1)[:, :, None])[:, :, 0]
    return np.concatenate([entries, np.ones((len(entries), 1))], 1).reshape(-1, 3, 3)
