"""The sheet and the listing of tenfold augment in words: chains of a blend, colors of boxes, columns left behind."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tenfold.__main__ import main
from tenfold.augment.feed import PolicyInput
from tenfold.augment.policy import Policy
from tenfold.augment.save import Saving, save_augmented
from tenfold.augment.tree import Blend, Choose, op
from tenfold.augment.words import Blended, line_of, lines_of, tell
from tenfold.draws import draw_keys, hash_numbers
from tenfold.images.content import hashed
from tenfold.images.readers import read_table
from tenfold.report.drawn import COLORS
from tenfold.report.policy_sheet import draw_sheet, legend, sheet_page, write_sheet
from tests.test_augment_command import MADE, flowers, listed, own_cache, table_of  # noqa: F401 - fixtures
from tests.test_report import Page

NEGATIVES = Policy("negatives", (op("flip", "horizontal"), Blend(3, Choose(0, 3, (op("invert"),)))))
"""Each chain is up to three negatives: it shows the image or its negative, and the pixels tell which and how much."""


def share_of_negative(told: list[Any]) -> float:
    """Of the image's negative, in what the words say was blended."""
    [blend] = [one for one in told if isinstance(one, Blended)]
    assert sum(blend.weights) == pytest.approx(1)
    return sum(weight for weight, chain in zip(blend.weights[1:], blend.copies, strict=True) if len(chain) % 2)


def test_the_chains_that_are_told_are_those_that_the_pixels_show() -> None:
    images = np.full((40, 6, 6, 1), 40, np.uint8)
    made = NEGATIVES.batch(images, draw_keys(3, 0, np.arange(40, dtype=np.uint64)))
    depths = set()
    for row in range(40):
        told = tell(made.drawn, row)
        assert told[0] == ("flip", made.drawn.trace()[row][0][1])
        share = share_of_negative(told)
        assert np.abs(made.images[row].astype(float) - (40 * (1 - share) + 215 * share)).max() <= 2
        blend = told[1]
        assert isinstance(blend, Blended)
        depths |= {len(chain) for chain in blend.copies}
    assert depths == {0, 1, 2, 3}


def test_an_image_that_is_not_blended_has_no_chain_and_what_follows_a_blend_follows_it() -> None:
    blend = Blend(2, Choose(1, 2, (op("invert"), op("rotate", 9))), probability=0.5)
    drawn = Policy("p", (blend, op("brightness", 0.2))).draw(draw_keys(0, 0, np.arange(50, dtype=np.uint64)), 8, 8)
    for row, trace in enumerate(drawn.trace()):
        told = tell(drawn, row)
        assert told[-1] == trace[-1]
        assert told[-1][0] == "brightness"
        blended = [one for one in told if isinstance(one, Blended)]
        assert [done for one in blended for chain in one.copies for done in chain] == trace[:-1]
        assert len(told) == 1 + len(blended)
        assert bool(blended) == (len(trace) > 1)
    assert {len(tell(drawn, row)) for row in range(50)} == {1, 2}


def test_chains_are_written_with_their_weights() -> None:
    told = [("flip", "horizontal"), Blended([0.5, 0.2, 0.3], [[("contrast_about_mean", "0.1"), ("equalize", "")], []])]
    assert lines_of(told) == [
        "flip horizontal",
        "the image itself: 50 %",
        "chain 1: 20 %",
        "· contrast about mean 0.1",
        "· equalize",
        "chain 2: 30 %",
        "· unchanged",
    ]
    assert line_of(told) == (
        "flip horizontal; blend of the image itself (50 %), chain 1 (20 %: contrast about mean 0.1; equalize), "
        "chain 2 (30 %: unchanged)"
    )


def test_a_listing_says_the_chains_of_each_copy(flowers: Path, tmp_path: Path) -> None:  # noqa: F811
    table = table_of(flowers)
    rows = listed(save_augmented(table, NEGATIVES, MADE, tmp_path / "out", Saving(include_originals=False)).listing)
    assert len(rows) == 24
    for row in rows:
        chains = re.findall(r"chain \d \((\d+) %: ([^)]*)\)", row["ops"])
        assert len(chains) == 3
        share = sum(int(weight) / 100 for weight, ops in chains if ops.count("invert") % 2)
        image = np.asarray(Image.open(row["source"])).astype(float)[:, ::-1]
        found = np.asarray(Image.open(tmp_path / "out" / row["path"])).astype(float)
        assert np.abs(found - (image * (1 - share) + (255 - image) * share)).max() < 5  # of weights in whole percent


