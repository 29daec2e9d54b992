"""The ladder that a run's head was chosen on: every rung, which was taken and why; and what fine-tuning changed."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from tenfold.estimate import Estimate, from_json
from tenfold.report.context import Section, render
from tenfold.report.figures import PERCENT, figure_wording, write_interval, write_seconds, write_value

if TYPE_CHECKING:
    from tenfold.run import Run

CHOSEN_BY_VALIDATION = (
    "The validation images chose between the frozen and the fine-tuned network, so figures on them are a little too "
    "good; the test part, which chose nothing, tells how good the model is."
)

COMPARED = (
    "A rung's figures allow for the choice of its strength; the choice compares each at its best strength, so it may "
    "call another the lowest. Cheaper is a network that takes fewer multiply-adds for an image, however long the fits "
    "of heads on it took."
)
"""How the reason for a choice and the figures of the rungs go together."""

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
<p>Left out: {{ sentence }}</p>
{% endfor %}
<p class="note">Of the training images alone, each answered by heads that were fitted without it: {{ folds }} folds\
{% if repeats > 1 %}, dealt {{ repeats }} times{% endif %}. {{ compared }} The last line allows for the choice among \
all of them, as the bootstrap bias corrected cross-validation of Tsamardinos, Greasidou and Borboudakis (2018) does.</p>
{% if flattered %}
<p>{{ flattered }}</p>
{% endif %}
{% if tuned %}
<h3>What fine-tuning changed</h3>
<p>Taken: {{ tuned.reason }}</p>
{% call scroll("What fine-tuning changed") %}
<table class="figures">
<thead><tr><th scope="col">On {{ tuned.n }} validation images</th><th scope="col" class="number">Frozen</th>\
<th scope="col" class="number">Fine-tuned</th><th scope="col" class="number">Difference</th></tr></thead>
<tbody>
{% for name in ("accuracy", "log_loss") %}
<tr><th scope="row">{{ name | label }}</th><td class="number">{{ estimate(name, tuned[name].before) }}</td>\
<td class="number">{{ estimate(name, tuned[name].after) }}</td>\
<td class="number">{{ write_difference(name, tuned[name].difference) }}</td></tr>
{% endfor %}
</tbody>
</table>
{% endcall %}
<p>Images that became right: {{ tuned.became_right }}; that became wrong: {{ tuned.became_wrong }}. It took \
{{ took }}.</p>
<p class="note">{{ note }} The difference is paired, image by image; the frozen network, which is simpler, is taken \
where its log loss is no higher by more than one standard error of the difference.</p>
{% elif resume %}
<p>Fine-tuning has not ended, and this is the frozen network so far; go on with: <code>{{ resume }}</code></p>
{% endif %}
"""


def ladder(run: Run) -> Section | None:
    """The section on the run's ladder; None where none was climbed."""
    if not run.ladder:
        return None
    found = from_json(run.ladder)
    tuned = found.get("finetuning", {})
    decided = tuned if tuned.get("decided") else {}
    resume = f"tenfold train --resume {shlex.quote(str(run.path))}" if tuned and not decided else ""
    values = {"tuned": decided, "resume": resume, "note": CHOSEN_BY_VALIDATION, "write_difference": write_difference}
    values |= {"compared": COMPARED, "flattered": found.pop("flattered", "")}  # runs before 28 November 2026 have none
    took = write_seconds(decided["seconds"]) if decided else ""
    several = len({rung["settings"]["backbone"] for rung in found["rungs"]}) > 1
    title = "How the model was chosen" if decided or several else "How the head was chosen"
    return Section(title, render(LADDER, **found, **values, took=took))


def write_difference(name: str, difference: Estimate) -> str:
    """ "1.2 (-0.3 to 2.7) points" for a share, "-0.031 (-0.062 to 0.001)" for any other figure."""
    points = " points" if figure_wording(name).percent else ""
    return f"{write_value(name, difference.value).removesuffix(PERCENT)} ({write_interval(name, difference)}){points}"
