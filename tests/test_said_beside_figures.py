"""What stands beside a figure: its level in percent, and that a machine was busy when its times were taken."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from tenfold.estimate import level_of_each, level_percent
from tenfold.report.figures import PERCENT, write_level
from tenfold.report.speed import speed


@pytest.mark.parametrize(
    ("level", "words"),
    [(0.95, "95"), (0.9, "90"), (0.5, "50"), (0.975, "97.5"), (0.98, "98"), (0.999, "99.9"), (0.9999, "99.99")],
)
def test_a_level_is_as_short_as_it_can_be(level: float, words: str) -> None:
    assert level_percent(level) == words
    assert write_level(level) == words + PERCENT


def test_levels_of_several_looks_have_one_decimal_and_are_never_100() -> None:
    assert [level_percent(level_of_each(0.95, looks)) for looks in (1, 2, 3, 7)] == ["95", "97.5", "98.3", "99.2"]
    for looks in (100, 999, 10_000, 10**6):
        assert float(level_percent(level_of_each(0.95, looks))) < 100


def test_that_the_machine_was_busy_stands_below_the_times() -> None:
    seconds = {"median": 0.5, "least": 0.4, "most": 0.6}
    found = {"stages": {"read": seconds}, "total": seconds, "images": 4, "device": "cpu", "threads": 2}
    found["proposals_from"] = ""
    run = SimpleNamespace(task=SimpleNamespace(name="classification"))
    pages = []
    for more in ({}, {"disturbed": ""}, {"disturbed": "The machine was busy."}):  # a run may be of an older version
        context: Any = SimpleNamespace(details={"speed": found | more}, run=run)
        section = speed(context)
        assert section is not None
        pages.append(section.html)
    assert pages[0] == pages[1]
    assert "The machine was busy." not in pages[1]
    assert pages[2].rstrip().endswith("of PyTorch. The machine was busy.</p>")
