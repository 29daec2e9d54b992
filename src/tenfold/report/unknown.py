"""What the run makes of images of no class that it knows: classes that were held out, one after another."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from tenfold.metrics.open_set import MOST_PEOPLE
from tenfold.metrics.unknown import RATES
from tenfold.report.context import Section, render
from tenfold.report.open_set import HEADING, TERMS, threshold_words, write_rate

if TYPE_CHECKING:
    from tenfold.metrics.unknown import HeldOut
    from tenfold.run import Run

UNKNOWN = """
{% from "pieces.html.j2" import scroll, estimate %}
<p>A classifier names one of its classes whatever it is shown. To say "none of these" it needs a <b>threshold</b>: \
each image has a score, the higher the more it looks like one of the classes, and an image whose score stays below \
the threshold is refused, which means that it gets no class. A higher threshold lets fewer unknown images through and \
refuses more known ones; the table says how many.</p>
{% call scroll("Images of unknown classes") %}
<table class="figures">
{{ heading }}
<tbody>
{% for row in rows %}
<tr><th scope="row">{{ words(row) }}</th><td class="number">{{ "%.3f" | format(row.threshold) }}</td>\
{% for name in ("far", "dir", "refused") %}<td class="number">{{ estimate(name, row[name]) }}</td>{% endfor %}</tr>
{% endfor %}
</tbody>
</table>
{% endcall %}
<p>{{ terms }}</p>
<p class="note">Measured on the training images alone, by holding classes out: one or a few at a time were left out \
and the classifier fitted without them, which gave {{ "{:,}".format(images) }} images of {{ classes }} unknown \
classes (of each group one). The {{ "{:,}".format(known) }} images of known classes were answered by \
classifiers that had not seen them. {% if kept %}All of that is of the frozen network in <code>{{ kept }}</code>, \
which gives the score, while the fine-tuned one names the class. {% endif %}"At most a share of held-out images" is \
what was seen on these very images, and no promise for others. <code>tenfold predict --false-accept</code> takes a \
threshold that keeps the share, at a level of 95&nbsp;%, for new images of unknown classes like these; the lowest \
share that so few classes support is {{ "%g" | format(supported) }}&nbsp;%{{ lacking }}. Intervals: {{ far.method }} \
for unknown images and {{ dir.method }} for known ones, at {{ far.level | level }}. The classes held out are of the \
same data set as all others: a photo of something quite different may be easier to tell from them, or harder.</p>
"""


def unknown(run: Run) -> Section | None:
    """The section on unknown classes; None where none were held out."""
    teller = run.teller
    held = teller.unknown
    if held is None:
        return None
    rows = held.rows()
    html = render(
        UNKNOWN,
        rows=rows,
        words=threshold_words,
        heading=HEADING,
        terms=TERMS,
        far=rows[0]["far"],
        dir=rows[0]["dir"],
        images=len(held.strangers),
        known=int(held.known.sum()),
        classes=held.classes,
        supported=math.ceil(1000 * held.supported()) / 10,
        lacking=_lacking(held),
        kept="" if teller is run else teller.path.name,
    )
    return Section("Images of no class", html)


def _lacking(held: HeldOut) -> str:
    """How many classes the shares would need that are not supported, the rest of a sentence; empty where all are."""
    needed = [(write_rate(rate), held.needed(rate)) for rate in RATES if rate < held.supported()]
    if not needed:
        return ""
    words = " and ".join(
        f"{rate} needs {'about' if count <= MOST_PEOPLE else 'more than'} {min(count, MOST_PEOPLE):,} classes"
        for rate, count in needed
    )
    return f" (of as many images each, {words})"
