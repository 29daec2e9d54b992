"""A headline never says "never seen" of images whose copies are known to stand in an earlier part."""

import shutil
from dataclasses import replace

import pytest

from tenfold.__main__ import main
from tenfold.check import check_table, leaked_hashes
from tenfold.check.findings import Findings
from tenfold.estimate import from_json
from tenfold.images.content import hashed
from tenfold.images.readers import read_table
from tenfold.recipe import Recipe
from tenfold.report import write_card, write_report
from tenfold.report.context import Context
from tenfold.report.headline import headline
from tenfold.report.leaked import leaked_images
from tenfold.report.thumbnails import Thumbnails
from tenfold.train import train_model
from tests.report_run import make_run
from tests.toys import quick_recipe, shapes_table

FLOWERS = ("roses", "tulips", "daisy")


def with_copies(folder, *pairs, checked=True, evaluated=("test",)):
    """A run, some images of which were overwritten by others: (from, to), each (part, place in that part)."""
    run = make_run(folder, FLOWERS, each=4, evaluated=evaluated)
    run.recipe = Recipe().change(data={"path": "my data"})
    sources = {part: run.table.part(part).samples["source"].tolist() for part in ("train", "validation", "test")}
    for (part, place), (other, there) in pairs:
        shutil.copyfile(sources[part][place], sources[other][there])
    run.table = hashed(run.table)
    run.findings = check_table(run.table).to_json() if checked else {}
    return run


def top(run, part="test", **changes):
    return headline(run, Context(run, from_json(run.evaluations[part]) | changes, Thumbnails(run.table)))


@pytest.mark.parametrize("checked", [True, False])
def test_without_a_copy_the_images_are_new(tmp_path, checked):
    found = top(with_copies(tmp_path, (("train", 0), ("train", 1)), checked=checked))
    assert found.sentence.startswith("On 14 test images it had never seen, the model named")
    assert not any("flatter" in fact for fact in found.facts)
    assert any("was not checked" in fact for fact in found.facts) == (not checked)


@pytest.mark.parametrize("checked", [True, False])
def test_copies_are_counted_where_new_was_said(tmp_path, checked):
    """Identical ones are known from the run's own images, without any check."""
    pairs = ((("train", 0), ("test", 1)), (("validation", 0), ("test", 2)), (("train", 1), ("validation", 3)))
    run = with_copies(tmp_path, *pairs, checked=checked)
    found = top(run)
    said = "On 14 test images, of which 2 have a copy in the training or validation part, the model named"
    assert found.sentence.startswith(said)
    price = f"tenfold check 'my data' --price {run.path} says by how much, at the price of one more look at this test"
    assert found.facts[0] == f"That may flatter the model; {price} part."
    assert said in write_card(run).read_text("utf-8")
    page = write_report(run).read_text("utf-8")
    assert f"<h1>{said}" in page
    assert "never seen" not in page


def test_one_copy_is_one(tmp_path):
    run = with_copies(tmp_path, (("train", 0), ("test", 1)))
    assert leaked_images(run, "test").words == "1 has a copy in the training or validation part"


def test_near_copies_and_groups_are_known_from_the_check_alone(tmp_path):
    run = with_copies(tmp_path, (("train", 0), ("test", 1)))
    content = run.findings
    run.table = replace(run.table, samples=run.table.samples.assign(hash=[f"{row:032x}" for row in range(42)]))
    content["samples"] = {row: sample | {"hash": f"{int(row):032x}"} for row, sample in content["samples"].items()}
    assert leaked_images(run, "test").words == "1 has a copy in the training or validation part"
    content["findings"] = [
        one | {"kind": "bursts", "title": "Shots in a row"} for one in content["findings"] if one["kind"] == "leak"
    ]
    assert len(leaked_hashes(Findings.from_json(content), "test")) == 1
    words = "1 has a copy, or an image of the same group or row of shots, in the training or validation part"
    assert leaked_images(run, "test").words == words
    run.findings = {}
    assert leaked_images(run, "test").images == 0


def test_what_is_in_no_figure_is_not_counted(tmp_path):
    run = with_copies(tmp_path, (("train", 0), ("test", 1)), (("train", 2), ("test", 3)))
    source = run.table.part("test").samples["source"].iloc[1]
    assert leaked_images(run, "test").images == 2
    assert leaked_images(run, "test", {source: "why"}).images == 1
    assert "of which 1 has" in top(run, unreadable={source: "why"}).sentence
    labels = run.table.samples["label"].where(run.table.samples["source"] != source)
    run.table = replace(run.table, samples=run.table.samples.assign(label=labels))
    assert leaked_images(run, "test").images == 1


def test_of_the_validation_part_no_price_is_advised_that_would_open_the_test_part(tmp_path):
    run = with_copies(tmp_path, (("train", 0), ("validation", 1)), evaluated=("validation",))
    found = top(run, "validation")
    assert found.sentence.startswith("On 14 validation images, of which 1 has a copy in the training part, the model")
    assert found.facts[0] == (
        "That may flatter the model; tenfold check 'my data' --page check.html shows which they are."
    )
    run.table = run.table.without("test")
    assert f"--price {run.path} says by how much." in top(run, "validation").facts[0]
    run.recipe = Recipe()
    assert "tenfold check DATA --price" in top(run, "validation").facts[0]


def test_the_command_says_it_of_a_run_that_was_not_checked(tmp_path, capsys):
    table = shapes_table(tmp_path / "data", 10)
    known, tested = (table.part(part).samples["source"].iloc[0] for part in ("train", "test"))
    shutil.copyfile(known, tested)
    parts = dict(zip(table.samples["source"], table.samples["part"], strict=True))
    table = read_table(tmp_path / "data")
    table = replace(table, samples=table.samples.assign(part=table.samples["source"].map(parts).astype("string")))
    run = train_model(table, quick_recipe(train={"epochs": 1}), tmp_path / "run")
    assert run.findings == {}
    capsys.readouterr()
    said = "Of these test images, 1 has a copy in the training or validation part. That may flatter the model; "
    for part, heard in (("validation", ""), ("test", said)):
        assert main(["evaluate", str(run.path), "--part", part, "--json"]) == 0
        err = capsys.readouterr().err
        assert heard in err
        assert ("flatter" in err) == bool(heard)
