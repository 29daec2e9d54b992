"""Augmented copies: nothing is dealt to them, whatever splits, counts or judges, and each follows its image."""

from __future__ import annotations

import csv
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tenfold.augment.policy import Policy
from tenfold.augment.save import Saving, save_augmented
from tenfold.augment.tree import op
from tenfold.commands.augment_data import read_source
from tenfold.errors import DataError, UsageError
from tenfold.images.content import hashed
from tenfold.images.preprocess import Preprocessing
from tenfold.images.readers import read_table
from tenfold.images.readers.listing import COPY_OF
from tenfold.images.table import Table, load_table, make_samples, stack_tables, write_table
from tenfold.models.heads import choose_strength
from tenfold.recipe import Recipe
from tenfold.report.leaked import leaked_images
from tenfold.split import (
    advise_split,
    apply_split,
    fold_tables,
    limit_table,
    read_split,
    split_path,
    split_table,
    write_split,
)
from tenfold.train import folds as folds_module
from tenfold.train.begin import _listing
from tenfold.transfer import Eye, climb_table, fold_numbers
from tests.frozen import tiny_extractor
from tests.report_run import make_run
from tests.test_split import digest, parts_of, random_table, table_of
from tests.toys import write_shapes

MADE = Preprocessing("rgb", 24, 28, "crop", "triangle", 255, (0.5, 0.4, 0.3), (0.2, 0.25, 0.3))


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TENFOLD_CACHE", str(tmp_path / "cache"))


def with_copies(table: Table, each: int = 3, *, same: tuple[int, ...] = (), parts: bool = False) -> Table:
    """The table, and after it copies of each of its images as `tenfold augment` lists them.

    The first copy of the images at `same` has their bytes; `parts`: copies are given that of their image.
    """
    samples = table.samples
    rows = np.repeat(np.arange(len(table)), each).tolist()
    hashes = [
        samples["hash"][row] if row in same and not place % each else digest(f"copy {row} {place}")
        for place, row in enumerate(rows)
    ]
    columns: dict[str, object] = {
        "source": [f"/copies/{row}-copy{place}.png" for place, row in enumerate(rows)],
        "hash": hashes,
        "origin": samples["hash"][rows].tolist(),
        "label": samples["label"][rows].tolist(),
        "group": samples["group"].where(samples["group"].notna(), samples["hash"])[rows].tolist(),
        "part": samples["part"][rows].tolist() if parts else None,
        "copy": [True] * len(rows),
    }
    made = Table(make_samples(columns, len(rows)), table.classes)
    return stack_tables([replace(table, notes=()), made])


def copies_of(table: Table) -> Table:
    return table.take(np.flatnonzero(table.samples["copy"]))


def images_of(table: Table) -> Table:
    return table.take(np.flatnonzero(~table.samples["copy"]))


def assert_followed(table: Table) -> None:
    """Slow and obvious: every copy is in training if its image is, and nowhere else."""
    images, copies = images_of(table).samples, copies_of(table).samples
    for row in range(len(copies)):
        own = images[images["hash"] == copies["origin"][row]]
        is_same = (images["hash"] == copies["hash"][row]).any()
        assert len(own)
        wanted = set(own["part"].dropna()) == {"train"} and not is_same
        assert (copies["part"][row] == "train") == wanted
        assert wanted or not isinstance(copies["part"][row], str)


# The split


@pytest.mark.parametrize("seed", range(6))
def test_images_are_split_as_if_the_copies_were_not_there(seed: int) -> None:
    table = random_table(seed)
    alone = split_table(table, seed=seed)
    whole = split_table(with_copies(table, same=(0, 3, 7)), seed=seed)
    assert parts_of(images_of(whole)) == parts_of(alone)
    assert_followed(whole)
    assert whole.notes[: len(alone.notes) - 1] == alone.notes[:-1]
    assert parts_of(images_of(split_table(with_copies(table), per_class=4, seed=seed))) == parts_of(
        split_table(table, per_class=4, seed=seed)
    )


def test_strata_are_of_images_though_a_few_have_many_copies() -> None:
    table = table_of(["a"] * 40 + ["b"] * 40)
    many = with_copies(table, 9).take([*range(80), *range(80, 80 + 9 * 10)])  # of the first ten
    split = images_of(split_table(many, validation=0.25, test=0.25))
    for part in ("validation", "test"):
        assert Counter(split.part(part).samples["label"]) == {"a": 10, "b": 10}


