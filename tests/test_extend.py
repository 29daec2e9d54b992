"""Extending a run: which images, in which parts, with which head, and what became of the old classes."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from tenfold.__main__ import main
from tenfold.errors import DataError, UsageError
from tenfold.evaluate import compare_runs, evaluate_run
from tenfold.images.content import hashed
from tenfold.images.readers import read_table
from tenfold.images.table import Table
from tenfold.models import backbones as backbones_module
from tenfold.models import frozen as frozen_module
from tenfold.models.heads import best_answers, fit_head, held_out_answers
from tenfold.models.weights.places import file_hash
from tenfold.recipe import Recipe, write_recipe
from tenfold.run import Run, load_run
from tenfold.split import read_split, split_table, write_split
from tenfold.train import train_model
from tenfold.transfer import fold_numbers
from tenfold.transfer.extend import add_images, compare_extended, extend_run, extending_recipe, place_images
from tenfold.transfer.settle import settle_head
from tests.frozen import TinyBackbone
from tests.toys import draw_shape, quick_recipe

ORIGIN = SimpleNamespace(name="tiny", source="made by hand", licence="CC0-1.0", sha256="0" * 64, note="")
SEEN = TinyBackbone()
"""The network that gives features, which counts the images that it sees."""


@pytest.fixture(autouse=True)
def tiny(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    use_tiny(tmp_path_factory, monkeypatch)


def use_tiny(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TENFOLD_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
    monkeypatch.setitem(backbones_module.BACKBONES, "tiny", lambda name: TinyBackbone())
    monkeypatch.setattr(frozen_module, "make_backbone", lambda name, weights=None: (SEEN, ORIGIN))


def write(folder: Path, counts: dict[str, int], seed: int) -> Path:
    """Images of shapes, of each class so many."""
    generator = np.random.default_rng(seed)
    for name, count in counts.items():
        (folder / name).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            image = draw_shape({"arc": "ring"}.get(name, name), generator)
            Image.fromarray(image).save(folder / name / f"{seed}-{number:03}.png")
    return folder


def evaluated(run: Run) -> Run:
    evaluate_run(run, "validation")
    return run


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A frozen run of bars and discs, its features in the cache."""
    folder = tmp_path_factory.mktemp("old")
    with pytest.MonkeyPatch.context() as patch:
        use_tiny(tmp_path_factory, patch)
        table = split_table(read_table(write(folder / "data", {"disc": 20, "bar": 20}, 0)), validation=0.25, test=0.2)
        recipe = Recipe().change(
            model={"name": "frozen"},
            transfer={"backbone": "tiny", "head": "svm"},
            split={"validation": 0.25, "test": 0.2},
        )
        settled = settle_head(table, recipe, heads=("svm",))
        evaluated(train_model(table, settled.recipe, folder / "shapes-1", known=settled.known))
    return folder / "shapes-1"


@pytest.fixture
def old(template: Path, tmp_path: Path) -> Run:
    return load_run(shutil.copytree(template, tmp_path / "shapes-1"))


def more_table(tmp_path: Path, **counts: int) -> Table:
    return read_table(write(tmp_path / "more", counts, 1))


def parts_of(table: Table) -> dict[str, str | None]:
    values = table.samples["part"].astype(object).where(table.samples["part"].notna(), None)
    return dict(zip(table.samples["hash"], values, strict=True))


def test_what_the_run_has_is_left_out_and_counted(old: Run, tmp_path: Path) -> None:
    more = write(tmp_path / "more", {"ring": 3, "bar": 2, "arc": 1}, 1)
    first, second = old.table.samples["source"].iloc[[0, -1]]
    shutil.copy(first, more / old.table.samples["label"].iloc[0] / "again.png")
    shutil.copy(second, more / "arc" / "other.png")
    found = add_images(old, read_table(more))
    assert (found.classes, found.known, found.relabeled) == (("arc", "ring"), 2, 1)
    assert len(found.table) == len(old.table) + 6
    assert found.table.classes == ("bar", "disc", "arc", "ring")
    assert found.table.samples["hash"].tolist()[: len(old.table)] == old.table.samples["hash"].tolist()
    assert found.table.samples["part"].isna().all()
    folder = tmp_path / "known"
    folder.mkdir()
    shutil.copytree(Path(first).parent, folder / "bar")
    with pytest.raises(UsageError, match=r"has all of these 20 images already; give images that it does not have"):
        add_images(old, read_table(folder))


