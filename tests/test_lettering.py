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
from tenfold.augment.policy import Policy
from tenfold.report import lettering as module
from tenfold.report.contact_sheet import Cell, Words, contact_sheet
from tenfold.report.drawn import draw_boxes
from tenfold.report.lettering import Lettering, letters_of
from tenfold.report.policy_sheet import Draw, Strip, write_sheet
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


def sheet(label: str) -> tuple[bytes, dict[str, str]]:
    """A contact sheet with the name under a picture, in the key, the title and in the middle of a line."""
    cell = Cell(np.zeros((60, 60, 3), np.uint8), [label, f"mixed: 30 % {label}"])
    picture, called = contact_sheet(f"Policy light on {label}", [[cell]], [((1, 2, 3), label)], [label])
    return picture.tobytes(), called


def test_a_contact_sheet_is_in_the_letters_of_the_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_system_fonts", list)
    for name, other in (("кот", "код"), ("حصان", "حصاة"), ("כלב", "כלת"), ("chó", "chò"), ("cat", "cot")):
        (picture, called), (unlike, _) = sheet(name), sheet(other)
        assert called == {}
        assert len(picture) == len(unlike)
        assert picture != unlike  # boxes would be the same
        assert sheet(unicodedata.normalize("NFD", name))[0] == picture


def test_arabic_on_a_contact_sheet_is_joined(monkeypatch: pytest.MonkeyPatch) -> None:
    """A joined letter has another form than one that stands alone, so that the whole is shorter."""
    monkeypatch.setattr(module, "_system_fonts", list)
    [piece] = Words(["حصان"], ["حصان"]).pieces("حصان", 40)
    assert piece.width < 0.9 * sum(piece.font.getlength(letter) for letter in piece.text)
    [line] = Words(["a حصان جميل b"], ["حصان جميل"]).wrapped("a حصان جميل b", 40, 1000)
    assert [piece.text for piece in line] == ["a ", "حصان جميل", " ", "b"]


def test_what_no_font_can_write_is_said_once_on_a_contact_sheet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_system_fonts", list)
    assert sheet(LACKING)[1] == {LACKING: "name 1"}
    assert sheet(LACKING) != sheet("name 1")  # which has no sentence at its foot
    assert sheet(LACKING)[0] == sheet("\u72ac")[0]  # 犬: neither is drawn
    strips = [
        Strip("1.png", name, np.zeros((60, 60, 3), np.uint8), [Draw(np.zeros((60, 60, 3), np.uint8), [], [], "")])
        for name in (LACKING, "кот", LACKING)
    ]
    path = tmp_path / "sheet.png"
    assert write_sheet(path, "flowers", Policy("light"), strips, []) == (
        f"No font of this computer has the letters of some names, which are called otherwise in {path}: {LACKING} "
        "(name 1); with a font for them installed, or in a page (.html), they stand there themselves."
    )
    assert write_sheet(tmp_path / "sheet.html", "flowers", Policy("light"), strips, []) == ""
    assert write_sheet(path, "flowers", Policy("light"), strips[1:2], []) == ""
    monkeypatch.setattr(module, "_system_fonts", lambda: [str(FONTS / "STIXGeneral.ttf")])
    assert sheet(HOOKED)[1] == {}


def test_words_under_a_picture_are_no_wider_than_it() -> None:
    text = "a very long class name that does not fit under a picture, and a" + "b" * 90
    words = Words([text], [])
    lines = words.wrapped(text, 12, 195)
    assert "".join(piece.text for line in lines for piece in line) == text
    widths = [sum(piece.width for piece in line) for line in lines]
    assert len(lines) > 2
    assert max(widths[:-1]) < 195 + 12
    cell = Cell(np.zeros((60, 60, 3), np.uint8), [text])
    picture = np.asarray(contact_sheet("", [[cell, cell]], [], [])[0])
    assert (picture[250:, 195 + 22 + 11 : 195 + 44] == 255).all()  # the gap after a word that is cut


@pytest.mark.parametrize("word", ["кот", "γάτα", "chó", "cat", "猫"])
def test_names_of_several_words_are_wrapped_in_every_language(word: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_system_fonts", list)
    name = " ".join([word] * 40)
    words = Words([f"a {name}."], [name])
    text = f"a {words.called.get(name, name)}."
    lines = words.wrapped(f"a {name}.", 12, 195)
    assert "".join(piece.text for line in lines for piece in line) == text
    blank = words.pieces(name, 12)[0].font.getlength(" ")
    assert max(sum(piece.width for piece in line) for line in lines) <= 195 + blank  # which ends a line
    assert (len(lines) > 2) == (name not in words.called)


def test_names_from_the_right_keep_the_order_of_their_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_system_fonts", list)
    for name in ("حصان جميل", "כלב גדול", "dog כלב"):
        assert [piece.text for line in Words([name], [name]).wrapped(name, 12, 10) for piece in line] == [name]


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


def test_a_picture_on_a_contact_sheet_keeps_its_shape() -> None:
    wide = Cell(np.full((60, 120, 3), (255, 0, 0), np.uint8), [])
    picture = np.asarray(contact_sheet("", [[wide]], [], [])[0])
    red = (picture == (255, 0, 0)).all(2)
    assert (red.any(0).sum(), red.any(1).sum()) == (195, 98)
