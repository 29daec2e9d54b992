"""The Python in docs/ runs, its policies can be read, and its links lead somewhere."""

import re
from pathlib import Path

import pytest

from tenfold.augment.policy import Policy

DOCS = Path(__file__).parents[1] / "docs"
PAGES = sorted(page.name for page in DOCS.glob("*.md"))


def blocks(language: str) -> list[tuple[str, str]]:
    """Each block of the pages: its page and its text."""
    pattern = re.compile(rf"^```{language}\n(.*?)^```", re.MULTILINE | re.DOTALL)
    return [(page, text) for page in PAGES for text in pattern.findall((DOCS / page).read_text(encoding="utf-8"))]


@pytest.mark.parametrize(("page", "text"), blocks("python"), ids=[page for page, _ in blocks("python")])
def test_python_runs(page, text, capsys):
    exec(compile(text, page, "exec"), {"__name__": "__main__"})
    assert ("print(" in text) == bool(capsys.readouterr().out)


@pytest.mark.parametrize(("page", "text"), blocks("toml"), ids=[page for page, _ in blocks("toml")])
def test_policies_can_be_read(page, text):
    assert Policy.from_toml(text).ops


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#:]+)\)", (DOCS / page).read_text(encoding="utf-8")):
        assert (DOCS / target).exists(), target
