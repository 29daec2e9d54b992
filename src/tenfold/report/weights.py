"""The pretrained weights that a run's network started from: where they come from, and what may be done with them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tenfold.report.context import Section, render

if TYPE_CHECKING:
    from tenfold.run import Run

WEIGHTS = """
<dl>
<dt>Origin</dt><dd>{{ origin or "not stated" }}</dd>
<dt>License</dt><dd>{{ licence or "not stated" }}</dd>
{% if note %}
<dt>Note</dt><dd><b>{{ note[0] | upper }}{{ note[1:] }}.</b></dd>
{% endif %}
<dt>sha256</dt><dd><code>{{ sha256 }}</code></dd>
</dl>
<p class="note">The run holds these weights, or what training made of them, so that their license counts for the model \
too.</p>
"""


def weights(run: Run) -> Section | None:
    """The section on pretrained weights; None for a network that was trained from scratch."""
    found = run.card.get("weights", {})
    if "sha256" not in found:
        return None
    values = {name: found.get(name) or "" for name in ("origin", "licence", "note", "sha256")}
    return Section("Whose weights it started from", render(WEIGHTS, **values))
