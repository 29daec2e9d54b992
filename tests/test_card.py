"""The model card says what the run holds, in Markdown that means it, and what it tells people to type works."""

from __future__ import annotations

import re
import shlex
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from markdown_it import MarkdownIt  # rich brings it
from PIL import Image

from tenfold.__main__ import main
from tenfold.estimate import Estimate, clopper_pearson
from tenfold.models.weights.published import NON_COMMERCIAL
from tenfold.recipe import Recipe
from tenfold.report import write_card
from tenfold.report.card import MOST_CLASSES, basis, markdown
from tenfold.run import Run
from tenfold.tasks import TASKS
from tenfold.train import train_model
from tests.report_run import FakeRun, make_run
from tests.toys import draw_shape, quick_recipe, shapes_table

FLOWERS = ("roses", "tulips", "daisy")


def rendered(markdown_text: str) -> str:
    """HTML as CommonMark with GitHub's tables and strikethrough gives it, spaces evened out."""
    html = MarkdownIt("commonmark").enable(["table", "strikethrough"]).render(markdown_text)
    return " ".join(html.replace("\u00a0", " ").split())


def words(html: str) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", html).split())


def card_of(run: FakeRun | Run) -> str:
    return rendered(write_card(run).read_text("utf-8"))


@pytest.fixture(scope="module")
def flowers(tmp_path_factory) -> FakeRun:
    return make_run(tmp_path_factory.mktemp("flowers"), FLOWERS, each=20, look=2)


@pytest.fixture(scope="module")
def card(flowers) -> str:
    return card_of(flowers)


def test_it_lies_in_the_run_as_its_readme(flowers, card):
    assert write_card(flowers) == flowers.path / "README.md"
    assert re.findall(r"<h[12]>(.*?)</h[12]>", card) == [
        "Model card: run", "What it is", "What it learned from", "How good it is", "What it is not for",
        "Whose weights these are", "Use it", "Repeat it",
    ]  # fmt: skip


def test_the_headline_is_that_of_the_test_part_with_its_interval_and_look(flowers, card):
    frame = flowers.frames["test"]
    right, count = int((frame["label"] == frame["predicted"]).sum()), len(frame)
    low, high = (100 * end for end in clopper_pearson(right, count, 0.975))
    assert (
        f"On {count} test images it had never seen, the model named the right class {100 * right / count:.1f} % "
        f"of the time ({low:.1f} to {high:.1f}, 97.5 % Clopper-Pearson).</p>" in card
    )
    assert "<li>This test part has had 2 looks: " in card


def test_it_says_what_the_model_is_and_learned_from(card):
    assert "<li>Network: residual, 2,468 parameters</li> <li>Input: 64 × 64 pixels, rgb</li>" in card
    assert "<li>Classes (3): roses, tulips, daisy</li>" in card
    assert "Part Images train 70 validation 70 test 70" in words(card)
    assert "could not be read: 1; <code>environment.json</code>" in card
    assert "Origin: trained from scratch" in card
    assert "License: none stated" in card
    assert "Made with Python 3.11.9, torch 2.14.0, numpy 2.4.0." in card


def test_it_says_what_the_weights_may_not_be_used_for(flowers, card):
    assert "Note:" not in card
    weights = {"origin": "net, file_of.pth", "licence": "CC-BY-NC-4.0", "sha256": "ab" * 32, "note": NON_COMMERCIAL}
    found = card_of(replace(flowers, card=flowers.card | {"weights": weights}))
    assert "<li>Origin: net, file_of.pth</li> <li>License: CC-BY-NC-4.0</li>" in found
    assert "<li>Note: <strong>non-commercial: not for products or paid work</strong></li>" in found
    write_card(flowers)


def test_the_first_figures_of_both_parts_stand_in_a_table(flowers, card):
    shown = []
    for part in ("test", "validation"):
        figure = flowers.evaluations[part]["figures"]["balanced_accuracy"]
        shown.append(f"{100 * figure['value']:.1f} % ({100 * figure['low']:.1f} to {100 * figure['high']:.1f})")
    assert "Figure Test Validation Accuracy" in words(card)
    assert f"Balanced accuracy {shown[0]} {shown[1]}" in words(card)
    assert "holds the other figures" in card


def test_it_names_the_classes_found_least_often(flowers, card):
    rows = flowers.evaluations["test"]["details"]["per_class"]
    recalls = {row["class"]: row["recall"]["value"] for row in rows}
    listed = words(card).split("Found least often, of the test images of each class:")[1].split("What it is not")[0]
    expected = [f"{name}: {100 * recalls[name]:.1f} %" for name in sorted(recalls, key=recalls.get)]
    assert re.findall(r"\w+: [\d.]+ %", listed) == expected


def test_of_a_class_in_few_groups_it_says_so(tmp_path):
    run = make_run(tmp_path, FLOWERS, evaluated=("test",))
    for row in run.evaluations["test"]["details"]["per_class"]:
        row["recall"]["method"] = "Wilson over 2 groups"
    recalls = [row["recall"]["n"] for row in run.evaluations["test"]["details"]["per_class"]]
    card = card_of(run)
    assert any(f"of {n} in 2 groups" in card for n in recalls)
    assert basis(Estimate(1.0, 0.1, 1.0, 0.95, 9, "Wilson over 1 group")) == "9 in 1 group"
    assert basis(Estimate(1.0, 0.1, 1.0, 0.95, 9, "Wilson over images (2 groups are too few to count by)")) == "9"


@pytest.mark.parametrize(
    ("evaluated", "says"),
    [((), "This model has not been evaluated yet."), (("validation",), "On 14 validation images held back")],
)
def test_before_the_test_part_was_looked_at(tmp_path, evaluated, says):
    card = card_of(make_run(tmp_path, FLOWERS, each=4, evaluated=evaluated))
    assert says in card
    assert "The test part (14 images) is still sealed" in card
    assert ("Not evaluated yet." in card) == (not evaluated)


