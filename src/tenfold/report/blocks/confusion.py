"""The confusion matrix, whose cells show their images; of many classes a picture of it and the worst pairs.

Shapes: K classes; the matrix is [K, K], rows the true class, columns the predicted one.
"""

from __future__ import annotations

from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tenfold.report.context import Answers, Context, Section, render
from tenfold.report.thumbnails import png_address

TABLE_CLASSES = 25
"""Up to so many classes the matrix is a table; beyond, no screen holds it."""
PAIRS = 30
IN_CELL, IN_ALL = 12, 200
"""Images shown of one cell, and of all cells together."""
CONFUSION = """
{% from "pieces.html.j2" import scroll, picture %}
<p>{{ words }}</p>
{% macro count(cell) %}
{% if cell.pictures %}<button type="button" popovertarget="{{ cell.id }}" aria-label="true {{ cell.truth }}, \
predicted {{ cell.predicted }}: {{ cell.count }} images, show them">{{ cell.count }}</button>\
{% else %}<span>{{ cell.count }}</span>{% endif %}
{% endmacro %}
{% if matrix %}
<p class="note" id="confusion-key">Rows: true class. Columns: predicted class. Color: share of the row. Select a \
count to see its images.</p>
{% call scroll("Confusion matrix") %}
<table class="confusion{{ " many" if classes | length > 8 }}" aria-describedby="confusion-key">
<thead><tr><td></td>{% for name in classes %}
<th scope="col"><span title="{{ name }}">{{ name }}</span></th>
{% endfor %}</tr></thead>
<tbody>
{% for row in matrix %}
<tr><th scope="row"><span title="{{ row[0].truth }}">{{ row[0].truth }}</span></th>
{% for cell in row %}
<td class="{{ cell.kind }}" style="--share: {{ cell.share }}">{{ count(cell) }}</td>
{% endfor %}
</tr>
{% endfor %}
</tbody>
</table>
{% endcall %}
{% else %}
<figure class="map"><img src="{{ map }}" alt="Confusion matrix of {{ classes | length }} classes as a picture: \
the stronger the color, the larger the share of the row"><figcaption>Rows: true class, columns: predicted class, \
both in the order of the tables below. Blue: right; orange: wrong; the stronger, the larger the share of the \
row.</figcaption></figure>
{% if cells %}
<p class="note" id="confusion-key">The most frequent confusions, {{ cells | length }} of them. Select a count to see \
its images.</p>
{% call scroll("Most frequent confusions", tall=cells | length > 12) %}
<table aria-describedby="confusion-key">
<thead><tr><th scope="col">True class</th><th scope="col">Predicted class</th><th scope="col" class="number">Images\
</th><th scope="col" class="number">of</th></tr></thead>
<tbody>
{% for cell in cells %}
<tr><td>{{ cell.truth }}</td><td>{{ cell.predicted }}</td><td class="number">{{ count(cell) }}</td>\
<td class="number">{{ cell.support }}</td></tr>
{% endfor %}
</tbody>
</table>
{% endcall %}
{% endif %}
{% endif %}
{% for cell in cells if cell.pictures %}
<div popover id="{{ cell.id }}" class="strip" role="dialog" aria-label="true {{ cell.truth }}, predicted \
{{ cell.predicted }}">
<button type="button" popovertarget="{{ cell.id }}" popovertargetaction="hide">Close</button>
<p><b>{{ cell.truth }}</b>{% if cell.kind == "right" %}, rightly named{% else %} taken for \
<b>{{ cell.predicted }}</b>{% endif %}{% if cell.count > 1 %}<br>\
<small>{{ cell.pictures | length }} of {{ cell.count }} images, the {{ "least" if cell.kind == "right" else "most" }} \
confident first</small>{% endif %}</p>
<ul class="pictures">
{% for thumbnail, probability in cell.pictures %}
<li>{% call picture(thumbnail, thumbnail.name) %}{{ write_value("accuracy", probability) }}{% endcall %}</li>
{% endfor %}
</ul>
</div>
{% endfor %}
"""


