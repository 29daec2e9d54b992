"""What a check found of the images before training, as the check's own page says and shows it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tenfold.check.findings import Findings, Marked
from tenfold.report.check_page import headline, look_at, shown_sets
from tenfold.report.context import Section, render
from tenfold.report.thumbnails import Thumbnail, Thumbnails

if TYPE_CHECKING:
    from tenfold.run import Run

SHOWN = 6
"""Sets of images that the report shows of one finding."""

FINDINGS = """
{% from "pieces.html.j2" import evidence, legend, sets %}
<p>{{ headline }}</p>
{% for finding, shown in found %}
<h3>{{ finding.title }} <span class="quiet">{{ "needs a decision" if finding.needs_decision else "a note" }}</span></h3>
{{ evidence(finding) }}
{% if shown %}
<details><summary>{{ "The images" if finding.sets | length <= limit else "The first images" }}</summary>
{{ sets(shown) }}
</details>
{% endif %}
{% endfor %}
{{ legend(found) }}
{% if found %}
<p class="note">As it was before training. <code>tenfold check DATA --page check.html</code> shows all of it.</p>
{% endif %}
"""


def findings(run: Run, thumbnails: Thumbnails) -> Section | None:
    """The section on the check of the run's images; None where there was none. `thumbnails` are of the run's table."""
    if not run.findings:
        return None
    found = Findings.from_json(run.findings)
    place = {digest: row for row, digest in enumerate(run.table.samples["hash"])}

    look = look_at(run.table, thumbnails)

    def picture(row: int, marked: Sequence[Marked], *, upright: bool) -> Thumbnail:
        """An image by its row in the table that was checked; some of that may have been left out of the run."""
        sample = found.samples[row]
        if sample.hash not in place:
            return Thumbnail(sample.name, why="is not in the run")
        return look(place[sample.hash], marked, upright=upright)

    shown = [(finding, shown_sets(finding, found, picture, None, SHOWN)) for finding in found.found]
    html = render(FINDINGS, headline=headline(found), found=shown, limit=SHOWN)
    return Section("Check of the images", html)
