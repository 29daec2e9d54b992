"""The check: what one image says of itself, what images are to one another, labels, leaks, repair, page, command.

How well copies are found is tested in the tests of the detector; here they are copies that no detector can miss.
"""

from __future__ import annotations

import csv
import json
import re
import shutil
import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import ExifTags, Image, ImageFilter

from tenfold import check
from tenfold.__main__ import main
from tenfold.check import Evidence, Finding, Findings, check_table, price_leak, write_repaired
from tenfold.check import survey as surveys
from tenfold.check.classes import BELIEVED, class_findings, least_recall, plain_name
from tenfold.check.findings import TITLES, blocks_of, gather
from tenfold.check.labels import SURE, doubtful_labels, label_finding, noise_counts, trusted
from tenfold.check.leaks import leaked_rows, set_findings
from tenfold.check.measures import measure, measure_grey, read_facts
from tenfold.check.price import leak_worth, leaked_hashes
from tenfold.check.sets import SAME
from tenfold.check.survey import read_pixels, survey_table
from tenfold.commands.doctor import find_browser
from tenfold.errors import DataError, UsageError
from tenfold.estimate import Estimate, clopper_pearson, units_of
from tenfold.evaluate import evaluate_run
from tenfold.images.content import encoded, hashed
from tenfold.images.decode import decode_image
from tenfold.images.readers import read_table
from tenfold.images.table import BOX_COLUMNS, PARTS, Table, make_samples
from tenfold.looks import ledger_path
from tenfold.metrics.intervals import share
from tenfold.report.check_page import check_page, headline
from tenfold.split import part_counts, split_table
from tenfold.train import train_model
from tests.toys import quick_recipe, save, scene, write_scenes, write_shapes

CHROMIUM = find_browser()
Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TENFOLD_CACHE", str(tmp_path / "cache"))


def table_of(labels: list[str | None], classes: tuple[str, ...], **columns: list[Any]) -> Table:
    sources = [f"/data/{row}.png" for row in range(len(labels))]
    return Table(make_samples({"source": sources, "label": labels, **columns}, len(labels)), classes)


def kinds(findings: Findings) -> list[str]:
    return [finding.kind for finding in findings.found]


def named(findings: Findings, kind: str) -> list[list[str]]:
    """The names of each set of a finding."""
    found = findings.find(kind)
    return [[findings.samples[row].name for row in item.rows] for item in found.sets] if found else []


# One image


@pytest.mark.parametrize("spread", [1, 2, 5, 10])
def test_sharpness_is_the_slope_of_a_blurred_edge(spread: int) -> None:
    from math import erf

    profile = [255 * (1 + erf((x - 99.5) / (spread * 2**0.5))) / 2 for x in range(200)]
    found = measure_grey(np.tile(np.rint(profile), (100, 1)).astype(np.uint8))
    assert found.sharpness == pytest.approx(1 / (spread * (2 * np.pi) ** 0.5), rel=0.1)
    assert found.contrast == 1


def test_measures_are_what_slow_counting_gives() -> None:
    grey = np.random.default_rng(0).integers(20, 200, (23, 31)).astype(np.uint8)
    found = measure_grey(grey)
    steps = [int(b) - int(a) for row in (*grey, *grey.T) for a, b in pairwise(row)]
    shares = np.array([steps.count(step) for step in set(steps)]) / len(steps)
    assert found.information == pytest.approx(-(shares * np.log2(shares)).sum())
    levels = np.sort(grey.ravel())
    assert found.brightness == levels[-int(np.ceil(0.01 * grey.size))] / 255
    slopes = np.sort(np.abs(steps))
    assert found.contrast == (int(levels[-1]) - int(levels[0])) / 255  # a thousandth of 713 pixels is one pixel
    assert found.sharpness == slopes[-int(np.ceil(0.001 * len(steps)))] / (int(levels[-1]) - int(levels[0]))
    assert measure_grey(np.full((1, 1), 7, np.uint8)) == (0, 7 / 255, 0, 0)
    assert measure(np.full((900, 500, 3), 255, np.uint8)) == (0, 1, 0, 0)


def test_a_large_image_is_measured_as_a_network_sees_it() -> None:
    small = scene(0, 250, 200)
    large = np.asarray(Image.fromarray(small).resize((2000, 1600), Image.Resampling.BICUBIC))
    assert measure(large).sharpness > 0.5 * measure(small).sharpness
    assert measure_grey(large[..., 0]).sharpness < 0.3 * measure(small).sharpness


def test_a_header_tells_mode_turn_time_and_camera(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    exif[ExifTags.Base.Make], exif[ExifTags.Base.Model] = "Maker", "Model 7"
    inner = exif.get_ifd(ExifTags.IFD.Exif)
    inner[ExifTags.Base.DateTimeOriginal], inner[ExifTags.Base.SubsecTimeOriginal] = "1970:01:02 00:00:03", "25"
    for ending in ("jpg", "webp", "tif"):
        path = save(tmp_path / f"a.{ending}", scene(0), exif=exif)
        found = read_facts(path.read_bytes(), "a")
        assert (found.mode, found.camera) == ("RGB", "Maker Model 7")
        assert found.orientation == (1 if ending == "tif" else 6)  # Pillow turns TIFF itself
        assert ending == "tif" or found.time == 86403.25  # and writes no inner directory into one
    modes = {"L": "jpg", "CMYK": "jpg", "P": "png", "LA": "png", "RGBA": "png", "1": "png"}
    for mode, ending in modes.items():
        Image.fromarray(scene(0)).convert(mode).save(tmp_path / f"b.{ending}")
        found = read_facts((tmp_path / f"b.{ending}").read_bytes(), "b")
        assert (found.mode, found.orientation, found.camera) == (mode, 1, "")
        assert np.isnan(found.time)
    assert read_facts(np.zeros((4, 5), np.uint8), "array").mode == "L"
    assert read_facts(np.zeros((4, 5, 4), np.uint8), "array").mode == "RGBA"


@pytest.mark.parametrize("text", ["0000:00:00 00:00:00", "yesterday", ""])
def test_a_time_that_is_none_is_not_known(tmp_path: Path, text: str) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.DateTime] = text
    found = read_facts(save(tmp_path / "a.jpg", scene(0), exif=exif).read_bytes(), "a")
    assert np.isnan(found.time)


# The survey


def test_a_second_survey_decodes_nothing_and_finds_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_scenes(tmp_path / "data")
    (folder / "cat" / "bad.png").write_bytes(b"no image")
    save(folder / "dog" / "again.png", scene(0))
    monkeypatch.setattr(surveys, "BLOCK", 5)
    seen: list[tuple[int, int]] = []
    first = survey_table(read_table(folder), progress=lambda done, of: seen.append((done, of)))
    assert seen == [(done, 17) for done in range(1, 18)]  # 18 files, two of them the same
    assert (first.facts["height"][first.rows] == 90).all()
    assert [Path(text).name for text in re.findall(r"\S+bad\.png", str(first.unreadable))] == ["bad.png"]
    assert first.readable.tolist() == [row not in first.unreadable for row in range(18)]
    real, opened = surveys.decode_image, []
    monkeypatch.setattr(surveys, "decode_image", lambda content, **more: opened.append(1) or real(content, **more))
    save(folder / "dog" / "new.png", scene(7000))
    table = read_table(folder)
    second = survey_table(table)
    assert len(opened) == 1  # the new one; the header of the one that cannot be read says enough
    new = [Path(source).name for source in table.samples["source"]].index("new.png")
    old = np.delete(np.arange(19), new)
    assert second.facts[old].tobytes() == first.facts.tobytes()
    assert len(second.signatures) == len(second.rows) == 18
    kept = np.flatnonzero(second.rows != new)
    for name, array in second.signatures.take(kept).to_arrays().items():
        assert np.array_equal(array, first.signatures.to_arrays()[name])