def test_old_images_stay_and_new_ones_fill_the_parts(old: Run, tmp_path: Path) -> None:
    added = add_images(old, more_table(tmp_path, ring=20, bar=8))
    table = place_images(old, added.table)
    before, after = parts_of(old.table), parts_of(table)
    assert {digest: after[digest] for digest in before} == before
    counts = table.samples.groupby(["label", "part"]).size()
    assert counts["ring"].to_dict() == {"train": 11, "validation": 5, "test": 4}
    assert counts["bar"].to_dict() == {"train": 15, "validation": 7, "test": 6}
    assert any(note.startswith("New images, not yet in shapes-1: ") for note in table.notes)


def test_what_is_alike_never_crosses_parts(old: Run, tmp_path: Path) -> None:
    added = add_images(old, more_table(tmp_path, ring=4))
    hashes = added.table.samples["hash"].tolist()
    parts = parts_of(old.table)
    test, train = (next(digest for digest, part in parts.items() if part == name) for name in ("test", "train"))
    one, both = hashes[-4:-2]
    alike = {test: "alike-a", one: "alike-a", both: "alike-a"}
    assert parts_of(place_images(old, replace(added.table, alike=alike)))[both] == "test"
    group = ["g1" if digest in (train, both) else None for digest in hashes]
    table = place_images(old, replace(added.table.assign(group=group), alike=alike))
    assert parts_of(table)[both] is None
    assert parts_of(table)[one] == "test"
    assert any(note.startswith("Left out, as a group, a copy or a row of shots ties") for note in table.notes)


def test_sets_that_a_check_found_are_no_groups(old: Run, tmp_path: Path) -> None:
    hashes = old.table.samples["hash"].tolist()
    group = ["alike-0123456789ab" if row < 2 else None for row in range(len(hashes))]
    old = Run(old.path, old.table.assign(group=group))
    added = add_images(old, more_table(tmp_path, ring=8))
    assert added.table.samples["group"].isna().all()
    assert added.table.alike == dict.fromkeys(hashes[:2], "alike-0123456789ab")
    table = place_images(old, added.table)
    assert table.samples["part"].notna().all()
    old = Run(old.path, old.table.assign(group=[f"person-{row}" for row in range(len(hashes))]))
    table = place_images(old, add_images(old, more_table(tmp_path, arc=2)).table)
    assert table.samples["part"].isna().sum() == 10
    assert any("have groups and these, not yet in it, have none" in note for note in table.notes)


def test_parts_that_the_reader_finds_hold(old: Run, tmp_path: Path) -> None:
    for part, seed in (("train", 1), ("test", 2)):
        write(tmp_path / "more" / part, {"ring": 5}, seed)
    table = place_images(old, add_images(old, read_table(tmp_path / "more")).table)
    new = table.samples.iloc[len(old.table) :]
    given = new["source"].str.contains("/test/")
    assert (new["part"][given] == "test").all()
    assert set(new["part"][~given]) == {"train", "validation"}


def new_parts(old: Run, table: Table) -> dict[str, str | None]:
    """Of the images that the run does not have, by their file."""
    parts, held = parts_of(table), parts_of(old.table)
    named = zip(table.samples["source"], table.samples["hash"], strict=True)
    return {Path(source).name: parts[digest] for source, digest in named if digest not in held}


def test_a_written_split_of_the_new_images_holds(old: Run, tmp_path: Path) -> None:
    """Else the sealed test images of the one data set would be dealt into the training part of the other."""
    more = hashed(more_table(tmp_path, ring=20))
    dealt = split_table(more.take(range(16)), validation=0.25, test=0.25)
    parts = [*dealt.samples["part"][:15], None]  # one is left out on purpose
    write_split(dealt.assign(part=parts), tmp_path / "more.split.csv")
    added = add_images(old, more).table
    table = place_images(old, added, [tmp_path / "more.split.csv"])
    assert {digest: parts_of(table)[digest] for digest in parts_of(old.table)} == parts_of(old.table)
    found, names = new_parts(old, table), [Path(source).name for source in more.samples["source"]]
    assert [found[name] for name in names[:16]] == [part if isinstance(part, str) else None for part in parts]
    assert all(found[name] for name in names[16:])
    note = "The parts that more.split.csv gives to new images hold: "
    assert any(said.startswith(note) and said.endswith(" to test.") for said in table.notes)
    write_split(dealt.assign(part=["train"] * 16), tmp_path / "other.split.csv")
    files = [tmp_path / "other.split.csv", tmp_path / "more.split.csv"]
    both = new_parts(old, place_images(old, added, files))
    assert [both[name] for name in names[:16]] == [found[name] for name in names[:16]]  # the stricter of the two


