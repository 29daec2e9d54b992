"""Batches of a quarter objects: each holds 32 and 96 of 128, nothing twice, and what is left over has its turn."""

import numpy as np
import pytest
import torch

from tenfold.detect import BACKGROUND, region_table
from tenfold.errors import UsageError
from tenfold.images.content import hashed
from tenfold.run import load_run
from tenfold.tasks import TASKS
from tenfold.train import choose_settings, prepare_images, train_model
from tenfold.train import plan as plan_module
from tenfold.train.background import in_quarters, quarter_order
from tenfold.train.choose import fresh_model, make_card
from tenfold.train.data import training_loader
from tenfold.train.plan import Plan
from tenfold.train.progress import no_report
from tenfold.train.ranks import Ranks
from tests.test_detect import proposed_of, toy  # noqa: F401 - a fixture
from tests.test_fast_rcnn_training import recipe_of, squares_table
from tests.toys import quick_recipe


def slow_order(objects, background, batch):
    objects, background, rows = list(objects), list(background), []
    while objects and len(background) >= 3:
        rows += [objects.pop(0), *(background.pop(0) for _ in range(3))]
    whole = len(rows) // batch * batch
    return rows[:whole] if whole else rows


@pytest.mark.parametrize("batch", [4, 16, 128])
@pytest.mark.parametrize(("objects", "background"), [(1, 3), (5, 40), (40, 50), (100, 400), (300, 400), (64, 192)])
def test_the_order_is_that_of_a_loop(objects, background, batch):
    rows = np.random.default_rng(0).permutation(objects + background)
    found = quarter_order(rows[:objects], rows[objects:], batch)
    assert found.tolist() == slow_order(rows[:objects], rows[objects:], batch)


def prepared_of(tmp_path, batch):
    """The prepared regions of squares, and the recipe of a training on them."""
    table = hashed(region_table(proposed_of(squares_table(tmp_path))).without("test"))
    recipe = quick_recipe(train={"balance": "background", "batch_size": batch})
    recipe = choose_settings(recipe, table.part("train"))
    return prepare_images(table, recipe, no_report), recipe


def loader_of(tmp_path, batch):
    """The loader of squares' regions, and which of them are background."""
    prepared, recipe = prepared_of(tmp_path, batch)
    loader = training_loader(recipe, prepared, TASKS["classification"], lambda epoch: recipe.image.size)
    background = (prepared.table.part("train").samples["label"] == BACKGROUND).to_numpy()
    return in_quarters(loader, recipe, prepared), background


@pytest.mark.parametrize("batch", [0, 16])
def test_each_batch_is_a_quarter_objects_and_another_one_in_each_epoch(tmp_path, batch):
    loader, background = loader_of(tmp_path, batch)
    size, seen = batch or 128, []
    for epoch in range(6):
        plan = loader.plan(epoch)
        parts = [plan.rows[start:stop] for start, stop in zip(plan.cuts, plan.cuts[1:], strict=False)]
        assert len(parts) == (~background).sum() * 4 // size
        assert {len(part) for part in parts} == {size}
        assert {int((~background[part]).sum()) for part in parts} == {size // 4}
        assert len(set(plan.rows.tolist())) == len(plan.rows)
        seen.append(plan.rows)
    assert not np.array_equal(np.sort(seen[0]), np.sort(seen[1]))
    assert len(set(np.concatenate(seen))) == len(background)
    targets = next(iter(loader.batches(0))).targets["label"]
    assert int((targets.argmax(1) < 2).sum()) == size // 4


def test_a_run_takes_them_through_the_loop(tmp_path):
    table = region_table(proposed_of(squares_table(tmp_path, (8, 2, 1))))
    recipe = quick_recipe(train={"balance": "background", "batch_size": 16, "epochs": 1})
    run = train_model(table, recipe, tmp_path / "run")
    objects = (run.table.part("train").samples["label"] != BACKGROUND).sum()
    assert run.history["step"].max() == objects // 4
    assert "class_weights" not in run.card["settings"]
    assert load_run(run.path).recipe.train.balance == "background"


def test_the_range_test_sees_the_batches_of_the_training(tmp_path, monkeypatch):
    prepared, recipe = prepared_of(tmp_path, 16)
    recipe, task = recipe.change(train={"find_lr": True}), TASKS["classification"]
    model = fresh_model(make_card(recipe, prepared.table.part("train"), task.name), recipe)
    seen = []

    def find(model, batches, *rest):
        seen.extend(batch for _, batch in zip(range(8), batches, strict=False))
        return 0.25

    monkeypatch.setattr(plan_module, "find_learning_rate", find)
    plan = Plan(recipe, task, Ranks(), 0.0, no_report)
    plan.settle_rate(model, prepared)
    assert (plan.recipe.train.lr, plan.recipe.train.find_lr) == (0.25, False)
    loader = training_loader(recipe, prepared, task, lambda epoch: recipe.image.size)
    loader = in_quarters(loader, recipe, prepared)
    expected = [batch for epoch in range(8) for batch in loader.batches(epoch)][:8]
    for one, other in zip(seen, expected, strict=True):
        assert int((one.targets["label"].argmax(1) < 2).sum()) == 4
        np.testing.assert_array_equal(one.rows, other.rows)
        assert torch.equal(one.images, other.images)


def test_without_objects_or_background_it_is_refused(tmp_path):
    squares = squares_table(tmp_path, (8, 2, 1))
    table, boxes = region_table(proposed_of(squares)), squares.part("train")
    recipe = quick_recipe(train={"balance": "background", "epochs": 1})
    for is_kept, found in (
        (lambda names: names != BACKGROUND, "and 0;"),
        (lambda names: names == BACKGROUND, "has 0 and"),
    ):
        kept = table.take(np.flatnonzero(is_kept(table.samples["label"].to_numpy(object))))
        with pytest.raises(UsageError, match=rf"balance = background needs regions of .* {found}"):
            choose_settings(recipe, kept.part("train"))
    with pytest.raises(UsageError, match=r"train.balance balances classes of images, and these have boxes"):
        choose_settings(recipe_of(train={"balance": "background"}), boxes)
