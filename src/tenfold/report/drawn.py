"""Boxes drawn on a picture, with words at their upper edge.

Shapes: B boxes, H x W pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from tenfold.images.readers.labels import composed
from tenfold.report.labels import Corner, place_labels
from tenfold.report.lettering import Font, Lettering

COLORS = (
    (0, 114, 178),
    (213, 94, 0),
    (0, 158, 115),
    (204, 121, 167),
    (230, 159, 0),
    (86, 180, 233),
    (240, 228, 66),
)
"""Okabe and Ito's, that people who see few colors tell apart (https://jfly.uni-koeln.de/color/); without the black."""

_LINE, _TEXT, _SMALL = 300, 40, 60  # the picture's longest side by the width of a line, and by the height of a letter
_LEAST_TEXT = 11
_MANY = 12  # boxes from which on letters are small
_HIDDEN = 0.4  # how much of a box words may hide
_BRIGHT = 140  # luminance of a color from which on words on it are black


def draw_boxes(
    pixels: NDArray[np.uint8],
    boxes_xyxy: NDArray[np.floating[Any]],
    colors: Sequence[int],
    words: Sequence[str] | None = None,
    *,
    width: int = 0,
    lettering: Lettering | None = None,
) -> Image.Image:
    """A picture uint8 [H, W, 3] with boxes float [B, 4] on it.

    `colors` are places in COLORS, after whose end it begins again. `words`, one text for each box, stand above it, or
    else below, beside or in it, where they hide neither each other nor the objects: the first ones are served first,
    and in a crowd the last ones may find no room. `width` of the lines in pixels; 0: by the picture's size. `lettering`
    has the fonts of the words, numbers added or not; None: they are looked up, which takes time but for ASCII.
    """
    image = Image.fromarray(pixels)
    pen, side = ImageDraw.Draw(image), max(image.size)
    width = width or max(2, round(side / _LINE))
    boxes, shades = boxes_xyxy.tolist(), [COLORS[place % len(COLORS)] for place in colors]
    for box, color in zip(boxes, shades, strict=True):
        pen.rectangle(box, outline=color, width=width)
    if words:
        words, lettering = [composed(text) for text in words], lettering or Lettering(words)
        high = max(_LEAST_TEXT, side / (_TEXT if len(words) < _MANY else _SMALL))
        fonts = [lettering.font(text, high) for text in words]
        edges = [pen.textbbox((0, 0), text, font=font) for text, font in zip(words, fonts, strict=True)]
        sizes = np.array([(right - left + 6, bottom - top + 4) for left, top, right, bottom in edges], np.float64)
        sizes[:, 0] = np.minimum(sizes[:, 0], image.width)  # what is longer than the picture is cut by its end
        spots = place_labels(boxes_xyxy.astype(np.float64), sizes, (0, 0, *image.size), _HIDDEN)
        for text, font, edge, size, spot, color in zip(words, fonts, edges, sizes.tolist(), spots, shades, strict=True):
            if spot is not None:
                _write(pen, text, spot, size, edge[:2], color, font)
    return image


def _write(
    pen: ImageDraw.ImageDraw,
    text: str,
    corner: Corner,
    size: list[float],
    start: tuple[float, float],
    color: tuple[int, int, int],
    font: Font,
) -> None:
    """A text on a ground of the box's color; `start` is where its letters begin by themselves."""
    x, y = corner
    pen.rectangle((x, y, x + size[0], y + size[1]), fill=color)
    luminance = 0.299 * color[0] + 0.587 * color[1] + 0.114 * color[2]
    fill = (0, 0, 0) if luminance > _BRIGHT else (255, 255, 255)
    pen.text((x + 3 - start[0], y + 2 - start[1]), text, font=font, fill=fill)