def test_the_sheet_names_the_policy_and_shows_the_chains(flowers: Path) -> None:  # noqa: F811
    whole = replace(MADE, canvas=24)
    keys = draw_keys(0, 2, hash_numbers(table_of(flowers).samples["hash"].tolist()))
    drawn = NEGATIVES.draw(keys, 24, 24)
    wanted = [lines_of(tell(drawn, row)) for row in range(len(keys))]
    for strip in draw_sheet(
        table_of(flowers), PolicyInput(NEGATIVES, whole, lambda _: 24, ("label",)), images=2, draws=3
    ):
        assert strip.draws[2].words in wanted
    strips = draw_sheet(table_of(flowers), PolicyInput(NEGATIVES, MADE, lambda _: 24, ("label",)), images=2, draws=3)
    for strip in strips:  # of the canvas, whose centre is taken first: that is no op of the policy
        assert [line.split(":")[0] for line in strip.draws[2].words if line[0] != "·"] == [
            "flip horizontal",
            "the image itself",
            "chain 1",
            "chain 2",
            "chain 3",
        ]
    page = Page(sheet_page("flowers", NEGATIVES, strips, []))
    assert "What the policy negatives makes of each image" in page.text
    assert "chain 3: " in page.text
    assert "Boxes:" not in page.text
    assert legend(strips) == []


@pytest.fixture
def boxed(flowers: Path) -> Path:  # noqa: F811
    """Boxes of eight classes in four images, black; only the second, the third and the last class are in those."""
    names = [f"k{number}" for number in range(9)]
    lines = [f"{flowers / 'daisy' / '7.png'},1,1,9,9,{name}" for name in names]
    for number, name in enumerate(("k1", "k2", "k1", "k8")):
        file = flowers / "daisy" / f"{number}.png"
        Image.fromarray(np.zeros((40, 40, 3), np.uint8)).save(file)
        lines.append(f"{file},8,8,30,30,{name}")
    path = flowers.parent / "boxes.csv"
    path.write_text("\n".join(["path,x1,y1,x2,y2,label", *lines]), "utf-8")
    return path


def test_the_legend_of_boxes_is_in_the_colors_that_they_have(boxed: Path, tmp_path: Path) -> None:
    table = hashed(read_table(boxed))
    assert table.boxes is not None
    some = table.take(np.flatnonzero(~table.samples["source"].str.endswith("7.png")))
    feed = PolicyInput(Policy("none"), MADE, lambda _: MADE.size, (), boxes=("boxes",))
    strips = draw_sheet(some, feed, images=4, draws=1)
    assert legend(strips) == [(COLORS[1], "k1, k8"), (COLORS[2], "k2")]  # seven colors for nine classes
    shown = {name: color for color, names in legend(strips) for name in names.split(", ")}
    for strip in strips:
        [(_, name)] = strip.objects
        seen = {tuple(pixel) for pixel in strip.plain.reshape(-1, 3).tolist()} - {(0, 0, 0)}
        assert seen == {shown[name]}
    html = sheet_page("cells", Policy("none"), strips, [])
    assert re.search(rf"rgb{re.escape(str(COLORS[1]))}[^>]*></span>\s*k1, k8", html)
    write_sheet(tmp_path / "s.png", "cells", Policy("none"), strips, [])
    pixels = np.asarray(Image.open(tmp_path / "s.png").convert("RGB"))
    colored = (pixels.astype(int).max(2) - pixels.min(2) > 60).any(1)
    pictures = (pixels.max(2) < 30).mean(1) > 0.3  # rows where there is a black image
    first = int(np.argmax(pictures))
    assert colored[: first - 5].any()  # above them
    assert {COLORS[1], COLORS[2]} <= {tuple(pixel) for pixel in pixels[: first - 5].reshape(-1, 3).tolist()}


def test_columns_that_a_saved_listing_does_not_carry_over_are_named(
    flowers: Path,  # noqa: F811
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    files = sorted(flowers.rglob("*.png"))
    rows = [f"{file},{file.parent.name},g{place},,nikon,0" for place, file in enumerate(files)]
    path = tmp_path / "mine.csv"
    path.write_text("\n".join(["filename,label,group,reason,camera,ignore", *rows]), "utf-8")
    typed = ["--policy", "light", "--save"]
    assert main(["augment", str(path), *typed, str(tmp_path / "one")]) == 0
    listing = tmp_path / "one" / "augmented.csv"
    assert f"{listing} does not carry over these columns of {path}: camera, ignore." in capsys.readouterr().err
    assert main(["augment", str(listing), *typed, str(tmp_path / "two")]) == 0
    assert f"does not carry over these columns of {listing}: ops, source." in capsys.readouterr().err
    assert main(["augment", str(flowers), *typed, str(tmp_path / "three")]) == 0
    assert "carry over" not in capsys.readouterr().err