@pytest.mark.parametrize("damage", [lambda content: content[:-200], lambda _: b"", lambda content: content[::-1]])
def test_a_damaged_cache_is_made_anew(tmp_path: Path, damage: Any) -> None:
    table = read_table(write_scenes(tmp_path / "data", each=2))
    first = survey_table(table)
    [path] = (tmp_path / "cache").rglob("*.npz")
    path.write_bytes(damage(path.read_bytes()))
    assert survey_table(table).facts.tobytes() == first.facts.tobytes()
    assert [file.name for file in (tmp_path / "cache").rglob("*.npz")] == [path.name]


def test_the_cache_command_shows_and_clears_it(tmp_path: Path, capsys: Capture) -> None:
    check_table(read_table(write_scenes(tmp_path / "data", each=3)))
    assert main(["cache", "--json"]) == 0
    entries = json.loads(capsys.readouterr().out)["entries"]
    assert [entry["images"] for entry in entries] == [6, 6, 6]  # what each looks like, the copies, the shots in a row
    assert main(["cache", "--clear"]) == 0
    assert list((tmp_path / "cache").rglob("*.npz")) == []


def test_no_cache_and_one_that_cannot_be_written_do_as_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = read_table(write_scenes(tmp_path / "data", each=2))
    expected = survey_table(table).facts.tobytes()
    monkeypatch.setenv("TENFOLD_CACHE_GIB", "0")
    assert survey_table(table).facts.tobytes() == expected
    monkeypatch.delenv("TENFOLD_CACHE_GIB")
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("TENFOLD_CACHE", str(tmp_path / "file"))
    assert survey_table(table).facts.tobytes() == expected


def test_a_region_is_surveyed_by_itself(tmp_path: Path) -> None:
    image = scene(1)
    image[:40, :50] = 255
    path = save(tmp_path / "a.png", image)
    columns = {"x1": [0, 50], "y1": [0, 40], "x2": [50, 120], "y2": [40, 90]}
    table = Table(make_samples({"source": [str(path)] * 2, "label": ["a", "b"], **columns}, 2), ("a", "b"))
    found = survey_table(table)
    assert found.facts[["height", "width"]].tolist() == [(40, 50), (50, 70)]
    assert found.facts["contrast"][1] > found.facts["contrast"][0] == 0
    assert np.array_equal(read_pixels(table, 1), image[40:, 50:])


def test_a_file_that_ends_too_early_counts_as_told(tmp_path: Path) -> None:
    path = save(tmp_path / "data" / "a" / "cut.jpg", scene(0))
    save(tmp_path / "data" / "b" / "whole.jpg", scene(1))
    path.write_bytes(path.read_bytes()[:2500])
    table = read_table(tmp_path / "data")
    assert "unreadable" in kinds(check_table(table))
    assert "unreadable" not in kinds(check_table(table, allow_truncated=True))


def test_nothing_readable_is_an_error(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / "data" / name).mkdir(parents=True)
        (tmp_path / "data" / name / "x.png").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"None of the 2 images can be read; the first: Cannot decode .*x\.png"):
        check_table(read_table(tmp_path / "data"))


# Quality


def test_what_was_spoiled_is_found_and_nothing_else(tmp_path: Path) -> None:
    folder = write_scenes(tmp_path / "data", each=12)
    save(folder / "cat" / "dark.png", (scene(900) * 0.08).astype(np.uint8))
    save(folder / "cat" / "wall.png", np.random.default_rng(0).normal(120, 2, (90, 120, 3)).astype(np.uint8))
    plain = scene(902)
    plain[:, 6:] = plain[0, 0]
    save(folder / "dog" / "plain.png", np.where(np.arange(120)[:, None] < 2, scene(901), np.uint8(200)))
    soft = Image.fromarray(scene(903, 240, 180)).filter(ImageFilter.GaussianBlur(9))
    soft.save(folder / "dog" / "soft.png")
    save(folder / "dog" / "long.png", scene(904, 900, 50))
    save(folder / "dog" / "small.png", scene(905, 20, 16))
    Image.fromarray(scene(906)).convert("L").save(folder / "dog" / "grey.png")
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 3
    save(folder / "dog" / "turned.jpg", scene(907), exif=exif)
    (folder / "dog" / "bad.png").write_bytes(b"no image")
    findings = check_table(read_table(folder))
    assert named(findings, "dark") == [["cat/dark.png"]]
    assert named(findings, "blank") == [["cat/wall.png"], ["dog/plain.png"]]
    assert named(findings, "blurred") == [["dog/soft.png"]]
    assert named(findings, "size") == [["dog/long.png"], ["dog/small.png"]]
    assert named(findings, "mode") == [["dog/grey.png"]]
    assert named(findings, "rotated") == [["dog/turned.jpg"]]
    assert named(findings, "unreadable") == [["dog/bad.png"]]
    unreadable = findings.decisions[0]
    assert unreadable.evidence.startswith("1 file of ")
    assert f"cannot be read as an image: {unreadable.sets[0].words}" in unreadable.evidence
    assert kinds(findings) == ["unreadable", "dark", "blank", "blurred", "mode", "size", "rotated"]
    assert [finding.kind for finding in findings.decisions] == ["unreadable", "dark", "blank", "blurred"]


