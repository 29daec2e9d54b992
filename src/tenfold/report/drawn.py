"""Boxes drawn on a picture, with words at their upper edge.

Shapes: B boxes, H x W pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

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

_LINE, _TEXT = 300, 40  # the picture's longest side by the width of a line, and by the height of a letter
_LEAST_TEXT = 11
_BRIGHT = 140  # luminance of a color from which on words on it are black


def draw_boxes(
    pixels: NDArray[np.uint8],
    boxes_xyxy: NDArray[np.floating[Any]],
    colors: Sequence[int],
    words: Sequence[str] | None = None,
    *,
    width: int = 0,
) -> Image.Image:
    """A picture uint8 [H, W, 3] with boxes float [B, 4] on it.

    `colors` are places in COLORS, after whose end it begins again. `words`, one text for each box, stand at its upper
    edge, within the picture, the first on top. `width` of the lines in pixels; 0: by the picture's size.
    """
    image = Image.fromarray(pixels)
    pen, side = ImageDraw.Draw(image), max(image.size)
    width = width or max(2, round(side / _LINE))
    font = ImageFont.load_default(max(_LEAST_TEXT, side / _TEXT))
    boxes, shades = boxes_xyxy.tolist(), [COLORS[place % len(COLORS)] for place in colors]
    for box, color in zip(boxes, shades, strict=True):
        pen.rectangle(box, outline=color, width=width)
    for text, box, color in reversed([*zip(words or (), boxes, shades, strict=words is not None)]):
        _write(pen, text, box, color, font, image.size)
    return image


def _write(
    pen: ImageDraw.ImageDraw,
    text: str,
    box: list[float],
    color: tuple[int, int, int],
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
    size: tuple[int, int],
) -> None:
    """A text on a ground of the box's color: above the box, or in it where the picture ends."""
    left, top, right, bottom = pen.textbbox((0, 0), text, font=font)
    wide, high = right - left + 6, bottom - top + 4
    x = max(0, min(box[0], size[0] - wide))
    y = box[1] - high if box[1] >= high else max(0, min(box[1], size[1] - high))
    pen.rectangle((x, y, x + wide, y + high), fill=color)
    luminance = 0.299 * color[0] + 0.587 * color[1] + 0.114 * color[2]
    pen.text((x + 3 - left, y + 2 - top), text, font=font, fill=(0, 0, 0) if luminance > _BRIGHT else (255, 255, 255))