@pytest.mark.parametrize(
    "text",
    [
        "*bold* _it_ `code`",
        "<b>&amp;</b><script>",
        "[a](http://b) ![c](d)",
        "a|b ~~c~~ \\* # $x$",
        "Hoa hồng 🌷",
        "a\nb",
    ],
)
def test_no_name_is_markup(text):
    escaped = markdown(text)
    html = rendered(f"x {escaped}\n\n| a |\n|---|\n| {escaped} |\n")
    shown = (
        " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace('"', "&quot;")
    )
    assert html.startswith(f"<p>x {shown}</p>")
    assert f"<td>{shown}</td>" in html


def test_a_run_s_own_names_are_not_markup_either(tmp_path):
    names = ("*a*|b", "<img src=x>", "[c](http://d)")
    run = make_run(tmp_path / "_x_ `y`", names, each=4)
    run = replace(run, recipe=Recipe().change(data={"path": "/a_b_c/<i>"}), environment={"python": "<b>3</b>"})
    card = card_of(run)
    assert not re.search(r"<(img|a|em|i|b|del)\b", card)
    assert "Classes (3): *a*|b, &lt;img src=x&gt;, [c](http://d)</li>" in card
    assert "Images: /a_b_c/&lt;i&gt;" in card


def test_of_many_classes_it_names_the_first(tmp_path):
    names = tuple(f"person {number}" for number in range(MOST_CLASSES + 1))
    card = card_of(make_run(tmp_path, names, each=1, evaluated=()))
    assert f"Classes ({MOST_CLASSES + 1}): person 0, person 1" in card
    assert f"person {MOST_CLASSES - 1}, and others; <code>model.json</code> names all" in card
    assert f"person {MOST_CLASSES}" not in card


def test_it_tells_what_the_parts_have_in_common(tmp_path):
    run = make_run(tmp_path, ("a", "b"), each=2, evaluated=())
    assert "No groups were given." in card_of(run)
    parts = run.table.samples["part"]
    apart = replace(
        run, table=run.table.assign(group="camera of " + parts, hash=[f"{n:032}" for n in range(len(parts))])
    )
    assert "Images of one group are all in one part." in card_of(apart)
    assert "Part Images Groups train 5 1 validation 5 1 test 5 1" in words(card_of(apart))
    assert "flatter" not in card_of(apart)
    alike = ["alike-0123456789ab"] * 2 + [None] * (len(parts) - 2)
    found = card_of(replace(run, table=run.table.assign(group=alike)))
    assert "No groups were given." in found  # nobody gave any
    assert (
        "2 images are copies, shots in a row or of one picture, in 1 set that were found; each set counts as one in "
        "the intervals."
    ) in found
    assert "Groups" not in found
    torn = card_of(replace(run, table=run.table.assign(group=["alike-0123456789ab"] * len(parts))))
    assert "Such sets with images in more than one part: 1. The figures flatter the model." in torn
    mixed = card_of(replace(run, table=run.table.assign(group=["x"] * len(parts), hash=["0" * 32] * len(parts))))
    assert "Groups with images in more than one part: 1. The figures flatter the model." in mixed
    assert "Images with identical copies in another part: 1. The figures flatter the model." in mixed


def test_a_task_of_another_kind_has_a_card(tmp_path):
    run = make_run(tmp_path, (), each=0, evaluated=())
    iou = Estimate(0.71, 0.61, 0.79, 0.9, 1, "bootstrap over images")
    run.evaluations["test"] = {"part": "test", "n": 1, "look": 1, "figures": {"box_iou": iou.to_json()}, "details": {}}
    card = card_of(replace(run, task=replace(TASKS["classification"], name="boxes", blocks=())))
    assert "Task: boxes" in card
    assert "Box iou 0.710 (0.610 to 0.790)" in words(card)
    assert "It knows the classes" not in card


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Run:
    folder = tmp_path_factory.mktemp("shapes")
    run = train_model(shapes_table(folder / "shapes"), quick_recipe(train={"epochs": 1}), folder / "runs" / "first")
    assert main(["evaluate", str(run.path)]) == 0  # writes the card
    Image.fromarray(draw_shape("disc", np.random.default_rng(1))).save(run.path / "photo.jpg")
    return run


def blocks(run: Run, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", (run.path / "README.md").read_text("utf-8"), re.DOTALL)


def test_evaluate_and_report_write_it(trained):
    assert "validation images held back" in (trained.path / "README.md").read_text("utf-8")
    (trained.path / "README.md").unlink()
    assert main(["report", str(trained.path)]) == 0
    assert "validation images held back" in (trained.path / "README.md").read_text("utf-8")


def test_what_it_tells_to_type_works_in_the_folder(trained, monkeypatch, capsys):
    monkeypatch.chdir(trained.path)
    [shell] = blocks(trained, "sh")
    assert main(shlex.split(shell)[1:]) == 0
    use, repeat = blocks(trained, "python")
    exec(use, {})
    assert "photo.jpg {'logits': array(" in capsys.readouterr().out
    exec(repeat, {})  # the recipe of a table that was read in Python names no data
    again, first = (Path(path, "model.safetensors").read_bytes() for path in ("../again", "."))
    assert again == first


def test_a_recipe_with_its_data_is_repeated_by_a_command(flowers):
    run = replace(flowers, recipe=Recipe().change(data={"path": "digits"}))
    write_card(run)
    assert shlex.split(blocks(run, "sh")[1]) == ["tenfold", "train", "recipe.toml", "--out", "../again"]