@pytest.mark.parametrize("spoil", [lambda image: (image * 0.08).astype(np.uint8), lambda image: image // 16 + 100])
def test_what_all_images_have_is_no_oddity(tmp_path: Path, spoil: Any) -> None:
    for index in range(12):
        save(tmp_path / "data" / "ab"[index % 2] / f"{index}.png", spoil(scene(index)))
    found = kinds(check_table(read_table(tmp_path / "data")))
    assert not {"dark", "blank", "blurred"} & set(found)


def test_sixteen_bits_of_which_few_are_used_are_noted(tmp_path: Path) -> None:
    for index in range(12):
        deep = scene(index)[..., 0].astype(np.uint16)
        save(tmp_path / "dark" / "ab"[index % 2] / f"{index}.png", deep * 16)  # 12 bits, as a microscope has them
        save(tmp_path / "full" / "ab"[index % 2] / f"{index}.png", deep * (256 if index == 5 else 16))
    findings = check_table(read_table(tmp_path / "dark"))
    assert kinds(findings) == ["bits"]
    found = findings.find("bits")
    assert (found.needs_decision, found.images) == (False, 12)
    levels = max(
        int(np.ptp(decode_image(path.read_bytes(), channels="grey"))) for path in (tmp_path / "dark").rglob("*.*")
    )
    assert f"12 images of 12 are of 16 bits, and the grey levels of none span more than {levels / 2.55:.1f} % " in (
        found.evidence
    )
    assert f"at most {levels + 1} grey levels are left" in found.price
    assert "bits" not in kinds(check_table(read_table(tmp_path / "full"))), "one image shows that all bits are used"


@pytest.mark.parametrize("with_boxes", [False, True])
def test_what_an_odd_size_costs_is_said_for_whoever_sees_it(with_boxes: bool, tmp_path: Path) -> None:
    table = read_table(write_scenes(tmp_path / "data", each=6))
    save(Path(table.samples["source"][0]), scene(904, 900, 50))
    boxes = pd.DataFrame([(0, 10, 10, 60, 40, "x", False)], columns=list(BOX_COLUMNS)).astype(BOX_COLUMNS)
    found = check_table(replace(table, boxes=boxes) if with_boxes else table).find("size")
    words = "cut to a square they lose most", "pad or squash keeps all of a long image"
    if with_boxes:
        words = "squeezed into the shape of the others they show objects out of theirs", "pad keeps their shape"
    assert found.price == f"Enlarged they are blurred; {words[0]}{'' if with_boxes else ' of what they show'}."
    assert found.remedy == f"Look at them; image.fit = {words[1]}."


# Classes


def test_a_class_of_too_few_separate_images_needs_a_decision() -> None:
    table = table_of(["a"] * 6 + ["b"] * 7 + ["c"] * 3, ("a", "b", "c"), group=[None] * 6 + ["g"] * 3 + [None] * 7)
    blocks = blocks_of(table, [])
    found = gather(table, class_findings(table, blocks))
    assert kinds(found) == ["small_class"]
    assert found.decisions == found.found
    assert found.found[0].evidence == "Of 2 classes there are fewer than 6 separate images: b (5), c (3)."
    assert found.found[0].price == (
        "Nothing can be believed of b, however it is split: even if all 5 images were tested and all right, its recall "
        "could still be 48 % (95 % interval)."
    )
    copies = [Evidence((0, 1, 2)), Evidence((3, 4)), Evidence((13, 14))]
    found = gather(table, class_findings(table, blocks_of(table, copies)))
    assert "a (3), b (5), c (2)" in found.found[0].evidence
    assert found.found[0].price.startswith("A class of fewer than 3 is missing from training, validation or test. ")
    blocks[[0, 13]] = -1  # cannot be read
    assert "a (5), b (5), c (2)" in gather(table, class_findings(table, blocks)).found[0].evidence


def test_of_a_small_class_nothing_can_be_believed_even_if_all_were_tested_and_right() -> None:
    for images in range(1, 30):
        assert least_recall(images) == pytest.approx(clopper_pearson(images, images)[0])
        assert (least_recall(images) < 0.5) == (images < BELIEVED)
    one = table_of(["a"] * 6 + ["b"], ("a", "b"))
    found = gather(one, class_findings(one, np.arange(7))).found[0]
    assert "even if its one image were tested and right, its recall could still be 2 % (95 % interval)" in found.price
    found = gather(one, class_findings(one, np.array([0, 1, 2, 3, 4, 5, -1]))).found[0]
    assert found.price == "A class of fewer than 3 is missing from training, validation or test."


def test_shots_in_a_row_count_once_in_the_size_of_a_class(tmp_path: Path) -> None:
    looked = check.look_at_table(read_table(write_scenes(tmp_path / "data", each=7)))
    assert kinds(check.findings_of(looked)) == []
    looked = looked._replace(bursts=[Evidence((0, 1)), Evidence((2, 3, 4))])
    findings = check.findings_of(looked)
    assert kinds(findings) == ["small_class", "bursts"]
    assert "cat (4)." in findings.found[0].evidence
    assert findings.together == (5, 2, 9)


@pytest.mark.parametrize(
    ("labels", "classes", "evidence"),
    [
        (["images"] * 12, ("images",), "All images that have a label are of one class, 'images'."),
        (["only"] * 6 + [None], ("only",), "All images that have a label are of one class, 'only'."),
        ([None] * 4, (), "No image has a label."),
    ],
)
def test_fewer_than_two_classes_need_a_decision(
    labels: list[str | None], classes: tuple[str, ...], evidence: str
) -> None:
    table = table_of(labels, classes)
    found = gather(table, class_findings(table, np.arange(len(labels))))
    assert [finding.kind for finding in found.decisions] == ["one_class"]
    assert found.decisions[0].evidence == evidence
    assert found.decisions[0].images == len(labels)


def test_one_class_is_told_before_train_refuses_it(tmp_path: Path, capsys: Capture) -> None:
    folder = write_scenes(tmp_path / "data", ("cat",), 6)
    assert main(["check", str(folder)]) == 1
    out = capsys.readouterr().out
    assert re.search(r"Fewer +decide +6 +All images that have a label are", out)
    assert "To decide: 1; notes: 0." in out


def test_imbalance_is_a_note_with_its_price() -> None:
    table = table_of(["a"] * 30 + ["b"] * 10 + [None], ("a", "b"))
    found = gather(table, class_findings(table, np.arange(41)))
    assert kinds(found) == ["unlabeled", "imbalance"]
    assert found.decisions == ()
    assert found.found[1].price == "A model that always says a is right on 75.0 % of them."
    even = table_of(["a"] * 29 + ["b"] * 10, ("a", "b"))
    assert gather(even, class_findings(even, np.arange(39))).found == ()


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("Rose", "rose", True),
        ("Hoa hồng", "hoa hong", True),
        ("fire truck", "fire_truck", True),
        ("fire truck", "firetruck", True),
        ("Đà Lạt", "Da Lat ", True),
        ("class 1", "class-1", True),
        ("Straße", "STRASSE", True),
        ("c", "c++", False),
        ("c#", "c++", False),
        ("1-2", "12", False),
        ("-1", "1", False),
        ("s1", "s2", False),
        ("猫", "犬", False),
    ],
)
def test_names_are_nearly_one_by_case_accents_and_gaps(one: str, other: str, same: bool) -> None:
    assert (plain_name(one) == plain_name(other)) is same
    table = table_of([one] * 6 + [other] * 6, (one, other))
    found = gather(table, class_findings(table, np.arange(12)))
    assert kinds(found) == (["names"] if same else [])
    if same:
        assert found.found[0].sets[0].rows == (0, 6)


# Labels


def slow_confident_learning(truth: list[int], probability: list[list[float]]) -> list[int]:
    """Confident learning as the paper reads, pruned over all classes, an image at a time; the surest errors first."""
    images, classes = range(len(truth)), range(len(probability[0]))
    of_class = {k: [i for i in images if truth[i] == k] for k in classes}
    threshold = {k: np.mean([probability[i][k] for i in of_class[k]]) if of_class[k] else np.inf for k in classes}
    joint = np.zeros((len(classes), len(classes)))
    for i in images:
        confident = [k for k in classes if probability[i][k] >= threshold[k]]
        if confident:
            joint[truth[i], max(confident, key=lambda k: probability[i][k])] += 1
    wrong = 0.0
    for i in classes:
        for j in classes:
            if i != j and sum(joint[i]):
                wrong += joint[i, j] / sum(joint[i]) * len(of_class[i])
    least = set(sorted(images, key=lambda n: probability[n][truth[n]])[: round(wrong)])
    sure = sorted(images, key=lambda n: -max(probability[n]))
    agreed = [probability[n].index(max(probability[n])) == truth[n] for n in sure]
    depth = max([n + 1 for n in images if sum(agreed[: n + 1]) / (n + 1) >= SURE], default=0)

    def rival(n: int) -> float:
        return max(value for k, value in enumerate(probability[n]) if k != truth[n])

    found = [n for n in sure[:depth] if n in least and rival(n) > probability[n][truth[n]]]
    return sorted(found, key=lambda n: probability[n][truth[n]] - rival(n))


def predicted(truth: np.ndarray, classes: int, skill: float, seed: int = 0) -> np.ndarray:
    """Probabilities of a network of this skill for images of these true classes: float64 [N, K]."""
    logits = np.random.default_rng(seed).normal(0, 1, (len(truth), classes))
    logits[np.arange(len(truth)), truth] += skill
    power = np.exp(1.5 * logits)
    return power / power.sum(1, keepdims=True)


def flipped(truth: np.ndarray, classes: int, rate: float, seed: int = 1) -> np.ndarray:
    draw = np.random.default_rng(seed)
    wrong = (truth + draw.integers(1, classes, len(truth))) % classes
    return np.where(draw.random(len(truth)) < rate, wrong, truth)