def confusion(context: Context) -> Section:
    """The matrix as a table up to TABLE_CLASSES classes, else as a picture with its worst pairs."""
    counts = np.array(context.details["confusion"], np.int64)
    classes = context.details["classes"]
    cells = _worst_pairs(counts)
    as_table = len(classes) <= TABLE_CLASSES
    if as_table:
        wanted = cells + [(index, index) for index in range(len(classes)) if counts[index, index]]
    else:
        wanted = cells = cells[:PAIRS]
    pictures = _pictures(context, wanted)
    places = list(np.ndindex(*counts.shape)) if as_table else cells
    made = [_cell((row, column), counts, classes, pictures) for row, column in places]
    html = render(
        CONFUSION,
        words=_words(counts, classes),
        classes=classes,
        matrix=[made[start : start + len(classes)] for start in range(0, len(made), len(classes))]
        if as_table
        else None,
        map=None if as_table else matrix_picture(counts),
        cells=made,
    )
    return Section("Confusion matrix", html)


def matrix_picture(counts: NDArray[np.int64]) -> str:
    """Counts int64 [K, K] -> the address of a PNG, transparent where a cell is empty, for light and dark."""
    share = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    pixels = np.zeros((*counts.shape, 4), np.uint8)
    pixels[...] = (213, 94, 0, 0)
    np.einsum("iij->ij", pixels)[:, :3] = (0, 114, 178)
    pixels[..., 3] = np.where(counts > 0, 255 * (0.2 + 0.8 * np.sqrt(share)), 0).round().astype(np.uint8)
    file = BytesIO()
    side = len(counts) * max(1, 1000 // len(counts))
    Image.fromarray(pixels).resize((side, side), Image.Resampling.NEAREST).save(file, "PNG", optimize=True)
    return png_address(file.getvalue())


def _worst_pairs(counts: NDArray[np.int64]) -> list[tuple[int, int]]:
    """The cells beside the diagonal that are not empty, most images first."""
    rows, columns = np.nonzero(counts * ~np.eye(len(counts), dtype=bool))
    order = np.argsort(-counts[rows, columns], kind="stable")
    return [(int(rows[index]), int(columns[index])) for index in order]


def _pictures(context: Context, cells: list[tuple[int, int]]) -> dict[tuple[int, int], list[tuple[Any, float]]]:
    """Up to IN_CELL thumbnails a cell and IN_ALL in all: one for each cell in turn, then a second, and so on."""
    members = {place: _members(context.answers, place)[:IN_CELL] for place in cells}
    turns = [(turn, place) for turn in range(IN_CELL) for place in cells if turn < len(members[place])]
    shown: dict[tuple[int, int], list[tuple[Any, float]]] = {place: [] for place in cells}
    for turn, place in turns[:IN_ALL]:
        index = members[place][turn]
        thumbnail = context.thumbnails[int(context.answers.sample[index])]
        shown[place].append((thumbnail, float(context.answers.probability[index])))
    return shown


def _members(answers: Answers, place: tuple[int, int]) -> NDArray[np.int64]:
    """The answers in a cell: of wrong ones the surest first, of right ones the least sure."""
    inside = np.flatnonzero((answers.truth == place[0]) & (answers.predicted == place[1]))
    sign = 1 if place[0] == place[1] else -1
    return inside[np.argsort(sign * answers.probability[inside], kind="stable")]


def _cell(
    place: tuple[int, int],
    counts: NDArray[np.int64],
    classes: list[str],
    pictures: dict[tuple[int, int], list[tuple[Any, float]]],
) -> dict[str, Any]:
    row, column = place
    count, support = int(counts[place]), int(counts[row].sum())
    return {
        "id": f"cell-{row}-{column}",
        "truth": classes[row],
        "predicted": classes[column],
        "count": count,
        "support": support,
        "share": round((count / support) ** 0.5, 3) if support else 0,
        "kind": ("right" if row == column else "wrong") if count else "empty",
        "pictures": pictures.get(place, []),
    }


def _words(counts: NDArray[np.int64], classes: list[str]) -> str:
    pairs = _worst_pairs(counts)
    if not pairs:
        return "No image was taken for another class."
    row, column = pairs[0]
    part = f"{counts[row, column]} of {counts[row].sum()} images of {classes[row]}"
    return f"The most frequent confusion: {part} were taken for {classes[column]}."
