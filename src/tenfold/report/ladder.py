"""The ladder that a run's head was chosen on: every rung, which was taken and why."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tenfold.estimate import from_json
from tenfold.report.context import Section, render

if TYPE_CHECKING:
    from tenfold.run import Run

LADDER = """
{% from "pieces.html.j2" import scroll, estimate %}
<p>Chosen: {{ reason }}</p>
{% call scroll("The ladder") %}
<table class="figures">
<thead><tr><th scope="col">Rung</th><th scope="col" class="number">Accuracy</th>\
<th scope="col" class="number">Log loss</th><th scope="col" class="number">Seconds</th></tr></thead>
<tbody>
{% for rung in rungs %}
<tr><th scope="row">{{ rung.words }}{% if loop.index0 == chosen %} (chosen){% endif %}</th>\
<td class="number">{{ estimate("accuracy", rung.accuracy) }}</td>\
<td class="number">{{ estimate("log_loss", rung.log_loss) }}</td>\
<td class="number">{{ "%.1f" | format(rung.seconds) }}</td></tr>
{% endfor %}
<tr><th scope="row">The whole procedure, choice included</th>\
<td class="number">{{ estimate("accuracy", accuracy) }}</td>\
<td class="number">{{ estimate("log_loss", log_loss) }}</td>\
<td class="number">{{ "%.1f" | format(seconds) }}</td></tr>
</tbody>
</table>
{% endcall %}
{% for sentence in left_out %}
<p>Not tried: {{ sentence }}</p>
{% endfor %}
<p class="note">Of the training images alone, each answered by heads that were fitted without it: {{ folds }} folds\
{% if repeats > 1 %}, dealt {{ repeats }} times{% endif %}. A rung's figures allow for the choice of its strength; the \
choice compares each at its best strength, so it may call another the lowest. The last line allows for the choice \
among all of them, as the bootstrap bias corrected cross-validation of Tsamardinos, Greasidou and Borboudakis (2018) \
does.</p>
"""


def ladder(run: Run) -> Section | None:
    """The section on the run's ladder; None where none was climbed."""
    if not run.ladder:
        return None
    return Section("How the head was chosen", render(LADDER, **from_json(run.ladder)))