@pytest.mark.parametrize("skill", [0.5, 2.0, 4.0])
@pytest.mark.parametrize("classes", [2, 3, 7])
def test_confident_learning_is_what_the_paper_says(classes: int, skill: float) -> None:
    truth = np.random.default_rng(classes).integers(0, classes, 150)
    truth[truth == 1] = 0 if classes == 7 else 1  # a class without images
    labels, probability = flipped(truth, classes, 0.1), predicted(truth, classes, skill)
    found = doubtful_labels(labels, probability)
    assert found.tolist() == slow_confident_learning(labels.tolist(), probability.tolist())
    if skill == 4:
        assert len(found) > 0


@pytest.mark.parametrize("rate", [0.02, 0.05, 0.1])
def test_flipped_labels_are_found(rate: float) -> None:
    truth = np.random.default_rng(0).integers(0, 5, 3000)
    labels, probability = flipped(truth, 5, rate), predicted(truth, 5, 4.0)
    assert (probability.argmax(1) == truth).mean() == pytest.approx(0.985, abs=0.01)
    found = set(doubtful_labels(labels, probability).tolist())
    wrong = set(np.flatnonzero(labels != truth).tolist())
    assert len(found & wrong) / len(found) >= 0.85, "precision"
    assert len(found & wrong) / len(wrong) >= 0.8, "recall"
    surest = doubtful_labels(labels, probability)[: len(wrong) // 2].tolist()
    assert len(wrong & set(surest)) >= 0.97 * len(surest)


def test_right_labels_are_hardly_doubted_even_by_a_weak_network() -> None:
    truth = np.random.default_rng(0).integers(0, 5, 3000)
    assert len(doubtful_labels(truth, predicted(truth, 5, 4.0))) <= 0.01 * 3000
    weak = predicted(truth, 5, 1.0)
    assert (weak.argmax(1) == truth).mean() < 0.6
    assert noise_counts(truth, weak).sum() > 0.3 * 3000  # confident learning alone would call these wrong
    assert len(doubtful_labels(truth, weak)) <= 0.05 * 3000
    assert not trusted(truth, np.full((3000, 5), 0.2)).any()
    assert len(doubtful_labels(np.zeros(0, np.int64), np.zeros((0, 3)))) == 0
    with pytest.raises(UsageError, match=r"must be \[2, K\] like the labels, not \[3, 2\]"):
        doubtful_labels(np.zeros(2, np.int64), np.ones((3, 2)))


def test_a_label_finding_speaks_of_the_labels_as_they_are_now() -> None:
    truth = np.random.default_rng(0).integers(0, 3, 300)
    classes, hashes = ("a", "b", "c"), [f"{row:032x}" for row in range(300)]
    labels = flipped(truth, 3, 0.05)
    said = dict(zip(hashes[:200], predicted(truth, 3, 5.0)[:200], strict=True))  # the others were trained on
    table = table_of([classes[k] for k in labels], classes, hash=hashes)
    found = label_finding(table, said, classes)
    rows = [item.rows[0] for item in found.sets]
    assert set(rows) == set(doubtful_labels(labels[:200], np.array(list(said.values()))).tolist())
    assert re.fullmatch(r"labelled [abc] \(\d+%\), looks like [abc] \(\d+%\)", found.sets[0].words)
    assert found.needs_decision
    right = table_of([classes[k] for k in truth], classes, hash=hashes)
    clear = label_finding(right, said, classes)
    assert (clear.kind, clear.needs_decision, clear.images) == ("judged", False, 200)
    known = "a network that was not trained on them agrees with 100.0 % of the 200 labels it knows."
    assert clear.evidence == f"None of 200 labels is doubted: {known}"
    assert clear.price.startswith("100 others were not judged")
    none = label_finding(right, {}, classes)
    assert none.evidence == "No label could be judged: the run predicted no image that has one."


def test_a_network_that_is_too_weak_to_judge_is_no_all_clear() -> None:
    truth = np.random.default_rng(0).integers(0, 3, 300)
    classes, hashes = ("a", "b", "c"), [f"{row:032x}" for row in range(300)]
    table = table_of([classes[k] for k in flipped(truth, 3, 0.05)], classes, hash=hashes)
    chance = dict(zip(hashes, predicted(truth, 3, 0.0), strict=True))
    found = label_finding(table, chance, classes)
    assert (found.kind, found.needs_decision) == ("judged", False)
    assert re.match(r"No label could be judged: .* agrees with 3\d\.\d % of the 300 labels it knows, ", found.evidence)
    assert found.remedy.startswith("Train a better network")


# Sets and leaks


def test_leaked_images_are_those_with_one_in_an_earlier_part() -> None:
    draw = np.random.default_rng(0)
    parts = [draw.choice([*PARTS, ""]) or None for _ in range(60)]
    sets = [Evidence(tuple(draw.choice(60, 3, replace=False).tolist())) for _ in range(12)]
    found = leaked_rows(sets, parts)
    for part, earlier in (("validation", {"train"}), ("test", {"train", "validation"})):
        assert found[part] == {
            row
            for row in range(60)
            if parts[row] == part and any(row in item.rows and {parts[r] for r in item.rows} & earlier for item in sets)
        }


def test_a_set_of_many_images_in_two_parts_takes_no_time() -> None:
    parts = ["train", "test"] * 15_000
    began = time.process_time()
    found = leaked_rows([Evidence(tuple(range(30_000)))], parts)
    assert time.process_time() - began < 1.5  # with a search in each turn 15 s
    assert found == {"test": set(range(1, 30_000, 2)), "validation": set()}


def test_sets_become_the_findings_that_they_are() -> None:
    columns = {
        "part": ["train", "test", "train", "train", "train", "test", "validation", "train"],
        "group": [None, None, None, None, "g", "g", None, None],
    }
    table = table_of(["a", "a", "a", "b", "a", "b", "b", "b"], ("a", "b"), **columns)
    copies = [Evidence((0, 1), "resized"), Evidence((2, 3), "mirrored"), Evidence((3, 7), SAME)]
    bursts = [Evidence((6, 7), "taken in a row"), Evidence((4, 5), "taken in a row")]
    found = gather(table, set_findings(table, copies, bursts))
    assert kinds(found) == ["two_labels", "leak", "group_leak", "series", "copies"]
    assert [finding.sets[0].rows for finding in found.found] == [(2, 3), (0, 1), (4, 5), (6, 7), (3, 7)]
    assert found.find("two_labels").sets[0].words == "a or b: mirrored"  # type: ignore[union-attr]
    assert "1 of 2 test images have one in an earlier part" in found.found[1].evidence
    assert len(found.find("series").sets) == 1  # type: ignore[union-attr]  # a group says of the other all there is
    assert found.example(found.found[1]) == "data/0.png = data/1.png"
    assert found.example(found.found[2]) == "data/4.png, data/5.png", "of one group, and no copies"
    assert sorted(found.groups()) == [(0, 1), (2, 3), (3, 7)]


def test_what_is_of_two_groups_is_torn_from_either() -> None:
    table = table_of(["a", "a", "b"], ("a", "b"), part=["train", "test", "train"], group=["p + q", "p", "r"])
    [torn] = [finding for finding in set_findings(table, [], []) if finding]
    assert (torn.kind, [item.rows for item in torn.sets]) == ("group_leak", [(0, 1)])


@pytest.mark.parametrize(
    ("images", "rows", "kept"),
    [
        (10, [(0, 1, 2, 3)], True),  # ten images a class, four of them in a row
        (10, [(0, 1, 2, 3, 4, 5)], True),
        (10, [(0, 1, 2, 3, 4, 5, 6)], False),  # too much of the class
        (5, [(0, 1)], True),
        (5, [(0, 1, 2)], True),
        (4, [(0, 1)], True),
        (3, [(0, 1)], False),  # no part of three could have another
        (10, [(0, 1, 2, 3), (4, 5, 6), (7, 8, 9)], True),
        (10, [(0, 1, 2, 3, 4), (5, 6, 7, 8, 9)], False),
    ],
)
def test_a_row_of_shots_is_kept_together_where_each_part_can_have_others(
    images: int, rows: list[tuple[int, ...]], kept: bool
) -> None:
    labels = ["a"] * images + ["b"] * 10
    table = table_of(labels, ("a", "b"), hash=[f"{row:032x}"[::-1] for row in range(len(labels))])
    found = gather(table, set_findings(table, [], [Evidence(row) for row in rows]))
    assert kinds(found) == ["bursts" if kept else "series"]
    assert sorted(found.groups()) == (rows if kept else [])
    assert len(found.decisions) == (0 if kept else 1)  # what no split keeps together is told before there is one
    split = split_table(found.keep_together(table))
    counts = part_counts(split)
    blocks = images - sum(map(len, rows)) + len(rows) if kept else images
    assert blocks >= 3
    assert (counts > 0).all(axis=None), counts  # each part gets images of each class
    parts = split.samples["part"].tolist()
    again = gather(split, set_findings(split, [], [Evidence(row) for row in rows]))
    if kept:
        assert all(len({parts[place] for place in row}) == 1 for row in rows)
        assert again.decisions == ()


def test_rows_of_shots_in_two_parts_need_a_decision_and_have_a_price() -> None:
    table = table_of(["a"] * 9 + ["b"] * 12, ("a", "b"), part=["train", "test"] * 10 + ["test"])
    bursts = [Evidence((0, 1, 2, 3, 4, 5)), Evidence((9, 11)), Evidence((13, 15, 17, 19)), Evidence((12, 14, 16))]
    found = gather(table, set_findings(table, [], bursts))
    short, long = found.find("bursts"), found.find("series")
    assert short is not None
    assert long is not None
    assert [item.rows for item in long.sets] == [bursts[0].rows]
    assert short.needs_decision is False  # three rows, each in one part
    assert long.needs_decision is True
    assert "each so much of a class that under 40 % of it, or fewer than 2 separate images, are left" in long.evidence
    assert long.price.endswith("--price RUN says by how much.")
    torn = gather(table, set_findings(table, [], [Evidence((11, 12, 13))]))
    assert [finding.kind for finding in torn.decisions] == ["bursts"]
    assert torn.decisions[0].price.endswith("--price RUN says by how much.")


def test_one_image_of_a_class_in_anothers_row_is_no_reason_to_tear_it() -> None:
    table = table_of(["a"] * 10 + ["b"] * 2 + [None], ("a", "b"))
    found = gather(table, set_findings(table, [], [Evidence((0, 1, 2, 10, 12))]))
    assert kinds(found) == ["bursts"]


def test_copies_are_found_across_labels_parts_and_data(tmp_path: Path) -> None:
    folder = write_scenes(tmp_path / "data")
    save(folder / "cat" / "same.png", scene(0))
    save(folder / "dog" / "mirrored.jpg", scene(3)[:, ::-1], quality=90)
    other = write_scenes(tmp_path / "other", ("bird",), each=2)  # its images are those of "cat" 0 and 1
    save(other / "bird" / "own.png", scene(999))
    table = read_table(folder)
    plain = check_table(table)
    assert named(plain, "copies") == [["cat/0.png", "cat/same.png"]]
    assert [sorted(names) for names in named(plain, "two_labels")] == [["cat/3.png", "dog/mirrored.jpg"]]
    assert SAME in plain.find("copies").sets[0].words  # type: ignore[union-attr]
    assert kinds(plain) == ["two_labels", "copies"]
    hashes = survey_table(table).hashes
    names = [Path(source).name for source in table.samples["source"]]
    parts = ["test" if name == "mirrored.jpg" else "train" for name in names]
    parted = check_table(table, parts=lambda _: parts)
    assert [sorted(names) for names in named(parted, "leak")] == [["cat/3.png", "dog/mirrored.jpg"]]
    assert leaked_hashes(parted, "test") == {hashes[names.index("mirrored.jpg")]}
    against = check_table(table, against=read_table(other))
    found = against.find("against")
    assert found is not None
    assert found.images == 3
    assert named(against, "against") == [["cat/0.png", "cat/same.png"], ["cat/1.png"]]
    assert [[against.others[row].name for row in item.others] for item in found.sets] == [
        ["bird/0.png"],
        ["bird/1.png"],
    ]


def test_shots_within_seconds_by_one_camera_are_a_burst_however_they_look(tmp_path: Path) -> None:
    folder = write_scenes(tmp_path / "data")
    for number, (second, camera) in enumerate([(1, "Maker"), (2, "Maker"), (2, "Other"), (40, "Maker")]):
        exif = Image.Exif()
        exif[ExifTags.Base.Make] = camera
        exif[ExifTags.Base.DateTime] = f"2024:05:01 12:00:{second:02}"
        save(folder / "cat" / f"shot-{'wxyz'[number]}.jpg", scene(50 + number), exif=exif, quality=92)
    findings = check_table(read_table(folder))
    assert kinds(findings) == ["bursts"]
    assert named(findings, "bursts") == [["cat/shot-w.jpg", "cat/shot-x.jpg"]]


# The price


@pytest.mark.parametrize(("known", "clean", "leaked"), [(0.95, 0.8, 40), (1.0, 0.7, 15), (0.85, 0.85, 60)])
def test_the_interval_of_a_leaks_worth_holds_the_truth(known: float, clean: float, leaked: int) -> None:
    draw, held, total = np.random.default_rng(0), 0, 200
    for _ in range(800):
        hits = np.concatenate([draw.random(leaked) < known, draw.random(total - leaked) < clean]).astype(float)
        one, other = (share(part, units_of(None, len(part)), 0.95) for part in (hits[:leaked], hits[leaked:]))
        worth = leak_worth(one, other)
        assert worth.value == pytest.approx(hits.mean() - hits[leaked:].mean())
        assert worth.low < worth.value < worth.high
        held += worth.low <= leaked / total * (known - clean) <= worth.high
    assert held / 800 >= 0.94


@pytest.fixture(scope="module")
def leaky(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run, and its images beside it, of which some test images are copies of training images."""
    place = tmp_path_factory.mktemp("leaky")
    folder = write_shapes(place / "shapes", 24)
    parts = {}
    for name in ("bar", "disc", "ring"):
        for number in range(24):
            parts[folder / name / f"{number:03}.png"] = "train" if number < 12 else PARTS[1 + number % 2]
        for number in range(4):
            copy = folder / name / f"copy-{number}.png"
            shutil.copy(folder / name / f"{number:03}.png", copy)
            parts[copy] = "test"
    lines = [f"{path},{path.parent.name},{part}" for path, part in parts.items()]
    (place / "shapes.csv").write_text("\n".join(["path,label,part", *lines]))
    train_model(read_table(place / "shapes.csv"), quick_recipe(), place / "runs" / "one")
    return place


@pytest.mark.parametrize("kind", ["leak", "group_leak", "bursts", "series"])
def test_what_lies_in_two_parts_is_leaked_and_what_does_not_is_not(kind: str) -> None:
    hashes = [f"{row:032x}" for row in range(6)]
    parts = ["train", "test", "test", "test", "validation", "test"]
    table = table_of(["a"] * 6, ("a",), hash=hashes, part=parts)
    found = Finding(kind, True, 6, "", "", "", (Evidence((0, 1)), Evidence((2, 3)), Evidence((4, 5))))
    assert leaked_hashes(gather(table, [found]), "test") == {hashes[1], hashes[5]}
    assert leaked_hashes(gather(table, [found]), "validation") == set()


@pytest.mark.parametrize(
    ("leaked", "said"),
    [
        (lambda table: set(), "no labelled test image of .* is leaked, so nothing flatters it. None was looked at."),
        (lambda table: set(table.samples["hash"]), "all labelled test images of .* are leaked, so none is left. None"),
    ],
)
def test_where_there_is_no_price_it_is_said_why(
    leaky: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture, leaked: Any, said: str
) -> None:
    path = Path(shutil.copytree(leaky / "runs", tmp_path / "runs")) / "one"
    found = leaked(check_run(path).table)
    monkeypatch.setattr(check, "leaked_hashes", lambda findings, part: found)
    main(["check", str(leaky / "shapes.csv"), "--price", str(path)])
    assert re.search(f"No price: {said}", " ".join(capsys.readouterr().err.split()))
    assert not ledger_path(path).exists()


def test_after_an_evaluation_the_price_is_a_further_look(leaky: Path, tmp_path: Path) -> None:
    path = Path(shutil.copytree(leaky / "runs", tmp_path / "runs")) / "one"
    run = check_run(path)
    test = run.table.part("test").samples["hash"]
    leaked = set(test) & set(run.table.part("train").samples["hash"])
    assert evaluate_run(run, "test").look == 1
    price = price_leak(run, leaked, "test")
    assert price is not None
    assert (price.look, price.clean.level, price.clean.method) == (2, 0.975, "Clopper-Pearson over images")
    noted = [json.loads(line) for line in ledger_path(path).read_text().splitlines()]
    assert [line["images"] for line in noted] == [30, 18]
    assert noted[1]["answers"].endswith(":price")
    again = price_leak(run, leaked, "test")
    assert again == price  # the same figures once more are no further look
    assert evaluate_run(run, "test").look == 2
    fewer = price_leak(run, set(sorted(leaked)[:6]), "test")
    assert fewer is not None
    assert fewer.look == 3  # another figure
    free = price_leak(run, set(run.table.part("validation").samples["hash"][:3]), "validation")
    assert free is not None
    assert (free.look, free.clean.level) == (0, 0.95)
    parts = [json.loads(line)["part"] for line in ledger_path(path).read_text().splitlines()]
    assert parts == ["test", "test", "test", "validation"]


def test_a_leak_is_priced_by_two_looks(leaky: Path, tmp_path: Path, capsys: Capture) -> None:
    shutil.copytree(leaky / "runs", tmp_path / "runs")
    path = tmp_path / "runs" / "one"
    run = check_run(path)
    assert price_leak(run, set(), "test") is None
    assert price_leak(run, set(run.table.samples["hash"]), "test") is None
    assert not ledger_path(path).exists()
    code = main(["check", str(leaky / "shapes.csv"), "--price", str(path), "--json"])
    told = json.loads(capsys.readouterr().out)
    assert code == 1
    assert len(ledger_path(path).read_text().splitlines()) == 2  # the figure with the leak, and that without
    price = told["price"]
    assert (price["part"], price["images"], price["leaked"], price["look"]) == ("test", 30, 12, 2)
    frame = run.predictions("test")
    hits = (frame["predicted"] == frame["label"]).to_numpy(float)
    seen = frame["hash"].isin(run.table.part("train").samples["hash"]).to_numpy()
    assert seen.sum() == 12
    assert price["whole"]["value"] == pytest.approx(hits.mean())
    assert price["clean"]["value"] == pytest.approx(hits[~seen].mean())
    assert price["worth"]["value"] == pytest.approx(hits.mean() - hits[~seen].mean())
    number = r"-?\d+\.\d"
    pattern = (
        rf"With the leak {number} %, without {number} %: the leak was worth {number} points \({number} to {number}\)"
    )
    assert re.match(pattern, price["sentence"])


def check_run(path: Path) -> Any:
    from tenfold.run import load_run

    return load_run(path)


def test_a_runs_predictions_tell_wrong_labels(leaky: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(leaky / "runs", tmp_path / "runs")
    run = check_run(tmp_path / "runs" / "one")
    validation = run.table.part("validation")
    truth = validation.labels()
    wrong = flipped(truth, 3, 0.12, seed=3)
    assert (wrong != truth).any()
    said = dict(zip(validation.samples["hash"], predicted(truth, 3, 6.0), strict=True))
    table = run.table.assign(
        label=[
            run.classes[wrong[list(said).index(text)]] if text in said else label
            for text, label in zip(run.table.samples["hash"], run.table.samples["label"], strict=True)
        ]
    )
    asked: list[Any] = []
    monkeypatch.setattr(check, "held_out_predictions", lambda runs: asked.append(runs) or said)
    findings = check_table(table, runs=[run])
    assert asked == [[run]]
    assert {name for [name] in named(findings, "label")} == {
        "/".join(Path(source).parts[-2:]) for source in validation.samples["source"][wrong != truth]
    }
    monkeypatch.undo()
    real = check.held_out_predictions([run, run])
    frame = run.predictions("validation")
    assert list(real) == frame["hash"].tolist()
    assert np.allclose(list(real.values()), np.array(frame["probability"].tolist()))


# Repair


def test_a_repaired_listing_is_read_without_what_is_doubtful(tmp_path: Path) -> None:
    folder = write_scenes(tmp_path / "my data, 1")
    save(folder / "cat" / "dark.png", (scene(900) * 0.05).astype(np.uint8))
    save(folder / "cat" / "same.png", scene(0))
    save(folder / "cat" / "both.png", scene(101))
    (folder / "dog" / "bad.png").write_bytes(b"no image")
    table = read_table(folder)
    findings = check_table(table)
    listing = tmp_path / "clean.csv"
    counts = write_repaired(table, findings, str(listing))
    assert check.is_repaired(str(listing))
    with listing.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    reasons = {row["path"].removeprefix("my data, 1/"): row["reason"] for row in rows if row["reason"]}
    assert list(rows[0]) == ["path", "label", "group", "reason"]
    assert set(reasons) == {"cat/dark.png", "cat/both.png", "dog/1.png", "dog/bad.png"}
    assert reasons["cat/dark.png"].startswith("too dark: the brightest hundredth has")
    assert reasons["dog/1.png"].startswith("there under two labels: cat or dog")
    assert reasons["dog/bad.png"].startswith("cannot be read: Cannot decode")
    clean = read_table(listing)
    assert len(clean) == counts["kept"] == 16
    assert counts == {"kept": 16, "left_out": 4, "grouped": 2}
    assert clean.notes == (
        f"Left out, as {listing} gives a reason (4): {', '.join(f'my data, 1/{n}' for n in reasons)}.",
    )
    grouped = clean.samples[clean.samples["group"].notna()]
    assert sorted(Path(source).name for source in grouped["source"]) == ["0.png", "same.png"]
    assert grouped["group"].nunique() == 1
    again = check_table(clean)
    assert again.decisions == ()


def test_repair_keeps_parts_groups_and_regions(tmp_path: Path) -> None:
    paths = [save(tmp_path / f"{number}.png", scene(number)) for number in range(6)]
    lines = [
        f"{paths[0].name},a,g1,train,,,,",
        f"{paths[1].name},a,,test,,,,",
        f"{paths[2].name},b,g3,train,,,,",
        f"{paths[3].name},b,g2,train,,,,",
        f"{paths[4].name},b,,train,0,0,50,40",
        f"{paths[4].name},b,,validation,50,40,110,90",
        f"{paths[5].name},a,,,,,,",
    ]
    source = tmp_path / "source.csv"
    source.write_text("\n".join(["path,label,group,part,x1,y1,x2,y2", *lines]))
    table = hashed(read_table(source))
    sets = {"leak": [Evidence((0, 1), "resized")], "bursts": [Evidence((2, 3)), Evidence((5, 6))]}
    name = f"alike-{min(table.samples['hash'][5:7])[:12]}"
    found = [Finding(kind, True, 2, "", "", "", tuple(items)) for kind, items in sets.items()]
    write_repaired(table, gather(table, found), tmp_path / "out.csv")
    repaired = read_table(tmp_path / "out.csv")
    assert [Path(name).stem for name in repaired.samples["source"]] == ["1", "2", "3", "4", "4", "5"]
    assert repaired.samples["part"].fillna("").tolist() == ["test", "train", "train", "train", "validation", ""]
    assert repaired.samples["group"].fillna("").tolist() == ["g1", *["g2 + g3"] * 2, "", name, name]
    assert repaired.samples["x2"].fillna(0).tolist() == [0, 0, 0, 50, 110, 0]
    with (tmp_path / "out.csv").open(encoding="utf-8") as file:
        [left] = [row for row in csv.DictReader(file) if row["reason"]]
    assert left["reason"].startswith("copy of ")
    assert left["reason"].endswith("1.png in the test part: resized")


def test_images_that_are_no_files_cannot_be_listed(tmp_path: Path) -> None:
    table = read_table(np.stack([scene(0), scene(1)]), labels=["a", "b"])
    with pytest.raises(UsageError, match="--fix writes a listing of files, and these images are no files of their own"):
        write_repaired(table, check_table(table), tmp_path / "out.csv")
    assert encoded(table, 0).shape == (90, 120, 3)  # type: ignore[union-attr]


# Findings


def test_findings_survive_json() -> None:
    table = table_of(["a", "b"], ("a", "b"), hash=["0" * 32, None], part=["train", None])
    one = Finding("leak", True, 2, "seen", "costly", "do", (Evidence((0, 1), "resized", (1,)),))
    note = Finding("imbalance", False, 2, "uneven", "none", "nothing")
    findings = gather(table, [note, None, one], table)
    assert kinds(findings) == ["leak", "imbalance"]
    text = json.dumps(findings.to_json())
    assert Findings.from_json(json.loads(text)) == findings
    told = json.loads(text)
    assert told["samples"]["0"] == {
        "name": "data/0.png",
        "hash": "0" * 32,
        "label": "a",
        "part": "train",
        "path": "/data/0.png",
    }
    [shown] = told["findings"][0]["sets"]
    assert (shown["rows"], shown["paths"]) == ([0, 1], ["/data/0.png", "/data/1.png"])
    assert (shown["others"], shown["other_paths"]) == ([1], ["/data/1.png"])
    assert told["together"] == {"images": 2, "sets": 1, "alone": 0}
    for sample in told["samples"].values():  # as an older version wrote it
        del sample["path"]
    del told["together"]
    assert [finding.sets for finding in Findings.from_json(told).found] == [finding.sets for finding in findings.found]
    assert findings.example(note) == ""
    for broken in ({}, {**findings.to_json(), "samples": 3}, {**findings.to_json(), "findings": [{"kind": "new"}]}):
        with pytest.raises(DataError, match="The findings are damaged or of another version"):
            Findings.from_json(broken)


def test_an_image_of_a_file_of_several_is_named_by_its_row_too() -> None:
    table = table_of(["a", "a"], ("a",), source=["/data/many.parquet"] * 2, row=[7, 8])
    findings = gather(table, [Finding("blurred", True, 1, "", "", "", (Evidence((1,)),))])
    assert findings.to_json()["findings"][0]["sets"][0]["paths"] == ["/data/many.parquet#8"]


def test_every_finding_has_evidence_price_and_remedy(tmp_path: Path) -> None:
    folder = write_scenes(tmp_path / "data")
    save(folder / "cat" / "dark.png", (scene(900) * 0.05).astype(np.uint8))
    save(folder / "Cat " / "one.png", scene(902))
    save(folder / "dog" / "same.png", scene(0))
    for finding in check_table(read_table(folder)).found:
        for text in (finding.evidence, finding.price, finding.remedy):
            assert re.fullmatch(r".{20,}\.", text), text
        assert finding.title == TITLES[finding.kind]
        assert finding.images >= max(len({row for item in finding.sets for row in item.rows}), 1)


# The page and the command


@pytest.fixture
def shown(tmp_path: Path) -> Path:
    """A page with every sort of evidence, and names that would break a page that does not escape."""
    folder = write_scenes(tmp_path / "data")
    save(folder / "cat" / "<b>dark&.png", (scene(900) * 0.05).astype(np.uint8))
    for number in range(9):
        save(folder / "cat" / f"a-very-long-name-of-a-copy-{number}.png", scene(0))
    (folder / "dog" / "bad.png").write_bytes(b"no image")
    table, other = read_table(folder), read_table(write_scenes(tmp_path / "other", ("cat",), 2))
    page = check_page("my <data>", check_table(table, against=other), table, other, "The leak was worth 1 point.")
    path = tmp_path / "check.html"
    path.write_text(page, encoding="utf-8")
    return path


def test_the_page_says_all_and_shows_the_images(shown: Path) -> None:
    text = shown.read_text(encoding="utf-8")
    assert "<b>dark" not in text
    assert "cat/&lt;b&gt;dark&amp;.png" in text
    assert "my &lt;data&gt;" in text
    assert "3 findings need a decision in 27 images, and there is 1 note." in text
    assert "The leak was worth 1 point." in text
    assert "dog/bad.png cannot be read" in text or "bad.png cannot be read" in text
    assert "4 more" in text  # ten copies, of which six are shown
    assert text.count("data:image/") == 1 + 6 + (6 + 1) + (1 + 1)  # dark, copies, the two that both data have
    assert not re.search(r"(?:src|href)=\"(?!data:|#)", text)


def test_a_headline_counts_in_words() -> None:
    note = Finding("imbalance", False, 2, "", "", "")
    one = Finding("dark", True, 2, "", "", "")
    assert headline(Findings(1)) == "Nothing needs a decision in 1 image."
    assert headline(Findings(2000, (one,))) == "1 finding needs a decision in 2,000 images."
    assert (
        headline(Findings(2, (one, one, note, note)))
        == "2 findings need a decision in 2 images, and there are 2 notes."
    )


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    sync_api = pytest.importorskip("playwright.sync_api", reason="needs playwright (uv sync)")
    if CHROMIUM is None:
        pytest.skip("needs a Chromium; tenfold doctor says how to get one")
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
    with sync_api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=options)
        yield chromium
        chromium.close()


@pytest.mark.parametrize(("width", "scheme"), [(320, "light"), (320, "dark"), (1200, "dark")])
def test_the_page_fits_a_phone_and_the_dark_and_asks_for_nothing(
    browser: Any, shown: Path, width: int, scheme: str
) -> None:
    page = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
    said: list[str] = []
    asked: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(shown.as_uri())
    page.wait_for_load_state("networkidle")
    assert page.evaluate("document.scrollingElement.scrollWidth - window.innerWidth") <= 0
    assert said == []
    assert [url for url in asked if not url.startswith("data:")] == [shown.as_uri()]
    assert page.locator("img:not([alt])").count() == 0
    for image in page.locator("img").all():
        assert image.evaluate("image => image.complete && image.naturalWidth > 0")
    shade = page.locator("body").evaluate("body => getComputedStyle(body).backgroundColor")
    assert (sum(map(int, re.findall(r"\d+", shade)[:3])) < 150) is (scheme == "dark")
    titles = page.get_by_role("heading", level=2).all_inner_texts()
    assert titles[0].startswith("Files that cannot be read")
    page.close()


def test_the_command_prints_a_table_and_exits_by_what_it_found(tmp_path: Path, capsys: Capture) -> None:
    folder = write_scenes(tmp_path / "data")
    assert main(["check", str(folder)]) == 0
    text = capsys.readouterr().out
    assert "16 images checked. To decide: 0; notes: 0." in text
    assert f"Next: tenfold split {folder}" in text
    save(folder / "cat" / "dark.png", (scene(900) * 0.05).astype(np.uint8))
    page, listing = tmp_path / "check.html", tmp_path / "clean.csv"
    assert main(["check", str(folder), "--page", str(page)]) == 1
    text = capsys.readouterr().out
    assert re.search(r"Dark +decide +1 +cat/dark\.png +1 image of 17 is so dark", text)
    assert max(map(len, text.splitlines()[:-2])) <= 120  # the last names a path of its own
    assert "Dark images" in page.read_text(encoding="utf-8")
    assert main(["check", str(folder), "--fix", str(listing)]) == 0  # what was to be decided is left out
    text = capsys.readouterr().out
    assert f"Listing: {listing} (kept 16, left out 1)\nLeft to decide in it: nothing." in text
    assert f"Next: tenfold split {listing}" in text
    assert main(["check", str(folder), "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert (told["images"], told["decisions"]) == (17, 1)
    assert Findings.from_json(told).find("dark") is not None
    assert told["findings"][0]["sets"][0]["paths"] == [str(folder / "cat" / "dark.png")]


def test_what_a_repair_cannot_decide_is_left_and_exits_with_1(tmp_path: Path, capsys: Capture) -> None:
    folder, listing = write_scenes(tmp_path / "data", each=7), str(tmp_path / "clean.csv")
    (folder / "dog" / "bad.png").write_bytes(b"no image")
    save(folder / "cat" / "dark.png", (scene(900) * 0.05).astype(np.uint8))
    for number in range(2):
        (folder / "cat" / f"{number}.png").unlink()
    assert main(["check", str(folder), "--fix", listing, "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert [finding["kind"] for finding in told["findings"]] == ["unreadable", "dark"]
    assert told["fix"]["to_decide"] == [TITLES["small_class"]]  # without the dark one there are five cats
    assert main(["check", listing]) == 1
    assert "To decide: 1; notes: 0." in capsys.readouterr().out
    for number in range(3):
        save(folder / "cat" / f"new-{number}.png", scene(800 + number))
    assert main(["check", str(folder), "--fix", listing, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["fix"]["to_decide"] == []
    assert main(["check", listing]) == 0


@pytest.mark.parametrize("option", ["--fix", "--page"])
@pytest.mark.parametrize(
    "taken",
    ["data.csv", "data.split.csv", "other.csv", "a/0.png", "report.html", "a", "edited.csv", "link.csv", "against.csv"],
)
def test_nothing_but_its_own_is_written_over(tmp_path: Path, capsys: Capture, option: str, taken: str) -> None:
    for name in "ab":
        for number in range(2):
            save(tmp_path / name / f"{number}.png", scene(10 * ord(name) + number))
    lines = [f"{name}/{number}.png,{name},," for name in "ab" for number in range(2)]
    own = "path,label,group,reason\n"  # all of these look like a listing that --fix wrote
    for name in ("data.csv", "against.csv"):
        (tmp_path / name).write_text("\n".join([own.strip(), *lines]) + "\n")
    (tmp_path / "link.csv").symlink_to(tmp_path / "data.csv")
    (tmp_path / "data.split.csv").write_text("hash,part\n" + "".join(f"{n:032x},train\n" for n in range(4)))
    (tmp_path / "other.csv").write_text("path,label\na/0.png,a\n")
    (tmp_path / "edited.csv").write_text("path,label,group,reasons\na/0.png,a,,\n")
    (tmp_path / "report.html").write_text("<!doctype html>\n<title>flowers · Tenfold</title>\n")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    words = ["check", str(tmp_path / "data.csv"), "--against", str(tmp_path / "against.csv")]
    assert main([*words, option, str(tmp_path / taken)]) == 2
    told = " ".join(capsys.readouterr().err.split())
    if taken in ("data.csv", "link.csv", "against.csv"):
        other = "--against" if taken == "against.csv" else "DATA"
        assert f"{option} must name a file of its own, not that of {other}," in told
    else:
        assert f"{option} writes over nothing but what {option} wrote, and" in told
        assert "is something else; give another name, or remove it first." in told
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before  # not even a cache


def test_what_a_check_wrote_is_written_anew(tmp_path: Path, capsys: Capture) -> None:
    folder = write_scenes(tmp_path / "data", each=6)
    page, listing = tmp_path / "check.html", tmp_path / "clean.csv"
    words = ["check", str(folder), "--page", str(page), "--fix", str(listing)]
    assert main(words) == 0
    before = page.read_bytes(), listing.read_bytes()
    save(folder / "cat" / "new.png", scene(500))
    assert main(words) == 0
    assert page.read_bytes() != before[0]
    assert len(listing.read_bytes().splitlines()) == len(before[1].splitlines()) + 1
    capsys.readouterr()
    assert main(["check", str(folder), "--page", str(listing)]) == 2
    assert main(["check", str(folder), "--fix", str(page)]) == 2
    new = str(tmp_path / "new.csv")
    assert main(["check", str(folder), "--fix", new, "--page", new]) == 2
    assert "--page must name a file of its own, not that of --fix" in " ".join(capsys.readouterr().err.split())
    assert not Path(new).exists()


def test_the_command_follows_the_split_beside_the_data(tmp_path: Path, capsys: Capture) -> None:
    folder = write_scenes(tmp_path / "data")
    assert main(["split", str(folder), "--json"]) == 0
    capsys.readouterr()
    written = tmp_path / "data.split.csv"
    lines = written.read_text(encoding="utf-8").splitlines()
    trained = next(line.rsplit(",", 1)[1] for line in lines if ",train,cat" in line)
    with Image.open(tmp_path / trained) as image:
        save(folder / "cat" / "copy.jpg", np.asarray(image), quality=92)
    assert main(["check", str(folder)]) == 0  # not in the split yet, where it will join its like
    table = read_table(folder)
    place = [Path(source).name for source in table.samples["source"]].index("copy.jpg")
    written.write_text("\n".join([*lines, f"{survey_table(table).hashes[place]},test,cat,,copy.jpg"]) + "\n")
    capsys.readouterr()
    assert main(["check", str(folder), "--json"]) == 1
    [leak] = [finding for finding in json.loads(capsys.readouterr().out)["findings"] if finding["kind"] == "leak"]
    assert leak["images"] == 2
    other = tmp_path / "other.csv"
    other.write_text("\n".join(lines) + "\n")
    assert main(["check", str(folder), "--split", str(other)]) == 0


def test_a_run_that_is_none_is_refused(tmp_path: Path, capsys: Capture) -> None:
    folder = write_scenes(tmp_path / "data", each=2)
    assert main(["check", str(folder), "--run", str(tmp_path)]) == 3
    assert "is neither a run nor a folder of folds" in capsys.readouterr().err
    assert main(["check", str(folder), "--price", str(tmp_path)]) == 3
    assert "is not a run" in capsys.readouterr().err


# Real images


def test_clean_flowers_are_left_in_peace(shared_data: Path) -> None:
    folder = shared_data / "flowers"
    paths = [path for name in sorted(folder.iterdir()) if name.is_dir() for path in sorted(name.glob("*.jpg"))[:40]]
    table = read_table(paths, labels=[path.parent.name for path in paths])
    findings = check_table(table)
    assert not {"dark", "blank", "blurred", "unreadable"} & set(kinds(findings))


def test_estimates_in_the_price_are_whole() -> None:
    one, other = Estimate(0.9, 0.8, 0.95, 0.95, 10, "A"), Estimate(0.7, 0.6, 0.8, 0.95, 30, "B")
    worth = leak_worth(one, other)
    assert (worth.n, worth.level, worth.method) == (40, 0.95, "Newcombe from A and B")
    assert worth.low == pytest.approx(0.25 * (0.2 - 0.1 * 2**0.5))