def test_a_copy_that_is_its_image_has_neither_a_part_nor_a_line(tmp_path: Path) -> None:
    table = with_copies(table_of(["a", "b"] * 20), same=tuple(range(40)))
    split = split_table(table)
    assert_followed(split)
    same = "that are the same as an image (40)"
    assert any(same in note and "not in the training part (24)" in note for note in split.notes)
    write_split(split, tmp_path / "s.csv")
    assert max(Counter(entry.hash for entry in read_split(tmp_path / "s.csv")).values()) == 1
    again = apply_split(table, tmp_path / "s.csv")
    assert parts_of(again) == parts_of(split)
    assert any(same in note for note in again.notes)
    write_split(again, tmp_path / "s.csv")
    assert parts_of(apply_split(table, tmp_path / "s.csv")) == parts_of(split)


def test_copies_with_the_same_bytes_of_images_in_two_parts_leave_a_file_that_can_be_read(tmp_path: Path) -> None:
    table = with_copies(table_of(["a", "b"] * 20), 1)
    hashes = table.samples["hash"].tolist()
    table = split_table(table.assign(hash=[*hashes[:40], *[digest("black")] * 40]))
    write_split(table, tmp_path / "s.csv")
    write_split(apply_split(table, tmp_path / "s.csv"), tmp_path / "s.csv")
    assert parts_of(apply_split(table, tmp_path / "s.csv")) == parts_of(table)
    assert_followed(table)


def test_copies_that_are_given_to_training_follow_an_image_that_is_given_elsewhere(tmp_path: Path) -> None:
    table = table_of(["a", "b"] * 20, part=["train", "validation", "test", "train"] * 10)
    table = with_copies(table, 2)
    table = table.assign(part=[*parts_of(table)[:40], *["train"] * 80])
    assert_followed(split_table(table))
    write_split(images_of(table), tmp_path / "s.csv")
    assert_followed(apply_split(table, tmp_path / "s.csv"))


def test_copies_follow_an_image_that_a_person_moves(tmp_path: Path) -> None:
    table = with_copies(table_of(["a", "b"] * 20), 2)
    split, file = split_table(table), tmp_path / "s.csv"
    write_split(split, file)
    swap = {"train": "test", "test": "train"}
    moved = [
        entry if "copy" in entry.path else entry._replace(part=swap.get(entry.part, entry.part))
        for entry in read_split(file)
    ]
    with file.open("w", newline="") as text:
        csv.writer(text).writerows([moved[0]._fields, *moved])
    again = apply_split(table, file)
    assert parts_of(images_of(again)) == [swap.get(part or "", part) for part in parts_of(images_of(split))]
    assert_followed(again)


def test_a_copy_that_a_person_leaves_out_stays_out(tmp_path: Path) -> None:
    table, file = with_copies(table_of(["a", "b"] * 20), 1), tmp_path / "s.csv"
    write_split(split_table(table), file)
    entries = read_split(file)
    out = [entry.hash for entry in entries if "copy" in entry.path][:3]
    with file.open("w", newline="") as text:
        csv.writer(text).writerows(
            [entries[0]._fields, *(entry._replace(part="") if entry.hash in out else entry for entry in entries)]
        )
    again = apply_split(table, file)
    assert "s.csv leaves out 3 augmented copies: they have an empty part in it." in again.notes
    trained = set(again.part("train").samples["hash"])
    assert not trained & set(out)
    write_split(again, file)
    assert parts_of(apply_split(table, file)) == parts_of(again)
    fitted = set().union(*(fold.part("train").samples["hash"] for fold in fold_tables(again, 4)))
    assert not fitted & set(out)  # though copies that were left out as their image is judged come back


def test_copies_of_an_image_that_is_elsewhere_follow_what_the_file_says_of_it(tmp_path: Path) -> None:
    table = with_copies(table_of(["a", "b"] * 20), 2)
    split = split_table(table)
    write_split(images_of(split), tmp_path / "s.csv")
    rows = [0, *range(40, 120)]
    found = apply_split(table.take(rows), tmp_path / "s.csv")
    assert parts_of(copies_of(found)) == parts_of(copies_of(split))


