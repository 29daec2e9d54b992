"""The next step of each finding: what is advised changes the training of that model."""

from __future__ import annotations

import re
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch

from tenfold.augment.chosen import chosen_policy
from tenfold.augment.published import named_policy, standard
from tenfold.commands.options import SHORT
from tenfold.models import find_model
from tenfold.models import finetuned as finetuned_module
from tenfold.models import frozen as frozen_module
from tenfold.recipe import Recipe
from tenfold.split.advice import advised_share
from tenfold.train.diagnosis import compared, diagnose
from tenfold.train.diagnosis.advice import OTHER_NETWORK, calm, feed, go_on, loosen, tighten, widen
from tenfold.train.evidence import Measured
from tests.frozen import TinyBackbone
from tests.test_diagnosis import CLASSES, make_facts, make_outcome, sound_history

MODELS = (
    {"name": "plain", "norm": "batch"},
    {"name": "residual", "norm": "batch"},
    {"name": "residual", "norm": "none", "dropout": 0.5, "width": 8},
    {"name": "frozen"},
    {"name": "frozen", "norm": "none", "dropout": 0.5, "width": 8},
    {"name": "finetuned"},
    {"name": "finetuned", "norm": "none", "dropout": 0.5, "width": 8},
    {"name": "finetuned", "norm": "none", "dropout": 0.5, "width": 8, "layers": 1},
    {"name": "finetuned", "hidden": (4,)},
)
POLICIES = (
    {"policy": "none"},
    {"policy": standard().without("flip").to_dict(), "mix_share": 0.0},
    {"policy": "standard", "mix_share": 0.5},
    {"policy": "light"},
)


@pytest.fixture
def tiny(monkeypatch):
    for module in (frozen_module, finetuned_module):
        monkeypatch.setattr(module, "bare_backbone", lambda name: TinyBackbone())


def typed(advice: str) -> list[dict[str, dict[str, object]]]:
    """The options in an advice, as changes of a recipe."""
    long = {short.removeprefix("--"): name for name, short in SHORT.items()}
    changes = []
    for option, text in re.findall(r"--([a-z][\w.-]*) ([\w.-]*\w)", advice):
        section, _, name = long.get(option, option).replace("-", "_").partition(".")
        number = float(text) if re.fullmatch(r"[\d.e-]+", text) else text
        whole = isinstance(getattr(getattr(Recipe(), section), name), int)
        changes.append({section: {name: int(number) if whole else number}})
    return changes


def trained_by(recipe: Recipe) -> list[object]:
    """All that a training of this recipe does otherwise than another: its network at the start, and its steps."""
    if recipe.transfer.backbone == "NAME":
        return ["another network"]
    settings = {key: value for part in ("model", "transfer") for key, value in asdict(getattr(recipe, part)).items()}
    settings |= {"head": "logistic", "strength": 1e-3}
    torch.manual_seed(0)
    model = find_model(recipe.model.name)(3, CLASSES, settings)
    seen = (
        [round(float(model.features(torch.linspace(0, 1, 3 * 20 * 20).view(1, 3, 20, 20)).abs().sum()), 4)]
        if (recipe.model.name == "frozen")
        else []
    )
    if not model.steps():
        return [str(model), seen]
    model.learn(0.0)
    loader = chosen_policy(recipe.augment)
    mixed = loader.mix if loader.mix.is_on else None
    steps = asdict(recipe.train)
    return [str(model), [weight.requires_grad for weight in model.parameters()], loader.ops, mixed, steps]


@pytest.mark.parametrize("model", MODELS, ids=lambda one: "-".join(map(str, one.values())))
@pytest.mark.parametrize("augment", POLICIES, ids=range(len(POLICIES)))
@pytest.mark.usefixtures("tiny")
def test_every_option_that_is_advised_changes_the_training(model, augment):
    train = {"lr": 0.1, "epochs": 3, "minutes": 60.0, "keep": "last"}
    image = {"size": 20}
    facts = make_facts(
        Measured(3, make_outcome(0.7, 0.5), None), model=model, augment=augment, train=train, image=image
    )
    curve = find_model(model["name"]).usual.epochs[1] > 1  # without one, nothing that is read from it is said
    advised = [loosen(facts, longer=False), tighten(facts, useless=False, rose=False), feed(facts.recipe, ["disc"])]
    if curve:
        advised += [loosen(facts, longer=True), tighten(facts, useless=False, rose=True)]
        advised += [calm(facts.recipe), go_on(facts)]
    for advice in advised:
        assert re.search(r"\bwith *[.,]|try *[.,]", advice) is None
        alone = [change for change in typed(advice) if "name" in change.get("model", ()) or "backbone" in str(change)]
        together = [change for change in typed(advice) if change not in alone]
        for change in alone:
            assert trained_by(facts.recipe.change(**change)) != trained_by(facts.recipe), (advice, change)
        for change in together:
            others = facts.recipe
            for other in together:
                others = others.change(**other) if other != change else others
            assert trained_by(others.change(**change)) != trained_by(others), (advice, change)


def test_where_no_head_is_better_than_the_most_frequent_class_images_are_lacking():
    """24 photos of summer and 25 of winter: a network that is trained again on them knows no more."""
    model, transfer = {"name": "frozen"}, {"head": "majority"}
    facts = make_facts(Measured(0, make_outcome(0.5, 0.5), None), model=model, transfer=transfer)
    assert "Add images of each class" in loosen(facts, longer=False)
    assert OTHER_NETWORK in loosen(facts, longer=False)
    tried = replace(facts, tried=frozenset({"transfer.backbone"}))
    assert loosen(tried, longer=False).endswith("says how much they help).")


