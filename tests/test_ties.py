"""What a split keeps together counts as one: the blocks of the split are the groups of a run and of its intervals."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tenfold.estimate import units_of
from tenfold.evaluate import evaluate_run
from tenfold.images.content import hashed
from tenfold.images.readers import read_table
from tenfold.images.table import Table
from tenfold.metrics.abstention import Step, choose_step
from tenfold.metrics.intervals import share
from tenfold.split import apply_split, split_table, write_split
from tenfold.split import ties as ties_module
from tenfold.split.ties import bonds, grouped, is_found, join, texts
from tenfold.train import train_model
from tests.test_split import digest, joined, random_table, slow_blocks, table_of, with_sets
from tests.toys import quick_recipe, save, write_shapes


def names_of(table: Table) -> list[str]:
    return [name or "" for name in texts(table, "group")]


def test_copies_regions_and_what_is_made_or_alike_get_a_group_that_nobody_gave() -> None:
    hashes = [f"{number:x}" * 32 for number in (9, 9, 8, 7, 6, 5, 4, 3, 2)]
    origin = [None, None, None, "8" * 32, *[None] * 5]
    source = [f"/{name}.png" for name in "abcdeeghi"]
    corners = {name: [None] * 4 + [float(place), 1.0 + place] + [None] * 3 for place, name in enumerate(("x1", "y1"))}
    table = table_of(["a"] * 9, hash=hashes, origin=origin, source=source, **corners)
    table = replace(table, alike={hashes[6]: "set", hashes[7]: "set"})
    found = grouped(table)
    nine, seven, five, three = ("alike-" + 12 * text for text in "9753")
    assert names_of(found) == [nine, nine, seven, seven, five, five, three, three, ""]
    assert all(is_found(name) for name in names_of(found)[:8])
    assert found.alike == table.alike
    assert grouped(found) is found


def test_given_groups_name_their_blocks_and_stay_what_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    hashes = [f"{number:x}" * 32 for number in (1, 1, 2, 3, 3, 4, 5, 6)]
    table = table_of(["a"] * 8, hash=hashes, group=["p", None, "p", "q", "r", "q", "s", None])
    assert names_of(grouped(table)) == ["p", "p", "p", "q + r", "q + r", "q + r", "s", ""]
    assert not any(is_found(name) for name in ("p", "q + r", "alike-1", "alike-nothing-here"))
    assert grouped(grouped(table)).samples.equals(grouped(table).samples)
    chain = table_of(["a"] * 130, "d", group=[f"g{row // 2}" for row in range(130)])
    chain = replace(chain, alike={text: f"s{(row + 1) // 2}" for row, text in enumerate(chain.samples["hash"])})
    [found] = set(names_of(grouped(chain)))  # a chain through all
    assert found == " + ".join(sorted(f"g{row}" for row in range(65)))
    assert grouped(chain).notes == chain.notes
    monkeypatch.setattr(ties_module, "_LONGEST", 130 * len(found) - 1)
    [lost] = set(names_of(grouped(chain)))
    assert is_found(lost)
    assert grouped(chain).notes == (
        f"65 groups have images in common and count as one, {lost}: they are too many to be named in each of its "
        "images, so that a later image of one of them is not known to belong to it.",
    )
    assert grouped(grouped(chain)).notes == grouped(chain).notes
    one = table_of(["a"] * 2, "b", group=["b + a", "b + a"])
    assert names_of(grouped(one)) == ["b + a", "b + a"]
    odd = table_of(["a"] * 2, "c", group=[" + ", "p + "])
    assert join(bonds(odd)).tolist() == [0, 1]
    assert len(grouped(table_of([]))) == 0


@pytest.mark.parametrize("seed", range(8))
def test_groups_are_the_blocks_of_the_split(seed: int) -> None:
    table = random_table(seed)
    table = with_sets(table, table.samples["hash"].tolist(), np.random.default_rng(seed), "set")
    found = names_of(grouped(table))
    for block in slow_blocks(table):
        names = {found[row] for row in block}
        assert len(names) == 1
        members = {row for row, name in enumerate(found) if name in names}
        assert len(block) == 1 or members == block


def test_a_new_image_of_one_of_several_joined_groups_follows_them(tmp_path: Path) -> None:
    old = table_of(["a"] * 30, "old", group=["p", "q", *[f"g{row}" for row in range(28)]])
    old = grouped(old.assign(hash=[digest("same")] * 2 + old.samples["hash"].tolist()[2:]))
    assert names_of(old)[:2] == ["p + q", "p + q"]
    for part in ("train", "test"):
        path = tmp_path / f"{part}.csv"
        write_split(old.assign(part=[part] * 2 + ["train", "test"] * 14), path)
        both = old.assign(part=[None] * len(old))
        new = table_of(["a"] * 2, "new", group=["p", "q"])
        table = joined(both, new)
        assert apply_split(table, path).samples["part"].tolist()[-2:] == [part, part]


def test_however_many_groups_are_joined_a_new_image_of_one_follows_them(tmp_path: Path) -> None:
    """Two hundred groups that one image ties together: the name that a run keeps of them forgets none."""
    old = table_of(["a"] * 400, "old", group=[f"g{row % 200}" for row in range(400)])
    old = grouped(old.assign(hash=[digest("same")] * 200 + old.samples["hash"].tolist()[200:]))
    assert len(set(names_of(old))) == 1
    write_split(old.assign(part=["test"] * 400), tmp_path / "test.csv")
    table = joined(old.assign(part=[None] * 400), table_of(["a"] * 2, "new", group=["g7", "g199"]))
    assert apply_split(table, tmp_path / "test.csv").samples["part"].tolist()[-2:] == ["test", "test"]
    again = grouped(hashed(read_table(_listing(old, tmp_path))))
    assert set(names_of(again)) == set(names_of(old))


def _listing(table: Table, folder: Path) -> Path:
    """The images of a table as files of a listing with its groups."""
    lines = ["path,label,group"]
    for row, group in enumerate(names_of(table)):
        save(folder / f"{row}.png", np.full((4, 5, 3), row % 250, np.uint8))
        lines.append(f"{row}.png,{'ab'[row % 2]},{group}")
    (folder / "listing.csv").write_text("\n".join(lines))
    return folder / "listing.csv"


def test_the_interval_of_copies_is_that_of_the_images_they_are_of() -> None:
    """Forty images, each there four times: counted singly the truth is missed in every third part."""
    rng, held, single = np.random.default_rng(0), 0, 0
    table = table_of(["a"] * 160, hash=[digest(row // 4) for row in range(160)])
    units = units_of(grouped(table).samples["group"].to_numpy(object), 160)
    assert (units.count, units.words) == (40, "over 40 groups")
    for _ in range(400):
        hits = np.repeat(rng.random(40) < 0.8, 4).astype(float)
        own, plain = share(hits, units, 0.95), share(hits, units_of(None, 160), 0.95)
        held += own.low <= 0.8 <= own.high
        single += plain.low <= 0.8 <= plain.high
    assert held / 400 >= 0.93
    assert single / 400 < 0.75


def test_crops_of_one_slide_are_one_group(tmp_path: Path) -> None:
    """Of 10 slides of 100 crops 8 are right: the interval is that of slides."""
    lines = ["path,label,x1,y1,x2,y2"]
    for slide in range(10):
        save(tmp_path / f"{slide}.png", np.full((30, 40, 3), 20 * slide, np.uint8))
        lines += [
            f"{slide}.png,{'ab'[crop % 2]},{crop % 20},0,{crop % 20 + 10},{crop // 20 + 5}" for crop in range(100)
        ]
    (tmp_path / "crops.csv").write_text("\n".join(lines))
    table = grouped(hashed(read_table(tmp_path / "crops.csv", "listing")))
    assert table.samples.groupby("source")["group"].nunique().tolist() == [1] * 10
    units = units_of(table.samples["group"].to_numpy(object), 1000)
    figure = share(np.repeat([1.0] * 8 + [0.0] * 2, 100), units, 0.95)
    assert figure.low < 0.55
    assert figure.high > 0.93


def test_a_run_on_copies_counts_the_images_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TENFOLD_CACHE", str(tmp_path / "cache"))
    folder = write_shapes(tmp_path / "data", 15)
    for path in sorted(folder.rglob("*.png")):
        for number in range(3):
            path.with_name(f"{path.stem}-copy{number}.png").write_bytes(path.read_bytes())
    table = split_table(read_table(folder), validation=0.3, test=0.2)
    run = train_model(table, quick_recipe(train={"epochs": 1}), tmp_path / "run")
    images = run.table.part("validation").samples
    distinct = images["hash"].nunique()
    assert len(images) == 4 * distinct
    figures = evaluate_run(run, "validation").figures
    assert figures["accuracy"].method == f"Wilson over {distinct} groups"
    steps = [Step(*step) for step in run.calibration["steps"]]
    assert steps[-1].answered == distinct  # not four times as many, which would support a smaller error
    assert choose_step([step._replace(wrong=0) for step in steps], 3 / (3 * distinct)) is None