def test_copies_of_copies_follow_the_image(tmp_path: Path) -> None:
    """As a listing that names the copy, not the image, has them."""
    table = with_copies(table_of(["a", "b"] * 20), 1)
    more = table.take(np.arange(40, 80))
    more = more.assign(
        hash=[digest(f"again {row}") for row in range(40)], origin=more.samples["hash"], group=[None] * 40
    )
    split = split_table(stack_tables([table, more]))
    assert parts_of(split)[40:80] == parts_of(split)[80:]


def test_a_copy_that_is_like_an_image_elsewhere_is_left_out() -> None:
    table = with_copies(table_of(["a", "b"] * 20), 1)
    split = split_table(table)
    parts = parts_of(split)
    row, other = parts.index("train"), parts.index("test")
    for tie in ("alike", "group"):
        tied = replace(table, alike={table.samples["hash"][40 + row]: "s", table.samples["hash"][other]: "s"})
        if tie == "group":
            groups: list[object] = [None] * 80
            groups[40 + row] = groups[other] = "g"
            tied = table.assign(group=groups)
        found = parts_of(split_table(tied))
        assert (found[row], found[other], found[40 + row]) == ("train", "test", None)


# Folds


@pytest.mark.parametrize("seed", range(4))
def test_folds_are_dealt_to_images_alone(seed: int) -> None:
    table = random_table(seed)
    whole = with_copies(table, 2, same=(1, 2))
    for one, other in zip(fold_tables(table, 4, repeats=2), fold_tables(whole, 4, repeats=2), strict=True):
        assert parts_of(images_of(other)) == parts_of(one)
        assert_followed(other)
    assert any("augmented copies" in note for note in other.notes)
    [alone], [every] = fold_numbers(hashed(table), 4, 1), fold_numbers(whole, 4, 1)
    assert every[: len(table)].tolist() == alone.tolist()
    assert every[len(table) :].tolist() == np.repeat(alone, 2).tolist()


def test_folds_after_a_split_train_with_the_copies_of_validation_images_and_of_no_test_image() -> None:
    table = split_table(with_copies(table_of(["a", "b"] * 20), 2))
    held = set(table.part("test").samples["hash"])
    for fold in fold_tables(table, 4):
        assert_followed(fold.take(np.flatnonzero(~fold.samples["origin"].isin(held))))
        assert not held & set(fold.part("train").samples["origin"].dropna())
    only = images_of(table).assign(part=[part if part == "test" else None for part in parts_of(table)[:40]])
    for fold in fold_tables(with_copies(only, 2), 4):  # nothing but a test part is known
        assert not held & set(fold.part("train").samples["origin"].dropna())
        assert len(fold.part("train")) == 3 * (40 - len(held) - len(fold.part("validation")))


def test_copies_whose_image_is_not_there_are_never_judged() -> None:
    table = with_copies(table_of(["a", "b"] * 20), 2).take(range(10, 120))
    for fold in fold_tables(table, 5):
        assert not fold.part("validation").samples["copy"].any()
        assert set(table.samples["hash"][30:50]) <= set(fold.part("train").samples["hash"])


def test_copies_alone_are_refused_wherever_something_is_judged(tmp_path: Path) -> None:
    table = with_copies(table_of(["a", "b"] * 20), 2)
    write_split(split_table(table), tmp_path / "s.csv")
    alone = copies_of(table)
    for judging in (
        lambda: fold_tables(alone, 4),
        lambda: apply_split(alone, tmp_path / "s.csv"),
        lambda: split_table(alone),
        lambda: advise_split(alone),
        lambda: fold_numbers(alone, 4, 1),
    ):
        with pytest.raises(DataError, match="All 80 images are augmented copies"):
            judging()
    assert parts_of(split_table(alone, validation=0, test=0)) == ["train"] * 80
    with pytest.raises(UsageError, match="the training part has augmented copies alone"):
        climb_table(alone.assign(part=["train"] * 80), [Eye(tiny_extractor(), {})])


def test_a_run_goes_on_where_a_copy_is_its_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = split_table(with_copies(table_of(["a", "b"] * 20), same=tuple(range(40))))
    kept = table.take(np.flatnonzero(table.samples["part"].notna()))
    (tmp_path / "recipe.toml").write_text("")

    class Found:
        def __init__(self, folder: Path) -> None:
            self.table = kept

    monkeypatch.setattr(folds_module, "Run", Found)
    trainer = folds_module.Trainer(resume=lambda folder, progress: "resumed")  # type: ignore[arg-type,return-value]
    found = folds_module.train_or_resume(table, Recipe(), tmp_path, "", print, trainer)
    assert found == "resumed"


