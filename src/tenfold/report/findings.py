"""What a check found of the images before training, as the check's own page says and shows it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tenfold.check.findings import Findings
from tenfold.report.check_page import headline, shown_sets
from tenfold.report.context import Section, render
from tenfold.report.thumbnails import Thumbnail, Thumbnails

if TYPE_CHECKING:
    from tenfold.run import Run

SHOWN = 6
"""Sets of images that the report shows of one finding."""

FINDINGS = """
{% from "pieces.html.j2" import evidence, sets %}
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

    def picture(row: int) -> Thumbnail:
        """An image by its row in the table that was checked; some of that may have been left out of the run."""
        sample = found.samples[row]
        return (
            thumbnails[place[sample.hash]] if sample.hash in place else Thumbnail(sample.name, why="is not in the run")
        )

    shown = [(finding, shown_sets(finding, found, picture, None, SHOWN)) for finding in found.found]
    return Section("Check of the images", render(FINDINGS, headline=headline(found), found=shown, limit=SHOWN))