def test_what_belongs_to_a_sealed_image_is_sealed_too(old: Run, tmp_path: Path) -> None:
    more = hashed(more_table(tmp_path, ring=8))
    group = [f"plant-{row // 2}" for row in range(8)]
    dealt = more.assign(part=["test"] * 2 + ["train"] * 6, group=group)
    write_split(dealt, tmp_path / "more.split.csv")
    origin = [None, None, more.samples["hash"][0], *[None] * 5]
    alone = more.assign(origin=origin).take([1, 2, 5])  # the first one's neighbor, a copy made of it, and another
    table = place_images(
        old, add_images(old, alone.assign(group=[group[1], None, group[5]])).table, [tmp_path / "more.split.csv"]
    )
    # The second one's own line says train, and what it was made from is a test image: it is left out.
    assert list(new_parts(old, table).values()) == ["test", "train"]
    assert Path(more.samples["source"][2]).name not in new_parts(old, table)
    assert any(note.startswith("Left out, as a group, a copy or a row of shots ties") for note in table.notes)


def test_the_split_of_the_run_itself_holds(old: Run, tmp_path: Path) -> None:
    """The run of a fold has no test part; the images of the test part are new to it, and stay test images."""
    file = tmp_path / "data.split.csv"
    write_split(old.table, file)
    wanted = {"file": str(file), "test": 0.05}  # fewer than there are, so that others would be trained on
    write_recipe(old.recipe.change(split=wanted), old.path / "recipe.toml")
    fold = evaluated(Run(old.path, old.table.without("test")))
    whole = replace(old.table, notes=()).assign(part=[None] * len(old.table))
    table = place_images(fold, add_images(fold, whole).table)
    assert parts_of(table) == parts_of(old.table)
    file.unlink()
    lost = place_images(fold, add_images(fold, whole).table)
    assert any(
        f"was trained with, {file}, is gone: its test images are not known as such" in note for note in lost.notes
    )


def test_the_command_follows_the_split_beside_the_new_images(
    old: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "more", {"ring": 20}, 1)
    assert main(["split", "more", "--no-check", "--validation", "25%", "--test", "25%"]) == 0
    capsys.readouterr()
    sealed = {entry.hash for entry in read_split(tmp_path / "more.split.csv") if entry.part == "test"}
    assert len(sealed) == 5
    assert main(["extend", str(old.path), "more", "--no-check", "--out", "new", "--json"]) == 0
    parts = parts_of(load_run(tmp_path / "new").table)
    assert {digest for digest in sealed if parts[digest] == "test"} == sealed
    found = json.loads(capsys.readouterr().out)
    assert any(
        "more.split.csv gives to new images hold: 10 to train, 5 to validation, 5 to test" in note
        for note in found["notes"]
    )