# What counts images


@pytest.mark.parametrize("seed", range(4))
def test_a_limit_counts_images_and_copies_follow(seed: int) -> None:
    table = split_table(random_table(seed))
    whole = split_table(with_copies(unparted(table), 3, same=(0, 5)))
    for per_class in (2, 6):
        limited = limit_table(whole, per_class, seed=seed)
        assert parts_of(images_of(limited)) == parts_of(limit_table(table, per_class, seed=seed))
        assert_followed(limited)


def unparted(table: Table) -> Table:
    return table.assign(part=[None] * len(table))


def test_a_limit_takes_copies_of_each_image_that_is_not_there_before_more_of_one() -> None:
    table = copies_of(with_copies(table_of(["a"] * 10), 4)).assign(part=["train"] * 40)
    kept = limit_table(table, 10).part("train")
    assert len(kept) == kept.samples["origin"].nunique() == 10


@pytest.mark.parametrize("images", [12, 50])
def test_advice_counts_images(images: int) -> None:
    table = table_of(["a", "b"] * images)
    alone, whole = advise_split(table), advise_split(with_copies(table, 5, same=(1,)))
    assert whole == alone
    assert whole.separate == 2 * images
    assert f"Advised for {2 * images} images" in whole.reasons[0]


def test_the_ladder_is_climbed_by_images_alone(tmp_path: Path) -> None:
    table = hashed(read_table(write_shapes(tmp_path / "shapes", 8)))
    policy = Policy("p", (op("rotate", 20),))
    listing = save_augmented(table, policy, MADE, tmp_path / "out", Saving(count=2)).listing
    whole = hashed(read_table(listing))
    whole = whole.assign(part=["train"] * len(whole), group=[None] * len(whole))
    eyes = [Eye(tiny_extractor(), {"spread": False})]
    heads = ("majority", "mean", "logistic")
    alone = climb_table(images_of(whole), eyes, heads=heads)
    found = climb_table(whole, eyes, heads=heads)
    assert len(images_of(whole)) == len(table) < len(whole)
    assert [rung.log_loss for rung in found.rungs] == [rung.log_loss for rung in alone.rungs]
    assert found.best.settings == alone.best.settings


def test_a_strength_is_chosen_by_images_alone() -> None:
    """Noise, each row there again: whoever fits the one and answers the other finds the weakest penalty best."""
    generator = np.random.default_rng(0)
    features = generator.normal(0, 1, (40, 1, 60)).astype(np.float32)
    labels = np.tile([0, 1], 20)
    twice, both = np.repeat(features, 2, axis=0), np.repeat(labels, 2)
    images = np.tile([True, False], 40)
    alone = choose_strength("logistic", features, labels, 2)
    found = choose_strength("logistic", twice, both, 2, images=images)
    assert (found.strength, found.sharpness) == (alone.strength, alone.sharpness)
    assert found.loss.tolist() == alone.loss.tolist()
    leaking = choose_strength("logistic", twice, both, 2)
    assert leaking.strength < found.strength
    assert leaking.loss.mean() < 0.5 * found.loss.mean()


# What keeps the mark


