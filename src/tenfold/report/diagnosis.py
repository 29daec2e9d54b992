"""What the training said about itself: each finding with its evidence and the next step."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from tenfold.estimate import Estimate, from_json
from tenfold.report.context import Section, render
from tenfold.report.figures import PERCENT, figure_label, write_level

if TYPE_CHECKING:
    from tenfold.run import Run

DIAGNOSIS = """
{% if not alarms %}
<p>Nothing that needs a decision.</p>
{% endif %}
{% for one in found %}
<h3>{{ one.kind | capitalize }}{% if not one.alarm %} <span class="quiet">(for information)</span>{% endif %}</h3>
<p>{{ one.says }}</p>
{% if one.next %}
<p><b>Next:</b> {{ one.next }}</p>
{% endif %}
{% if one.evidence %}
<details><summary>The numbers</summary>
<dl>
{% for name, value in one.evidence %}
<dt>{{ name }}</dt><dd>{{ value }}</dd>
{% endfor %}
</dl>
</details>
{% endif %}
{% endfor %}
"""


def diagnosis(run: Run) -> Section | None:
    """The section on the diagnosis; None for a run that has none."""
    found = [
        {**one, "evidence": [(_label(name), _write(name, value)) for name, value in one["evidence"].items()]}
        for one in from_json(run.diagnosis)
    ]
    if not found:
        return None
    return Section("Diagnosis", render(DIAGNOSIS, found=found, alarms=any(one["alarm"] for one in found)))


def _label(name: str) -> str:
    """ "Validation AP50 change", "Validation accuracy: RBC_big" with the class as it is called."""
    figure, colon, label = name.partition(": ")
    return re.sub("ap50", "AP50", figure_label(figure), flags=re.IGNORECASE) + colon + label


def _write(name: str, value: Any) -> str:
    """ "84.2 % (80.9 to 87.0, 95 % Wilson over images, n = 276)"; a plain number where there is no interval."""
    scale, unit = (100, PERCENT) if "accuracy" in name.partition(": ")[0] else (1, "")
    if not isinstance(value, Estimate):
        return f"{scale * value:.3g}{unit}"
    numbers = [_digits(scale * number, scale) for number in (value.value, value.low, value.high)]
    how = f"{write_level(round(value.level, 6))} {value.method}, n = {value.n:,}"
    return f"{numbers[0]}{unit} ({numbers[1]} to {numbers[2]}; {how})"


def _digits(number: float, scale: int) -> str:
    return f"{number:.1f}" if scale == 100 else f"{number:.3g}"