def test_a_new_class_without_an_image_to_learn_from_is_refused(old: Run, tmp_path: Path) -> None:
    table = place_images(old, add_images(old, more_table(tmp_path, arc=6)).table)
    parts = np.where(table.samples["label"] == "arc", "test", table.samples["part"].to_numpy(object))
    with pytest.raises(
        DataError, match=r"^No image of arc is in the training part, so \S+ cannot learn to name it; give"
    ):
        extend_run(old, table.assign(part=parts), tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_extending_needs_no_test_file(old: Run, tmp_path: Path) -> None:
    added = add_images(old, more_table(tmp_path, ring=20))
    table = place_images(old, added.table)
    run = extend_run(old, table, tmp_path / "new")
    files = [Path(source) for source in table.part("test").samples["source"]]
    held = [file.read_bytes() for file in files]
    try:
        for file in files:
            file.unlink()
        again = extend_run(old, table, tmp_path / "again")
    finally:
        for file, content in zip(files, held, strict=True):
            file.write_bytes(content)
    one, other = (found.model.state_dict() for found in (run, again))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_without_shares_of_its_own_the_run_s_parts_give_them(old: Run, tmp_path: Path) -> None:
    recipe = (old.path / "recipe.toml").read_text()
    (old.path / "recipe.toml").write_text(recipe.replace("test = 0.2", "test = -1.0"))
    table = place_images(load_run(old.path), add_images(old, more_table(tmp_path, ring=20)).table)
    assert table.samples.groupby(["label", "part"]).size()["ring"].to_dict()["test"] == 4


def test_the_head_is_fitted_anew_on_known_features(old: Run, tmp_path: Path) -> None:
    kept = {path.name: file_hash(path) for path in old.path.iterdir()}
    more = read_table(write(tmp_path / "more", {"ring": 20}, 7))  # no other test has these
    table = place_images(old, add_images(old, more).table)
    SEEN.seen = 0
    run = extend_run(old, table, tmp_path / "shapes-2")
    new = table.samples.iloc[len(old.table) :]
    assert SEEN.seen == 2 * (new["part"] != "test").sum() + 1  # two views of each, and one image to count its cost
    assert {path.name: file_hash(path) for path in old.path.iterdir()} == kept
    assert run.classes == ("bar", "disc", "ring")
    train = table.part("train")
    images = run.preprocessing.normalize(
        torch.from_numpy(
            np.stack([run.preprocessing.prepare(np.asarray(Image.open(path)))[0] for path in train.samples["source"]])
        )
    )
    with torch.no_grad():
        features = run.model.features(images).numpy()
    labels = train.labels()
    folds = fold_numbers(hashed(train), 5, 2, seed=run.recipe.train.seed)
    best = best_answers(held_out_answers("svm", features, labels, folds, 3))
    transfer = run.recipe.transfer
    assert (transfer.head, transfer.strength) == ("svm", best.strength)
    assert transfer.sharpness == pytest.approx(best.sharpness, rel=1e-3)
    wanted = fit_head("svm", features, labels, 3, best.strength, sharpness=best.sharpness)
    torch.testing.assert_close(run.model.head.weight, wanted.weight, atol=1e-3, rtol=1e-2)


def test_the_recipe_repeats_it_from_its_list(old: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = place_images(old, add_images(old, more_table(tmp_path, ring=20)).table)
    run = extend_run(old, table, tmp_path / "shapes-2")
    listed = hashed(read_table(tmp_path / "shapes-2" / "shapes-2.csv"))
    assert parts_of(listed) == parts_of(run.table)
    out = tmp_path / "again"
    assert main(["train", str(run.path / "recipe.toml"), "--out", str(out), "--no-check", "--json"]) == 0
    again = load_run(out)
    assert parts_of(again.table) == parts_of(run.table)
    assert set(again.classes) == set(run.classes)
    one, other = (found.model.state_dict()["head.weight"] for found in (run, again))
    order = [again.classes.index(name) for name in run.classes]
    torch.testing.assert_close(one, other[order], atol=1e-3, rtol=1e-2)


def test_killed_in_its_fit_it_has_its_list_and_goes_on_with_the_features_that_it_had(
    old: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So its recipe can be read from the first moment on, and the end is the same to the bit."""
    table = place_images(old, add_images(old, more_table(tmp_path, ring=20)).table)
    straight, out = extend_run(old, table, tmp_path / "straight"), tmp_path / "shapes-2"

    def die(model: object, batches: object) -> None:
        raise SystemExit("killed")

    with monkeypatch.context() as patch:
        patch.setattr(frozen_module.FrozenClassifier, "fit", die)
        with pytest.raises(SystemExit):
            extend_run(old, table, out)
    assert parts_of(hashed(read_table(out / "shapes-2.csv"))) == parts_of(straight.table)
    SEEN.seen = 0
    assert main(["train", "--resume", str(out)]) == 0
    assert SEEN.seen == 0
    one, other = (found.model.state_dict() for found in (straight, load_run(out)))
    assert all(torch.equal(one[name], other[name]) for name in one)
    # Killed while it began, it begins anew in the same folder: the list there is its own.
    begun = tmp_path / "begun"
    (begun / "checkpoint").mkdir(parents=True)
    shutil.copy(out / "shapes-2.csv", begun / "begun.csv")
    assert extend_run(old, table, begun).recipe.data.path == str(begun / "begun.csv")


def test_old_images_before_and_after(old: Run, tmp_path: Path) -> None:
    table = place_images(old, add_images(old, more_table(tmp_path, ring=12, bar=12)).table)
    run = evaluated(extend_run(old, table, tmp_path / "new"))
    kept = compare_extended(old, run)
    assert kept is not None
    before = evaluate_run(load_run(shutil.copytree(old.path, tmp_path / "copy")), "validation")
    assert kept.n == before.n == 10
    assert kept.figures["accuracy"].before == before.figures["accuracy"]
    assert kept.figures["log_loss"].before.value == pytest.approx(before.figures["log_loss"].value)
    rows = {row["class"]: row["recall"] for row in before.details["per_class"]}
    assert {name: found.before for name, found in kept.recall.items()} == rows
    answered = run.predictions("validation").set_index("hash").loc[old.table.part("validation").samples["hash"]]
    right = (answered["predicted"] == answered["label"]).to_numpy()
    assert kept.figures["accuracy"].after.value == pytest.approx(right.mean())
    for name in ("bar", "disc"):
        own = right[answered["label"] == name].mean()
        assert kept.recall[name].after.value == pytest.approx(own)
        assert kept.recall[name].difference.value == pytest.approx(own - rows[name].value)
    shown = kept.to_json()
    assert shown["figures"]["accuracy"]["before"] == before.figures["accuracy"].to_json()
    assert set(shown["recall"]["bar"]) == {"before", "after", "difference"}


def test_of_the_same_classes_it_says_what_a_comparison_says(old: Run, tmp_path: Path) -> None:
    table = place_images(old, add_images(old, more_table(tmp_path, disc=12, bar=12)).table)
    run = evaluated(extend_run(old, table, tmp_path / "new"))
    kept, found = compare_extended(old, run), compare_runs([run], [old])
    assert kept is not None
    for name, figure in found.figures.items():
        change = kept.figures[name]
        assert (change.after, change.before, change.difference) == (figure.first, figure.second, figure.difference)


@pytest.mark.parametrize("model", ["plain", "finetuned"])
def test_a_network_that_was_trained_stays_as_it_was_trained(model: str, old: Run, tmp_path: Path) -> None:
    recipe = quick_recipe(model={"name": model, "layers": 1}, transfer={"backbone": "tiny"}, train={"epochs": 1})
    recipe = recipe.change(augment={"policy": "none"})
    trained = evaluated(train_model(old.table, recipe, tmp_path / "trained"))
    table = place_images(trained, add_images(trained, more_table(tmp_path, ring=8)).table)
    made, said = extending_recipe(trained)
    assert said.startswith(f"The network that {trained.path} trained stays as it is from here on")
    assert (made.transfer.head, made.transfer.views) == ("logistic", "center")
    run = extend_run(trained, table, tmp_path / "new")
    assert (run.recipe.model.name, run.preprocessing.canvas) == ("frozen", trained.preprocessing.canvas)
    kept = trained.model.state_dict()
    start = "features." if model == "plain" else "backbone."
    wanted = [value for key, value in kept.items() if key.startswith(start)]
    found = run.model.backbone.state_dict().values()
    assert all(torch.equal(one, other) for one, other in zip(found, wanted, strict=True))


def test_weights_that_have_gone_are_taken_out_of_the_run(
    old: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(name: str, weights: Path | None = None) -> None:
        raise DataError("The weights of tiny are not on this machine.")

    assert extending_recipe(old)[0].transfer.init == ""
    monkeypatch.setattr(frozen_module, "make_backbone", gone)
    made, said = extending_recipe(old)
    assert said.endswith("so those inside it are taken, and the features are computed anew.")
    assert (made.transfer.init, made.transfer.head, made.transfer.views) == (str(old.path), "svm", "flip")
    table = place_images(old, add_images(old, more_table(tmp_path, ring=8)).table)
    run = extend_run(old, table, tmp_path / "new")
    assert torch.equal(run.model.backbone.first.weight, SEEN.first.weight)
    assert run.card["weights"]["origin"] == "the run shapes-1, tiny, made by hand"


def test_runs_that_cannot_be_extended_are_refused(old: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    more = more_table(tmp_path, ring=2)
    source = Path(old.table.samples["source"].iloc[0])
    data, held = source.parents[1], tmp_path / "held"
    data.rename(held)
    try:
        add_images(old, more)  # the pixels are cached
        monkeypatch.setenv("TENFOLD_CACHE", str(tmp_path / "empty"))
        with pytest.raises(DataError, match=r"None of the 32 images can be read"):
            add_images(old, more)
        source.parent.mkdir(parents=True)
        shutil.copy(held / source.parent.name / source.name, source)
        sentence = r"31 of the 32 images that .*shapes-1 learnt and was judged from are neither where they were nor in"
        with pytest.raises(DataError, match=sentence):
            add_images(old, more)
    finally:
        shutil.rmtree(data, ignore_errors=True)
        held.rename(data)
    (old.path / "evaluation.json").unlink()
    with pytest.raises(
        UsageError, match="has not been evaluated on its validation part; do so first: tenfold evaluate"
    ):
        add_images(load_run(old.path), more)
    (old.path / "model.json").write_text(json.dumps(old.card | {"architecture": "other", "settings": {}}))
    with pytest.raises(UsageError, match="is of the model other; train on old and new images together instead"):
        add_images(load_run(old.path), more)


def test_a_run_of_several_networks_is_refused_before_images_are_looked_at(
    old: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (old.path / "model.json").write_text(
        json.dumps(old.card | {"architecture": "residual", "settings": {"members": 3}})
    )
    more = write(tmp_path / "more", {"ring": 2}, 1)
    monkeypatch.setattr("tenfold.transfer.extend.hashed", lambda table: pytest.fail("images were looked at"))
    assert main(["extend", str(old.path), str(more), "--out", str(tmp_path / "new")]) == 2
    sentence = f"{old.path} has 3 (--model.members 3); train on old and new images together instead."
    assert sentence in capsys.readouterr().err
    assert not (tmp_path / "new").exists()


def test_the_command_says_what_it_did(
    old: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    more = write(tmp_path / "more", {"ring": 20}, 1)
    shutil.copy(old.table.samples["source"].iloc[0], more / "ring" / "known.png")
    assert main(["extend", "shapes-1", str(more)]) == 0
    out, err = capsys.readouterr()
    assert "Left out, as shapes-1 has it already: 1 image; of these 1 image under another label" in err
    assert "The 10 validation images of shapes-1" in out
    assert "Recall of bar" in out
    assert "New class" in out
    assert "Run: runs/shapes-1, with 20 images more in " in out.replace("\\", "/")
    assert "new classes: ring" in out
    assert main(["extend", "shapes-1", str(more), "--out", "other", "--no-check", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["added"] == {"images": 20, "classes": ["ring"]}
    assert found["left_out"] == {"known": 1, "relabeled": 1}
    assert found["old"]["n"] == 10
    assert found["images"]["ring"]["train"] == 11
    assert found["seconds"] > 0
    assert [row["class"] for row in found["evaluation"]["validation"]["details"]["per_class"]] == [
        "bar",
        "disc",
        "ring",
    ]
    assert main(["extend", "shapes-1", str(more), "--out", "other"]) == 2
    assert "out must be a new folder, and other holds a run" in capsys.readouterr().err


def test_a_flat_folder_is_of_the_class_that_is_named(
    old: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    flat = write(tmp_path / "more", {"ring": 8}, 1) / "ring"
    for bare in (flat, next(flat.iterdir())):
        assert main(["extend", "shapes-1", str(bare)]) == 3
        err = capsys.readouterr().err
        if bare == flat:
            assert err.startswith(f"error: The images in {bare} lie in no class folders; make a folder for each class")
        assert err.endswith(" Images that are all of one class are read with --as NAME.\n")
    blocked = flat / "file" / "run"
    blocked.parent.write_text("a file")
    assert main(["extend", "shapes-1", str(flat), "--as", "round one", "--out", str(blocked)]) == 2
    assert f"{blocked} cannot be one, as {blocked.parent} is a file; name another.\n" in capsys.readouterr().err
    blocked.parent.unlink()
    assert main(["extend", "shapes-1", str(flat), "--as", "round one", "--out", "new", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["added"] == {"images": 8, "classes": ["round one"]}
    assert load_run("new").classes == ("bar", "disc", "round one")
    image = next(flat.iterdir())
    assert main(["extend", "shapes-1", str(image), "--as", "disc", "--out", "one", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["added"] == {"images": 1, "classes": []}
    assert main(["extend", "shapes-1", str(flat), "--as", "DISC", "--out", "two", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["added"]["classes"] == ["DISC"]
    assert "DISC is a new class beside disc, which shapes-1 has: capitals count." in said["notes"]
    for wrong in (["--as", " "], ["--as", "ring", "--reader", "folder"]):
        assert main(["extend", "shapes-1", str(flat), *wrong]) == 2
        assert "--as takes the name of a class, and is for images and folders of them" in capsys.readouterr().err


def test_what_is_wrong_with_a_file_beside_flat_images_is_said(
    old: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flat = write(tmp_path / "more", {"ring": 2}, 1) / "ring"
    hint = " Images that are all of one class are read with --as NAME.\n"
    (flat / "labels.csv").write_text("path,label\n", "utf-8")
    assert main(["extend", str(old.path), str(flat)]) == 3
    err = capsys.readouterr().err
    assert f" If {flat / 'labels.csv'} holds boxes, it is in no form that is read" in err
    assert err.endswith(hint)
    annotations = flat / "_annotations.coco.json"
    annotations.write_text('{"images": [{"id": 1, "file_na', "utf-8")
    for words, end in (([], hint), (["--reader", "coco"], "\n")):
        assert main(["extend", str(old.path), str(flat), *words]) == 3
        err = capsys.readouterr().err
        assert err.startswith(f"error: {annotations}, line 1 is damaged")
        assert err.endswith(end)
        assert (hint in err) == (end == hint)


def test_new_images_that_cannot_be_decoded_take_no_part(
    old: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    more = write(tmp_path / "more", {"ring": 4}, 1)
    broken = more / "ring" / "broken.png"
    broken.write_bytes(b"no image")
    assert main(["extend", "shapes-1", str(more), "--out", "new", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [note for note in found["notes"] if note.startswith("Left out: ") and "broken.png" in note]
    assert found["added"]["images"] == 4
    assert str(broken) not in load_run("new").table.samples["source"].tolist()
    for path in (more / "ring").iterdir():
        path.write_bytes(f"no image: {path.name}".encode())
    assert main(["extend", "shapes-1", str(more), "--out", "other"]) == 3
    assert "None of the new images can be read. Left out: " in capsys.readouterr().err


def test_without_a_check_a_new_class_of_which_none_can_be_decoded_is_none(
    old: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    more = write(tmp_path / "more", {"ring": 4, "disc": 1}, 1)
    (more / "owl").mkdir()
    for number in range(4):
        (more / "owl" / f"{number}.png").write_bytes(f"no owl {number}".encode())
    assert main(["extend", "shapes-1", str(more), "--no-check", "--out", "new", "--json"]) == 0
    out, err = capsys.readouterr()
    assert "Left out of the classes, as no image of them can be read: owl. The first: Cannot decode " in err
    assert json.loads(out)["added"] == {"images": 5, "classes": ["ring"]}
    assert load_run("new").classes == ("bar", "disc", "ring")
    for command in ([str(more / "owl"), "--as", "owl"], [str(more / "owl"), "--as", "owl", "--out", "other"]):
        assert main(["extend", "shapes-1", *command, "--no-check"]) == 3
        assert "No image of these classes can be read: owl; the first: Cannot decode " in capsys.readouterr().err
    refusing = old.recipe.change(data={"unreadable": "refuse"})
    write_recipe(refusing, old.path / "recipe.toml")
    assert main(["extend", "shapes-1", str(more), "--no-check"]) == 3
    assert "No image of these classes can be read: owl; the first: " in capsys.readouterr().err


def test_a_majority_is_not_for_ever(old: Run, tmp_path: Path) -> None:
    """It looks at no image, so that it could never tell a class that is added."""
    blind = old.recipe.change(transfer={"head": "majority", "strength": 1.0, "sharpness": 1.0})
    trained = evaluated(train_model(old.table, blind, tmp_path / "blind"))
    made, said = extending_recipe(trained)
    assert (made.transfer.head, made.transfer.strength) == ("auto", 0.0)
    assert said == f"{trained.path} gives every image its most frequent class, so that the ladder is climbed anew."
    table = place_images(trained, add_images(trained, more_table(tmp_path, ring=20)).table)
    run = extend_run(trained, table, tmp_path / "new")
    assert run.recipe.transfer.head not in ("auto", "majority")
    assert run.recipe.transfer.strength > 0