def test_a_test_of_options_sees_those_that_change_nothing(tiny):
    """What the advice once was: of a frozen network, and of a fine-tuned one without new layers."""
    frozen = make_facts(model={"name": "frozen"}, image={"size": 20}).recipe
    tuned = make_facts(model={"name": "finetuned"}).recipe
    for recipe, text in (
        (frozen, "--policy standard --model.dropout 0.3 --train.balance sampling"),
        (tuned, "--model.width 64"),
    ):
        for change in typed(text):
            assert trained_by(recipe.change(**change)) == trained_by(recipe)
    assert len(typed("--policy standard --model.dropout 0.3 --train.balance sampling.")) == 3


def test_a_frozen_network_is_advised_what_it_looks_at_and_which_network():
    """Five classes, by heart: 400 of 400 training images right, 58 % of 300 others."""
    last = Measured(0, make_outcome(1.0, 0.01, 400), make_outcome(0.58, 1.0))
    facts = make_facts(last, model={"name": "frozen"}, image={"size": 160})
    closed = sound_history().iloc[:1][["epoch", "step", "seconds", "validation_loss"]]
    [found] = diagnose(closed, facts)
    assert found.kind == "overfitting"
    assert "--transfer.views crops --transfer.crop 128" in found.next
    assert "weights of epoch" not in found.next
    assert "--train.balance" not in feed(facts.recipe, ["disc"])


def test_what_the_run_s_own_ladder_compares_is_no_advice():
    """A frozen network that knows its own images badly: of what it could be instead, only what was not tried."""
    rungs = [{"settings": {"backbone": name}} for name in ("one", "one", "other")]
    assert compared({}) == compared({"rungs": rungs[:2]}) == frozenset()
    assert compared({"rungs": rungs[:2], "finetuning": {"decided": False}}) == {"model.name"}
    assert compared({"rungs": rungs, "finetuning": {"decided": True}}) == {"model.name", "transfer.backbone"}
    frozen = make_facts(Measured(0, make_outcome(0.7, 0.5), None), model={"name": "frozen"})
    advised = loosen(frozen, longer=False)
    assert "--model finetuned" in advised
    assert "--transfer.backbone NAME" in advised
    fine_tuned = loosen(replace(frozen, tried=frozenset({"model.name"})), longer=False)
    assert fine_tuned.startswith(f"Train again {OTHER_NETWORK}. Then look at the labels: ")
    both = replace(frozen, tried=frozenset({"model.name", "transfer.backbone"}))
    assert loosen(both, longer=False).startswith("Look at the labels: ")
    assert loosen(both, longer=True).startswith(f"{go_on(both)} Then look at the labels: ")
    assert "--transfer.backbone" not in tighten(both, useless=False, rose=False)
    assert "--transfer.backbone" in tighten(frozen, useless=False, rose=False)


def test_more_of_a_training_raises_every_limit_that_it_has():
    short = make_facts(Measured(3, make_outcome(0.7, 0.5), None), train={"epochs": 3, "minutes": 60.0})
    assert go_on(short) == "Train again with twice the time (--minutes) and --epochs 6."  # it ended by the epochs
    grown = make_facts(Measured(25, make_outcome(0.7, 0.5), None), train={"epochs": 19, "minutes": 3.0})
    assert go_on(grown) == "Train again with twice the time (--minutes) and --epochs 50."
    assert go_on(make_facts(train={"epochs": 20, "minutes": 0.0})) == "Train again with --epochs 40."


def test_augmentation_is_advised_as_the_images_have_it_and_the_share_of_mixed_ones_as_it_is():
    digits = make_facts(augment={"policy": "none"})
    assert "--policy auto --augment.mix-share 0.5" in tighten(digits, useless=False, rose=False)
    own = named_policy("standard")
    own = replace(own, mix=replace(own.mix, share=0.5)).to_dict()
    mixed = make_facts(augment={"policy": own})
    assert "--augment.mix-share" not in tighten(mixed, useless=False, rose=False)
    assert "--augment.mix-share 0" in loosen(mixed, longer=False)
    never = make_facts(augment={"policy": "light", "mix_share": 0.5})  # it has nothing to mix by
    assert "--augment.mix-share" not in loosen(never, longer=False) + tighten(never, useless=False, rose=False)


@pytest.mark.parametrize(("counts", "share"), [([30, 30], 0.15), ([75, 75], 0.3), ([12] * 10, 0.15)])
def test_a_validation_part_as_large_as_advised_is_not_to_be_made_larger(counts, share):
    """What the diagnosis says of a part and what `tenfold split` advises for the same images are not at odds."""
    trained = np.array([round((1 - 2 * share) * count) for count in counts])
    facts = replace(make_facts(split={"validation": share, "test": share}), images=trained)
    held = round(share * sum(counts))
    assert advised_share(sum(counts), len(counts), float(np.median(counts))) == pytest.approx(share)
    said = widen(facts, held)
    assert said.startswith("The part is as large as tenfold split advises; ")
    assert "Add images" in said
    assert "tenfold train DATA --folds 5x2" in said
    smaller = widen(facts, held // 3)
    assert "Hold back more of the images" in smaller
    assert "remove the written split, then tenfold split DATA --validation" in smaller
    assert "where the data give the parts, take these out of them first" in smaller
