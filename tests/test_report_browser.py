"""The report in a real browser: it is quiet, calls nobody, fits a phone, the dark and paper, and its cells open."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tenfold.commands.doctor import find_browser
from tenfold.report import write_report
from tests.report_run import add_what_training_adds, make_run

sync_api = pytest.importorskip("playwright.sync_api", reason="needs playwright (uv sync)")
CHROMIUM = find_browser()
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs a Chromium; tenfold doctor says how to get one")

OPTIONS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
CLASSES = ("roses", "Hoa hồng Đà Lạt rất dài", "<b>tulips</b>", "daisy")
OVERFLOW = "document.scrollingElement.scrollWidth - window.innerWidth"
CELL_COLORS = """cells => cells.map(cell => [
    getComputedStyle(cell).backgroundColor, getComputedStyle(cell.firstElementChild).color
])"""
PARTS = ["h2", "h3", "p", "thead th", "tbody th", "td:not(:has(button))", ".interval", ".note", "code", "summary"]
PART_COLORS = """(sections, parts) => sections.flatMap(section => parts.flatMap(part => {
    const found = section.querySelector(part);
    if (!found) return [];
    const {color, backgroundColor} = getComputedStyle(found);
    return [[section.innerText, part, color, backgroundColor]];
}))"""
"""[text of the section, part, its color, its background] of the first of each part in each section."""


@pytest.fixture(scope="module", params=["from-scratch", "all-sections"])
def report(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = make_run(tmp_path_factory.mktemp(request.param), CLASSES, each=12, look=2)
    if request.param == "all-sections":
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("TENFOLD_CACHE", str(run.path.parent / "cache"))
            add_what_training_adds(run)
    return write_report(run)


def has_all(report: Path) -> bool:
    return "all-sections" in str(report)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=OPTIONS)
        yield chromium
        chromium.close()


class Tab:
    """A page of the browser that remembers what it said and asked for."""

    def __init__(self, browser: Any, report: Path, **options: Any) -> None:
        self.page = browser.new_page(**options)
        self.said: list[str] = []
        self.asked: list[str] = []
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.goto(report.as_uri())  # until all that it names is loaded


@pytest.fixture
def open_tab(browser: Any, report: Path) -> Iterator[Any]:
    tabs: list[Tab] = []

    def open_one(width: int = 1200, **options: Any) -> Tab:
        tabs.append(Tab(browser, report, viewport={"width": width, "height": 800}, **options))
        return tabs[-1]

    yield open_one
    for tab in tabs:
        tab.page.close()


def test_it_is_quiet_and_asks_for_nothing_but_itself(open_tab, report):
    tab = open_tab()
    tab.page.wait_for_load_state("networkidle")
    for image in tab.page.locator("img").all():
        assert image.evaluate("image => image.complete && image.naturalWidth > 0")
    tab.page.locator("details").first.click()
    assert tab.said == []
    assert [url for url in tab.asked if not url.startswith("data:")] == [report.as_uri()]


def test_its_parts_are_there_for_all_who_read(open_tab, report):
    page = open_tab().page
    seen = ", of which 1 has a copy in the training or validation part," if has_all(report) else " it had never seen,"
    assert page.get_by_role("heading", level=1).inner_text().startswith(f"On 54 test images{seen}")
    titles = page.get_by_role("heading", level=2).all_inner_texts()
    chosen = ["How the model was chosen", "Images of no class"] if has_all(report) else []
    besides = ["Speed", "Check of the images"] if has_all(report) else []
    assert titles == [
        "Figures",
        *chosen,
        "Training",
        "What the model was fed",
        "Confusion matrix",
        "Class by class",
        "ROC and precision-recall curves",
        "How sure, and how often right",
        "The most confident mistakes",
        *besides,
        "Split",
        "Settings",
        "Environment",
        "Repeat it",
    ]
    assert page.locator("svg.plot[role=img][aria-label]").count() == 7
    assert page.locator("table.confusion tbody tr").count() == len(CLASSES)
    assert page.locator("img:not([alt])").count() == 0
    assert page.get_by_role("link", name="Class by class").get_attribute("href") == "#per_class"
    assert page.get_by_text("tenfold evaluate").is_visible()


def test_nothing_is_wider_than_a_phone(open_tab):
    page = open_tab(width=320).page
    assert page.evaluate(OVERFLOW) <= 0
    page.locator("td.wrong button, td.right button").last.click()
    page.locator("details").evaluate_all("all => all.forEach(one => one.open = true)")
    assert page.evaluate(OVERFLOW) <= 0
    wide = page.get_by_role("region", name="Figures of each class")
    assert wide.evaluate("region => region.scrollWidth > region.clientWidth")
    assert page.locator("svg.plot").first.bounding_box()["width"] <= 320


def test_dark_and_light_are_both_legible(open_tab):
    shades = {}
    for scheme in ("light", "dark"):
        page = open_tab(color_scheme=scheme).page
        shades[scheme] = background = color(page, "body", "backgroundColor")
        for part in ("body", ".note", ".quiet", "nav a", "thead th", ".interval", ".plot text"):
            name = "fill" if part == ".plot text" else "color"
            assert contrast(color(page, part, name), background) >= 4.5, (scheme, part)
        cells = page.locator("table.confusion tbody td").evaluate_all(CELL_COLORS)
        assert len(cells) >= len(CLASSES) ** 2
        for own, text in cells:
            assert contrast(numbers(text)[:3], over(own, background)) >= 4.5, scheme
    assert luminance(shades["light"]) > 0.8
    assert luminance(shades["dark"]) < 0.05


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_section_is_legible(open_tab, report, scheme):
    page = open_tab(color_scheme=scheme).page
    background = color(page, "body", "backgroundColor")
    found = page.locator("section").evaluate_all(PART_COLORS, PARTS)
    seen = {part for _, part, _, _ in found}
    assert seen == set(PARTS) if has_all(report) else {"h2", "p", "code"} <= seen
    for section, part, text, own in found:
        assert contrast(numbers(text)[:3], over(own, background)) >= 4.5, (part, section)


def color(page: Any, part: str, name: str) -> list[float]:
    return numbers(page.locator(part).first.evaluate(f"part => getComputedStyle(part).{name}"))[:3]


def numbers(text: str) -> list[float]:
    return [float(number) for number in re.findall(r"[\d.]+", text)]


def over(text: str, background: list[float]) -> list[float]:
    """The color that a half-transparent one gives on a background."""
    *channels, alpha = [*numbers(text), 1.0][:4]
    return [alpha * above + (1 - alpha) * below for above, below in zip(channels, background, strict=True)]


def luminance(rgb: list[float]) -> float:
    """Relative luminance of WCAG 2: https://www.w3.org/TR/WCAG22/#dfn-relative-luminance"""
    linear = [
        value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in (c / 255 for c in rgb)
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: list[float], other: list[float]) -> float:
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_a_cell_opens_its_images_and_closes_again(open_tab):
    page = open_tab().page
    button = page.locator("table.confusion td.wrong button").first
    strip = page.locator(f"#{button.get_attribute('popovertarget')}")
    assert not strip.is_visible()
    button.click()
    assert strip.is_visible()
    assert strip.locator("img").count() == int(button.inner_text())
    assert strip.locator("img").first.is_visible()
    strip.get_by_role("button", name="Close").click()
    assert not strip.is_visible()
    button.focus()
    page.keyboard.press("Enter")
    assert strip.is_visible()
    page.keyboard.press("Escape")
    assert not strip.is_visible()


def test_it_prints(open_tab):
    page = open_tab(color_scheme="dark").page
    page.emulate_media(media="print", color_scheme="dark")
    assert luminance(color(page, "body", "backgroundColor")) > 0.8
    assert not page.locator("nav").is_visible()
    assert page.get_by_text("weight_decay").is_visible()
    paper = page.pdf(format="A4")
    assert paper.startswith(b"%PDF-")
    assert 2 <= len(re.findall(rb"/Type\s*/Page\b", paper)) <= 12
