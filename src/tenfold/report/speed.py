"""How long a prediction takes, stage by stage."""

from __future__ import annotations

from tenfold.report.context import Context, Section, render

WORDS = {
    "read": ("Reading", "from the file to the network's input"),
    "proposals": ("Proposals", "regions that are found before the network looks"),
    "network": ("Network", "all of its layers"),
    "answer": ("Answer", "what is made of the network's output"),
}
BOXES = ("Boxes", "scores and boxes, less those that overlap a better one")
SPEED = """
{% from "pieces.html.j2" import scroll %}
{% call scroll("Seconds an image, stage by stage") %}
<table class="figures">
<thead><tr><th scope="col">Stage</th><th scope="col">What it is</th><th scope="col" class="number">Seconds\
</th></tr></thead>
<tbody>
{% for name, what, found in rows %}
<tr><th scope="row">{{ name }}</th><td>{{ what }}</td><td class="number">{{ "%.3g" | format(found.median) }}\
<span class="interval">{{ "%.3g" | format(found.least) }} to {{ "%.3g" | format(found.most) }}</span></td></tr>
{% endfor %}
</tbody>
</table>
{% endcall %}
<p class="note">Medians over {{ speed.images }} images, one after another, after one to warm up; below each stand the \
fastest and the slowest. Measured on {{ speed.device }}, with {{ speed.threads }} thread{{ "s" if speed.threads > 1 }} \
of PyTorch.{% if speed.proposals_from %} Proposals were looked up in {{ speed.proposals_from }}: finding them is not \
in these times.{% endif %}{% if speed.get("disturbed") %} {{ speed.disturbed }}{% endif %}</p>
"""


def stage_words(stage: str, task: str) -> tuple[str, str]:
    """What a stage is called (see tenfold.evaluate.speed), and what it is."""
    return BOXES if (stage, task) == ("answer", "detection") else WORDS[stage]


def speed(context: Context) -> Section | None:
    """The table of stages; None where none was measured."""
    found = context.details.get("speed")
    if found is None:
        return None
    rows = [(*stage_words(stage, context.run.task.name), seconds) for stage, seconds in found["stages"].items()]
    rows.append(("All of it", "how long one answer takes", found["total"]))
    return Section("Speed", render(SPEED, rows=rows, speed=found))
