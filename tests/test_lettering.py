"""Class names in any language at drawn boxes: each letter is drawn, or a number stands in its place."""

from __future__ import annotations

import json
import shutil
import unicodedata
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
from PIL import Image, ImageFont

from tenfold.__main__ import main
from tenfold.report import lettering as module
from tenfold.report.drawn import draw_boxes
from tenfold.report.lettering import Lettering, letters_of
from tenfold.run import read_card, write_json
from tests.test_detect_commands import toy, trained, work  # noqa: F401 - fixtures

FONTS = Path(mpl.get_data_path()) / "fonts" / "ttf"
NAMES = ["con chó", "Tiếng Việt", "đường", "ỗ ợ ữ ặ", "Übergröße", "œuf", "Žlutý kůň", "кот", "γάτα", "حصان", "כלב"]
HOOKED = "\u1d81"  # a letter of phonetics that matplotlib's STIX has and its DejaVu Sans lacks
LACKING = "\u732b"  # 猫, which none of matplotlib's fonts has


def letter(font: ImageFont.FreeTypeFont | ImageFont.ImageFont, text: str) -> bytes:
    return bytes(font.getmask(text))


@pytest.mark.parametrize("name", NAMES)
def test_every_letter_has_a_form_of_its_own(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_system_fonts", lambda: pytest.fail("matplotlib's own font does"))
    lettering = Lettering([name])
    assert lettering.has(name)
    font = lettering.font(f"{name} 0.87", 30)
    missing = letter(font, "\U0010ffff")
    forms = [letter(font, one) for one in sorted(set(name) - {" "})]
    assert missing not in forms
    assert len(set(forms)) == len(forms)


def picture(word: str, lettering: Lettering | None = None) -> bytes:
    canvas, box = np.zeros((120, 300, 3), np.uint8), np.array([[10.0, 60, 200, 110]])
    return draw_boxes(canvas, box, [0], [word], lettering=lettering).tobytes()


def test_words_on_a_picture_are_those_of_the_language(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_system_fonts", list)
    words = ["ế 0.5", "ộ 0.5", "ử 0.5", "e 0.5"]
    assert len({picture(word) for word in words}) == len(words)
    for name in NAMES:
        assert picture(unicodedata.normalize("NFD", name)) == picture(name) != picture(name[:-1])
    assert picture("plain 0.5", Lettering(["plain"])) == picture("plain 0.5")


def test_a_font_of_the_computer_is_taken_where_it_has_all_letters(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    damaged, nothing = tmp_path / "Sans-Damaged.ttf", tmp_path / "LastResort.otf"
    damaged.write_bytes(b"no font")
    shutil.copy(FONTS / "STIXGeneral.ttf", nothing)
    fonts = [str(FONTS / "STIXGeneralBol.ttf"), str(FONTS / "STIXGeneral.ttf"), str(damaged), str(nothing)]
    monkeypatch.setattr(module, "_system_fonts", lambda: fonts)
    lettering = Lettering([HOOKED, LACKING, "a"])
    assert [lettering.has(name) for name in (HOOKED, LACKING, "a")] == [True, False, True]
    expected = ImageFont.truetype(FONTS / "STIXGeneral.ttf", 30)
    assert letter(lettering.font(f"{HOOKED} 0.5", 30), HOOKED) == letter(expected, HOOKED)
    assert letters_of("cat 0.5") == frozenset()
    assert letters_of(f"{HOOKED} 0.93") == letters_of(HOOKED)


def test_without_raqm_what_it_lays_out_is_numbered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_system_fonts", list)
    monkeypatch.setattr(module.features, "check", lambda name: False)
    lettering = Lettering(["حصان", "כלב", "chó", "x\u0323\u0302"])
    assert [lettering.has(name) for name in ("حصان", "כלב", "chó", "x\u0323\u0302")] == [False, False, True, False]


def test_predict_draws_names_and_numbers_what_no_font_has(
    work: Path,  # noqa: F811 - the fixture
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[list[str]] = []
    monkeypatch.setattr(module, "_system_fonts", list)
    monkeypatch.setattr(
        "tenfold.report.drawn.draw_boxes", lambda *given, **_: seen.append(given[3]) or Image.new("L", (9, 9))
    )
    run = tmp_path / "run"
    shutil.copytree(work / "runs" / "boxes-1", run)
    command, names = ["predict", str(run), str(work / "squares" / "00.png"), "--score", "0", "--json"], set()
    for number, classes in enumerate([[LACKING, "đỏ"], ["đỏ", LACKING]]):  # a toy may find only one of them
        write_json(run / "model.json", read_card(run) | {"classes": classes})
        assert main([*command, "--draw", str(tmp_path / f"drawn{number}")]) == 0
        out, err = capsys.readouterr()
        found = json.loads(out)["images"][0]["objects"]
        names.update(one["class"] for one in found)
        called = {LACKING: str(number), "đỏ": "đỏ"}
        assert seen.pop() == [f"{called[one['class']]} {one['score']:.2f}" for one in found]
        assert (
            "No font of this computer has the letters of some classes, at whose boxes their number stands: "
            f"{number} {LACKING}; with a font for them installed, their names will."
        ) in err
    assert names == {LACKING, "đỏ"}