def test_the_mark_lasts_in_files_stacks_and_rows(tmp_path: Path) -> None:
    table = with_copies(table_of(["a", "b"] * 3), 2)
    write_table(table, tmp_path / "table.parquet")
    again = load_table(tmp_path / "table.parquet", table.classes)
    assert again.samples["copy"].tolist() == [False] * 6 + [True] * 12
    assert again.samples["copy"].dtype == bool
    assert stack_tables([again, table]).take([0, 6, 24]).samples["copy"].tolist() == [False, True, True]
    table.samples.drop(columns="copy").to_parquet(tmp_path / "table.parquet")  # as an older version wrote it
    assert not load_table(tmp_path / "table.parquet", table.classes).samples["copy"].any()


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    generator = np.random.default_rng(0)
    for name in ("daisy", "rose"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for index in range(10):
            pixels = generator.integers(0, 255, (20, 24, 3)).astype(np.uint8)
            Image.fromarray(pixels).save(tmp_path / "photos" / name / f"{index}.png")
    return tmp_path / "photos"


def test_a_run_s_own_listing_names_the_copies(photos: Path, tmp_path: Path) -> None:
    table = hashed(read_table(photos))
    saved = save_augmented(table, Policy("p", (op("rotate", 20),)), MADE, tmp_path / "out", Saving(count=2))
    split = split_table(read_table(saved.listing))
    (tmp_path / "run.csv").write_text(_listing(split))
    again = hashed(read_table(tmp_path / "run.csv"))
    columns = ["source", "hash", "origin", "label", "group", "part", "copy"]
    assert again.samples[columns].equals(split.samples[columns])
    assert COPY_OF not in _listing(images_of(split)).splitlines()[0]


def test_augmenting_twice_launders_no_copy(photos: Path, tmp_path: Path) -> None:
    table = hashed(read_table(photos))
    policy = Policy("p", (op("flip", "horizontal", 0.5),))  # half of the copies are the image, byte by byte
    first = save_augmented(table, policy, MADE, tmp_path / "one", Saving(count=1))
    once = hashed(read_table(first.listing))
    second = save_augmented(once, policy, MADE, tmp_path / "two", Saving(count=2))
    both = hashed(read_table(second.listing))
    assert (second.originals, len(images_of(both)), len(both)) == (20, 20, 20 + 20 + 2 * 40)
    assert set(copies_of(both).samples["origin"]) <= set(table.samples["hash"])
    same = copies_of(both).samples["hash"].isin(table.samples["hash"]).sum()
    assert 20 < same < 100
    split = split_table(both, validation=0.25, test=0.25)
    assert_followed(split)
    write_split(split, tmp_path / "s.csv")
    assert parts_of(apply_split(both, tmp_path / "s.csv")) == parts_of(split)


def test_copies_of_arrays_name_the_files_that_the_images_become(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (6, 20, 24, 3)).astype(np.uint8)
    columns: dict[str, object] = {"source": ["array"] * 6, "row": range(6), "label": ["a", "b"] * 3}
    table = hashed(Table(make_samples(columns, 6), ("a", "b"), arrays={"array": pixels}))
    saved = save_augmented(table, Policy("p", (op("rotate", 20),)), MADE, tmp_path / "out", Saving(count=1))
    again = hashed(read_table(saved.listing))
    assert set(copies_of(again).samples["origin"]) == set(images_of(again).samples["hash"])


def test_boxes_of_one_image_name_one_image_that_it_is_a_copy_of(photos: Path, tmp_path: Path) -> None:
    first, other = hashed(read_table(photos)).samples["hash"][:2]
    image = photos / "rose" / "1.png"
    lines = ["path,x1,y1,x2,y2,label,ignore,copy_of", f"{image},1,2,9,9,a,0,{first}"]
    for text in (other, ""):
        (tmp_path / "boxes.csv").write_text("\n".join([*lines, f"{image},3,2,9,9,a,0,{text}"]))
        with pytest.raises(DataError, match=r"Row 3 of .* gives .* another copy_of than a row above"):
            read_table(tmp_path / "boxes.csv")


def test_a_headline_counts_images_whose_copies_were_trained_on(tmp_path: Path) -> None:
    run = make_run(tmp_path, ("roses", "tulips"), each=4)
    run.table, run.findings = hashed(run.table), {}
    assert leaked_images(run, "test").images == 0
    samples = run.table.samples
    parts = parts_of(run.table)
    test, train = parts.index("test"), parts.index("train")
    origins, copies = [None] * len(parts), [False] * len(parts)
    origins[train], copies[train] = samples["hash"][test], True
    run.table = run.table.assign(origin=origins, copy=copies)
    found = leaked_images(run, "test")
    assert (found.images, found.words) == (1, "1 has a copy in the training or validation part")
    origins[test], copies[test] = samples["hash"][parts.index("validation")], True  # and the other way round
    run.table = run.table.assign(origin=origins, copy=copies)
    assert leaked_images(run, "test").images == 1


def test_augmenting_a_listing_with_a_split_takes_the_copies_of_training_images(photos: Path, tmp_path: Path) -> None:
    table = hashed(read_table(photos))
    saved = save_augmented(table, Policy("p", (op("rotate", 20),)), MADE, tmp_path / "out", Saving(count=1))
    split = split_table(read_table(saved.listing), validation=0.25, test=0.25)
    write_split(split, split_path(saved.listing))
    for change in (False, True):
        if change:  # the parts of the images alone
            split_path(saved.listing).unlink()
            write_split(images_of(split), split_path(saved.listing))
        source = read_source(str(saved.listing), "light", 24, "auto")
        assert parts_of(source.table) == parts_of(split)
        assert not any("not in" in note for note in source.notes)
