"""What the run makes of images of no class that it knows: classes that were held out, one after another."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tenfold.report.context import Section, render

if TYPE_CHECKING:
    from tenfold.run import Run

UNKNOWN = """
{% from "pieces.html.j2" import scroll, estimate %}
<p>Classes were held out, one or a few at a time, and the head was fitted without them, so that their images were of \
none of the classes that it knew. For a share of these that is given a class all the same, the table says how many \
images of known classes are still named rightly.</p>
{% call scroll("Images of unknown classes") %}
<table class="figures">
<thead><tr><th scope="col">Threshold for a share of</th>\
<th scope="col" class="number">Unknown ones given a class (FAR)</th>\
<th scope="col" class="number">Known ones named rightly (DIR)</th></tr></thead>
<tbody>
{% for rate, figures in rates.items() %}
<tr><th scope="row">at most {{ "%g" | format(100 * rate) }}&nbsp;%</th>\
<td class="number">{{ estimate("far", figures.far) }}</td>\
<td class="number">{{ estimate("dir", figures.dir) }}</td></tr>
{% endfor %}
</tbody>
</table>
{% endcall %}
<p class="note">Of the training images alone: {{ "{:,}".format(images) }} images of {{ classes }} unknown classes, one \
of each group, and {{ "{:,}".format(known) }} of known ones, each answered by a head that was fitted without it. \
{% if kept %}All of that is of the frozen network in <code>{{ kept }}</code>, which gives the score, while the \
fine-tuned one names the class. {% endif %}\
Intervals are by class, of the threshold as it stands, which keeps its share on these very images. \
<code>tenfold predict --false-accept</code> takes one that keeps a share at a level of 95&nbsp;%, by class; the least \
that these images support is {{ "%.1f" | format(100 * supported) }}&nbsp;%. Classes that were held out are of the same \
data set as all others: a photo of something quite different may be easier to tell from them, or harder.</p>
"""


def unknown(run: Run) -> Section | None:
    """The section on unknown classes; None where none were held out."""
    teller = run.teller
    held = teller.unknown
    if held is None:
        return None
    counts = {"images": len(held.strangers), "known": int(held.known.sum()), "classes": held.classes}
    kept = "" if teller is run else teller.path.name
    html = render(UNKNOWN, rates=held.at_rates(), supported=held.supported(), kept=kept, **counts)
    return Section("Images of no class", html)
