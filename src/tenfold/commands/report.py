"""tenfold report: a run as one page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from tenfold.commands.output import next_command, show_json, waiting


def report(run: Path, /, *, show: Annotated[bool, Parameter(name="--open")] = False, json: bool = False) -> int:
    """Write a run's report: one HTML page that needs neither network nor script.

    It says in words how good the run is, and shows how training went, which
    classes are confused, the worst mistakes, the settings, and how to repeat it.
    The model card, README.md, is brought up to date beside it.

    For example:

        tenfold report runs/flowers-1
        tenfold report runs/flowers-1 --open

    Parameters
    ----------
    run
        The folder that `tenfold train` wrote.
    show
        Open the page in the browser.
    json
        Print one JSON object.
    """
    from tenfold.report import write_card, write_report
    from tenfold.run import load_run

    with waiting(f"Writing the report of {run}"):
        opened = load_run(run)
        page = write_report(opened)
        write_card(opened)
    if show:
        import webbrowser

        webbrowser.open(page.resolve().as_uri())
    if json:
        show_json({"report": page})
    else:
        print(f"Report: {page}")
        next_command("tenfold", "predict", run, "IMAGE")
    return 0
