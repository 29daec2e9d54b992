"""Without a model `tenfold train` climbs: the frozen ladder, then fine-tuning, one run that a kill does not lose."""

import json
import re
import signal
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from tenfold.__main__ import main
from tenfold.augment import kernel as kernel_module
from tenfold.commands.folds import named
from tenfold.commands.ladder import verdict_lines
from tenfold.errors import DataError, Interrupted, TrainingError, UsageError
from tenfold.images.content import hashed
from tenfold.images.readers import read_table
from tenfold.models import finetuned as finetuned_module
from tenfold.models import frozen as frozen_module
from tenfold.models.finetuned import FineTunedNetwork
from tenfold.recipe import Recipe, recipe_dict
from tenfold.report import write_card, write_report
from tenfold.run import Run, load_run
from tenfold.split import split_table
from tenfold.train import begin as begin_module
from tenfold.train import loop as loop_module
from tenfold.train import measure_epoch, resume_training, train_model
from tenfold.train import start as start_module
from tenfold.train.choose import choose_settings
from tenfold.transfer import best as best_module
from tenfold.transfer import settle as settle_module
from tenfold.transfer import time_left as time_left_module
from tenfold.transfer.best import is_undecided, name_one, resume_best, train_best, why_scratch
from tenfold.transfer.settle import SOURCE, settle_head
from tenfold.transfer.time_left import in_time_left
from tests.frozen import TinyBackbone
from tests.test_frozen_classifier import ORIGIN
from tests.toys import quick_recipe, shapes_table, write_shapes

RECIPE = Recipe().change(
    transfer={"backbone": "tiny"},
    augment={"policy": "none"},
    train={"precision": "float32", "threads": 1, "epochs": 4, "batch_size": 16},
)
settle_quickly = partial(settle_head, heads=("majority", "mean"))
HOPELESS = RECIPE.change(model={"hidden": (4,)}, train={"lr": 1e-9})  # a new head that never learns


@pytest.fixture(scope="module", autouse=True)
def tiny(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TENFOLD_CACHE", str(tmp_path_factory.mktemp("cache")))
        for module in (frozen_module, finetuned_module):
            patch.setattr(module, "bare_backbone", lambda name: TinyBackbone())
        patch.setattr(frozen_module, "make_backbone", lambda name, weights=None: (TinyBackbone(), ORIGIN))
        yield


@pytest.fixture(scope="module")
def table(tmp_path_factory, tiny):
    return shapes_table(tmp_path_factory.mktemp("shapes") / "data")


@pytest.fixture(scope="module")
def settled(table):
    return settle_quickly(table, RECIPE.change(model={"name": "frozen"}))


@pytest.fixture
def climbed(settled, monkeypatch):
    """The ladder as it was climbed before: it takes longer than what these tests are of."""
    monkeypatch.setattr(best_module, "settle_head", lambda *given, **options: settled)


def weakened(settled):
    """As if the ladder had chosen the majority class, so that fine-tuning is sure to be better."""
    head = {name: value for name, value in settled.ladder.rungs[0].settings.items() if name not in SOURCE}
    assert head["head"] == "majority"
    return settled._replace(recipe=settled.recipe.change(transfer=head), ladder=replace(settled.ladder, chosen=0))


@pytest.fixture
def weak(settled, monkeypatch):
    monkeypatch.setattr(best_module, "settle_head", lambda *given, **options: weakened(settled))


def check_same_bits(one, other):
    first, second = (load_file(run.path / "model.safetensors") for run in (one, other))
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


def check_ended(run):
    assert not is_undecided(run.path)
    assert not (run.path / "checkpoint").exists()
    assert load_run(run.path).model.temperature > 0


# What is taken.


def test_fine_tuning_is_taken_where_it_is_better(table, weak, monkeypatch, tmp_path):
    seen, heard, ladders, looked, ledger = [], [], [], [], tmp_path / "run" / "ledger.jsonl"

    def watched(*runs):
        seen.extend(run.predictions("validation") for run in runs)
        with ledger.open("a", encoding="utf-8") as file:  # as whoever looks at the run meanwhile does
            file.write(ledger.read_text("utf-8").splitlines(keepends=True)[-1])
        looked.append(ledger.read_text("utf-8"))
        return judge(*runs)

    judge = best_module.judge
    monkeypatch.setattr(best_module, "judge", watched)
    options = {"findings": {"some": "findings"}, "progress": heard.append, "climbed": ladders.append}
    run = train_best(table, RECIPE, tmp_path / "run", **options)
    check_ended(run)
    assert ledger.read_text("utf-8").startswith(looked[0]), "a look at the run counts whichever network is taken"
    assert run.recipe.model.name == run.card["architecture"] == "finetuned"
    assert run.history["epoch"].max() == 4
    assert run.findings == options["findings"]
    assert [ladder.chosen for ladder in ladders] == [0]
    assert not any("checkpoint" in message.text for message in heard)

    found = run.ladder["finetuning"]
    losses, hits = [], []
    for frame in seen:
        place = [run.classes.index(label) for label in frame["label"]]
        probability = np.array(frame["probability"].tolist())
        losses.append(-np.log(probability[np.arange(len(place)), place]))
        hits.append(probability.argmax(1) == place)
    apart = losses[1] - losses[0]
    error = apart.std(ddof=1) / len(apart) ** 0.5
    assert apart.mean() < -error
    assert found["taken"] == "finetuned"
    assert found["reason"] == (
        f"The fine-tuned network: its log loss is lower by {-apart.mean():.3f}, and one standard error is {error:.3f}."
    )
    assert found["n"] == len(apart) == len(table.part("validation"))
    for name, figures in (("log_loss", losses), ("accuracy", hits)):
        change = found[name]
        assert [change["before"]["value"], change["after"]["value"]] == pytest.approx([part.mean() for part in figures])
        assert change["difference"]["value"] == pytest.approx(figures[1].mean() - figures[0].mean())
        assert change["difference"]["low"] < change["difference"]["value"] < change["difference"]["high"]
    assert found["became_right"] == (hits[1] & ~hits[0]).sum()
    assert found["became_wrong"] == (hits[0] & ~hits[1]).sum()
    assert found["seconds"] == run.history["seconds"].max()
    assert run.evaluations["validation"]["figures"]["log_loss"]["value"] == pytest.approx(losses[1].mean())

    kept = load_run(run.path / found["kept"])  # the frozen one, which alone can have classes held out
    assert (kept.recipe.model.name, kept.card["architecture"]) == ("frozen", "frozen")
    settled = best_module.settle_head(table, RECIPE)
    check_same_bits(kept, train_model(table, settled.recipe, tmp_path / "alone", known=settled.known))


def test_neither_network_is_advised_what_is_compared_anyway(table, settled, monkeypatch, tmp_path):
    *others, last = settled.ladder.rungs
    ladder = replace(settled.ladder, rungs=(*others, replace(last, settings=last.settings | {"backbone": "another"})))
    monkeypatch.setattr(best_module, "settle_head", lambda *given, **options: settled._replace(ladder=ladder))
    seen = []
    monkeypatch.setattr(start_module, "diagnose", lambda rows, facts: seen.append(facts) or [])
    train_best(table, HOPELESS, tmp_path / "run")
    assert [facts.recipe.model.name for facts in seen] == ["frozen", "finetuned"]
    assert [facts.tried for facts in seen] == [{"model.name", "transfer.backbone"}] * 2


def test_the_frozen_network_stays_where_fine_tuning_is_no_better(table, settled, climbed, tmp_path):
    run = train_best(table, HOPELESS, tmp_path / "run")
    check_ended(run)
    assert run.ladder["finetuning"]["taken"] == "frozen"
    assert "kept" not in run.ladder["finetuning"]
    assert not (run.path / "frozen").exists()
    assert run.ladder["finetuning"]["reason"].startswith("The frozen network: fine-tuning does not lower the log loss")
    assert run.ladder["chosen"] == settled.ladder.chosen
    check_same_bits(run, train_model(table, settled.recipe, tmp_path / "alone", known=settled.known))
    page = write_report(run).read_text("utf-8")
    assert "How the model was chosen" in page
    assert "What fine-tuning changed" in page
    said = "The validation images chose between the frozen and the fine-tuned network"
    assert page.count(said) == 2  # in the headline and beside the figures
    assert said in write_card(run).read_text("utf-8")
    lines = verdict_lines(run.ladder)
    assert lines[0].endswith(f"frozen, then fine-tuned, {len(table.part('validation'))} validation images")
    assert lines[-2] == f"Taken: {run.ladder['finetuning']['reason']}"


# Killed at any moment.


@pytest.fixture(scope="module")
def straight(table, settled, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(best_module, "settle_head", lambda *given, **options: weakened(settled))
        return train_best(table, RECIPE, tmp_path_factory.mktemp("runs") / "straight")


def failing(function, call):
    """The function, but its call of that number is the end, as of a machine that loses power."""
    calls = iter(range(1, 1000))

    def fail(*given, **options):
        if next(calls) == call:
            raise SystemExit("power lost")
        return function(*given, **options)

    return fail


def stop_at_step(number):
    def stop(message):
        if message.phase == "step" and message.step == number:
            raise SystemExit("power lost")

    return stop


@pytest.mark.parametrize(
    ("module", "name", "call", "whole"),
    [
        (start_module, "calibrate", 1, False),  # fitting the frozen network
        (begin_module, "write_recipe", 2, True),  # beginning the other one
        (best_module, "write_json", 1, True),  # the verdict
        (best_module, "write_file", 4, False),  # the replacement
        (best_module, "write_file", 8, True),  # its last file
    ],
)
def test_killed_anywhere_it_goes_on_to_the_same_end(
    table, weak, straight, monkeypatch, tmp_path, module, name, call, whole
):
    out = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(module, name, failing(getattr(module, name), call))
        with pytest.raises(SystemExit):
            train_best(table, RECIPE, out)
    check_goes_on(out, straight, whole)


def test_killed_while_fine_tuning_too(table, weak, straight, monkeypatch, tmp_path):
    monkeypatch.setattr(loop_module, "CHECKPOINT_SECONDS", 0.0)
    with pytest.raises(SystemExit):
        train_best(table, RECIPE, tmp_path / "run", progress=stop_at_step(7))
    inner = tmp_path / "run" / "checkpoint" / "finetuned"
    with pytest.raises(UsageError, match=rf"is a part of the run .*; go on with that one: .* --resume {tmp_path}/run$"):
        resume_best(inner)
    assert not (inner / "checkpoint" / "finetuned").exists()
    check_goes_on(tmp_path / "run", straight, whole=True)


def test_a_file_of_weights_is_found_from_anywhere_when_it_goes_on(table, settled, monkeypatch, tmp_path):
    (tmp_path / "weights.bin").touch()
    monkeypatch.chdir(tmp_path)
    recipe = RECIPE.change(transfer={"weights": "weights.bin"})
    chosen = choose_settings(recipe.change(model={"name": "frozen"}), table.part("train"))
    assert chosen.transfer.weights == str(tmp_path / "weights.bin")
    network = {"weights": chosen.transfer.weights}
    climbed = settled._replace(recipe=settled.recipe.change(transfer=network))
    monkeypatch.setattr(best_module, "settle_head", lambda *given, **options: climbed)
    with pytest.raises(SystemExit):
        train_best(table, recipe, tmp_path / "run", progress=stop_at_step(1))
    told = Run(tmp_path / "run").ladder["finetuning"]["recipe"]
    assert told["transfer"]["weights"] == str(tmp_path / "weights.bin")


def check_goes_on(out, straight, whole):
    """`whole`: whether what the kill left is the whole run of the frozen network."""
    assert is_undecided(out)
    if whole:
        left = load_run(out)
        assert left.recipe.model.name in {"frozen", "finetuned"}
        assert len(left.predict([np.zeros((20, 20, 3), np.uint8)])) == 1
        assert f"go on with: <code>tenfold train --resume {out}" in write_report(left).read_text("utf-8")
    if not whole:
        with pytest.raises(DataError, match=f"has not ended; go on with: tenfold train --resume {out}"):
            load_run(out)
    run = resume_best(out)
    check_ended(run)
    check_same_bits(run, straight)
    mine, theirs = (other.ladder["finetuning"] | {"seconds": 0} for other in (run, straight))
    assert mine == theirs
    assert run.card == straight.card
    assert {path.name for path in run.path.iterdir()} == {path.name for path in straight.path.iterdir()}
    before = (out / "model.safetensors").stat().st_mtime_ns
    assert resume_best(out).path == out
    assert (out / "model.safetensors").stat().st_mtime_ns == before


def test_a_head_is_fitted_again_to_the_features_that_the_ladder_had(table, monkeypatch, tmp_path):
    """As from ONNX Runtime, whose last digits are not PyTorch's: resuming must not compute them in another way."""
    shift = np.linspace(0, 0.5, 8, dtype=np.float32)

    def other_digits(prepared, extractor, **options):
        features = real(prepared, extractor, **options)
        return features + np.resize(shift, features.shape[-1])

    real = settle_module.table_features
    monkeypatch.setattr(settle_module, "table_features", other_digits)
    settled = settle_quickly(table, RECIPE.change(model={"name": "frozen"}))
    ladder = settled.ladder.to_json()
    whole = train_model(table, settled.recipe, tmp_path / "whole", known=settled.known, ladder=ladder)
    with monkeypatch.context() as patch:
        patch.setattr(start_module, "calibrate", failing(start_module.calibrate, 1))
        with pytest.raises(SystemExit):
            train_model(table, settled.recipe, tmp_path / "run", known=settled.known, ladder=ladder)
    check_same_bits(resume_best(tmp_path / "run"), whole)


def test_ctrl_c_names_the_run_that_was_asked_for(table, weak, tmp_path):
    def press(message):
        if message.phase == "step" and message.step == 2:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(Interrupted) as caught:
        train_best(table, RECIPE, tmp_path / "run", progress=press)
    assert str(caught.value) == f"Stopped and saved; go on with: tenfold train --resume {tmp_path / 'run'}"


def test_a_full_disk_is_told_and_the_work_goes_on(table, weak, straight, monkeypatch, tmp_path):
    def full(*given):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(best_module, "write_file", full)
        with pytest.raises(DataError, match=r"cannot be written \(No space left on device\); .* --resume"):
            train_best(table, RECIPE, tmp_path / "run")
    check_goes_on(tmp_path / "run", straight, whole=False)


def test_a_run_keeps_its_ladder_from_the_start(table, settled, monkeypatch, tmp_path):
    ladder = settled.ladder.to_json()
    with monkeypatch.context() as patch:
        patch.setattr(start_module, "calibrate", failing(start_module.calibrate, 1))
        with pytest.raises(SystemExit):
            train_model(table, settled.recipe, tmp_path / "run", known=settled.known, ladder=ladder)
    assert Run(tmp_path / "run").ladder == ladder
    assert resume_training(tmp_path / "run").ladder == ladder


# What is left out, and said.


def check_left_out(run, sentence):
    check_ended(run)
    assert run.recipe.model.name == "frozen"
    assert "finetuning" not in run.ladder
    assert run.ladder["left_out"][-1] == sentence
    assert verdict_lines(run.ladder) == []
    assert "Left out: fine-tuning: " in write_report(run).read_text("utf-8")


def test_without_validation_images_nothing_is_fine_tuned(table, climbed, tmp_path):
    ladders = []
    parts = table.samples["part"].to_numpy(object)
    whole = table.assign(part=np.where(parts == "validation", "train", parts))
    run = train_best(whole, RECIPE, tmp_path / "run", climbed=ladders.append)
    sentence = "fine-tuning: there are fewer than 2 validation images to compare it on."
    check_left_out(run, sentence)
    assert ladders[0].left_out[-1] == sentence


def test_a_backbone_that_cannot_learn_stays_frozen(table, settled, monkeypatch, tmp_path):
    monkeypatch.setattr(best_module, "settle_head", lambda *given, **options: settled._replace(learns=False))
    run = train_best(table, RECIPE, tmp_path / "run")
    check_left_out(run, "fine-tuning: this backbone has no layers that can learn.")


def test_fine_tuning_has_the_time_that_is_left(table, climbed, monkeypatch, tmp_path):
    given = []
    monkeypatch.setattr(best_module, "measure_epoch", lambda table, recipe: given.append(recipe) or (recipe, 900.0))
    heard = []
    limited = RECIPE.change(train={"minutes": 5.0})
    run = train_best(table, limited, tmp_path / "run", progress=heard.append)
    sentence = run.ladder["left_out"][-1]
    said = r"fine-tuning: an epoch takes about 900 s here, to see what came out (\d+) s, and (\d+) s were left\."
    after, left = map(int, re.fullmatch(said, sentence).groups())
    assert after == round((6 * 18 + 2 * 54 + 3 * 5) * 900 / 54 / 3)  # 18 validation images, of 54 to learn from
    assert 200 < left <= 300
    assert f"Left out: {sentence}" in [message.text for message in heard]
    check_left_out(run, sentence)
    assert 4.5 < given[0].train.minutes < 5
    monkeypatch.setattr(best_module, "measure_epoch", lambda table, recipe: (recipe, 54.0))
    trained = []

    def refuse(table, recipe, out, **options):
        if recipe.model.name == "frozen":
            return train_model(table, recipe, out, **options)
        trained.append(recipe)
        raise TrainingError("The loss is nan.")

    monkeypatch.setattr(best_module, "train_model", refuse)
    check_left_out(train_best(table, limited, tmp_path / "other"), "fine-tuning: The loss is nan.")
    assert 200 < 60 * trained[0].train.minutes < 300


def test_what_has_no_time_left_is_not_measured(table, climbed, monkeypatch, tmp_path):
    monkeypatch.setattr(best_module, "measure_epoch", None)
    run = train_best(table, RECIPE.change(train={"minutes": 5.0}), tmp_path / "run", started=time.monotonic() - 301)
    check_left_out(run, "fine-tuning: there was no time left for it.")


def test_the_time_counts_from_when_it_was_given(table, settled, monkeypatch, tmp_path):
    """Three of the five minutes went by before; the ladder and what is left for fine-tuning know it."""
    options, given = {}, []
    monkeypatch.setattr(best_module, "settle_head", lambda *given, **named: options.update(named) or settled)
    monkeypatch.setattr(best_module, "measure_epoch", lambda table, recipe: given.append(recipe) or (recipe, 900.0))
    started = time.monotonic() - 180
    train_best(table, RECIPE.change(train={"minutes": 5.0}), tmp_path / "run", started=started)
    assert options["started"] == started
    assert 1.5 < given[0].train.minutes < 2


def test_classes_are_held_out_before_fine_tuning_takes_the_time(table, weak, monkeypatch, tmp_path):
    given = []

    def hold_out(run, *, seconds):
        assert run.recipe.model.name == "frozen"
        given.append(seconds)
        (run.path / "unknown.safetensors").write_bytes(b"of the frozen one")

    monkeypatch.setattr(best_module, "fit_unknown", hold_out)
    train_best(table, RECIPE.change(train={"minutes": 5.0}), tmp_path / "run", started=time.monotonic() - 100)
    assert 10 < given[0] <= 20
    assert not (tmp_path / "run" / "unknown.safetensors").exists()
    assert (tmp_path / "run" / "frozen" / "unknown.safetensors").read_bytes() == b"of the frozen one"


def test_the_kernel_is_compiled_before_the_time_is_shared_out(table, climbed, monkeypatch, tmp_path):
    done = []
    monkeypatch.setattr(best_module, "compile_kernel", lambda recipe, progress: done.append(recipe.model.name))
    monkeypatch.setattr(best_module, "measure_epoch", lambda table, recipe: done.append("epoch") or (recipe, 900.0))
    train_best(table, RECIPE.change(train={"minutes": 5.0}), tmp_path / "run")
    assert done == ["finetuned", "epoch"]


def test_weights_and_their_licence_are_told_before_an_image_is_decoded(table):
    heard = []
    settle_quickly(table, RECIPE.change(model={"name": "frozen"}, image={"size": 18}), progress=heard.append)
    assert heard[0].text == "Pretrained network: tiny, made by hand; licence CC0-1.0"
    assert any("decoding images" in message.text for message in heard[1:])


def test_the_ladder_is_not_climbed_when_the_time_is_over(table):
    frozen = RECIPE.change(model={"name": "frozen"}, train={"minutes": 1.0})
    with pytest.raises(UsageError, match=r"The time limit of 60 s (was over before|is too short)"):
        settle_head(table, frozen, started=time.monotonic() - 60)


def test_an_epoch_is_measured(table):
    tuned = RECIPE.change(model={"name": "finetuned"}, train={"precision": "auto"})
    recipe, seconds = measure_epoch(table, tuned)
    assert 0 < seconds < 60
    assert recipe == tuned.change(train={"precision": recipe.train.precision})
    assert measure_epoch(table, RECIPE.change(model={"name": "frozen"}))[1] == 0


@pytest.mark.parametrize("kind", [TrainingError, UsageError])
def test_a_training_that_fails_leaves_the_frozen_network(table, climbed, monkeypatch, tmp_path, kind):
    def fail(self, batch):
        raise kind("The loss is nan.")

    monkeypatch.setattr(FineTunedNetwork, "losses", fail)
    check_left_out(train_best(table, RECIPE, tmp_path / "run"), "fine-tuning: The loss is nan.")


def test_the_same_answers_decide_nothing(table, climbed, monkeypatch, tmp_path):
    monkeypatch.setattr(best_module, "judge", lambda *runs: None)
    run = train_best(table, RECIPE, tmp_path / "run")
    check_left_out(run, "fine-tuning: what it answers to the validation images cannot be told from the frozen network.")


# When nothing is climbed.


@pytest.fixture(scope="module")
def grey(tmp_path_factory):
    folder, generator = tmp_path_factory.mktemp("grey"), np.random.default_rng(0)
    for number, name in enumerate("ab"):
        (folder / name).mkdir()
        for place in range(12):
            image = generator.integers(100 * number, 100 * number + 100, (70, 24), np.uint8)
            Image.fromarray(image).save(folder / name / f"{place}.png")
    return split_table(read_table(folder), validation=0.2, test=0.2)


def test_small_grey_images_are_learned_from_scratch(grey, tmp_path):
    heard = []
    recipe = quick_recipe(model={"name": "auto"}, augment={"policy": "none"}, train={"epochs": 1})
    run = train_best(grey, recipe, tmp_path / "run", progress=heard.append)
    assert run.recipe.model.name == "residual"
    assert run.ladder == {}
    reason = "All images are small and grey, and a network that knows photos sees little in those; --model tries it."
    assert heard[0].text == f"Model: residual, from scratch. {reason}"
    check_same_bits(run, train_model(grey, recipe, tmp_path / "alone"))  # which names the same model
    named_so, sentence = name_one(grey, Recipe())
    assert (named_so.model.name, sentence) == ("residual", heard[0].text)
    assert why_scratch(grey, RECIPE) == ""  # a backbone was asked for


def test_without_weights_it_is_learned_from_scratch(table, monkeypatch):
    def missing(name):
        raise DataError(f"The weights of {name} are not on this machine: get them.")

    assert why_scratch(table, Recipe()) == ""
    monkeypatch.setattr(best_module, "find_weights", missing)
    assert why_scratch(table, Recipe()) == "The weights of efficientnet-lite0 are not on this machine: get them."
    assert why_scratch(table, RECIPE) == ""  # where one was asked for, that it is missing is an error


def test_what_the_ladder_could_not_judge_is_learned_from_scratch(table):
    assert why_scratch(table.assign(group="one camera"), Recipe()).startswith("All training images belong together")
    assert why_scratch(table, Recipe().change(image={"channels": "grey"})).startswith("The images are made grey")


def scratch_only(monkeypatch):
    """The recipes that would be trained, and nothing trained."""
    trained = []
    monkeypatch.setattr(best_module, "find_weights", lambda name: None)
    monkeypatch.setattr(best_module, "train_model", lambda table, recipe, *given, **more: trained.append(recipe))
    return trained


def test_too_few_that_can_be_read_are_learned_from_scratch(tmp_path, monkeypatch):
    table = shapes_table(tmp_path / "few", 3)
    for source in table.part("train").samples["source"][1:]:
        Path(source).write_bytes(b"no image")
    trained, heard = scratch_only(monkeypatch), []
    few = hashed(table.assign(hash=[None] * len(table)))
    train_best(few, Recipe(), tmp_path / "run", progress=heard.append)
    assert [recipe.model.name for recipe in trained] == ["residual"]
    said = [message.text for message in heard if message.text.startswith("Model: residual, from scratch. The ladder")]
    assert len(said) == 1
    assert "none stands apart from the rest (1)" in said[0]
    with pytest.raises(UsageError, match="none stands apart"):
        train_best(few, RECIPE, tmp_path / "run")  # a backbone was asked for


def test_from_scratch_the_time_counts_from_the_same_moment(grey, tmp_path, monkeypatch):
    trained = scratch_only(monkeypatch)
    limited = Recipe().change(train={"minutes": 5.0}, augment={"policy": "none"})
    train_best(grey, limited, tmp_path / "run", started=time.monotonic() - 120)
    assert 2.9 < trained[0].train.minutes <= 3
    with pytest.raises(UsageError, match=r"^The time limit of 300 s was over before the training began; give more"):
        train_best(grey, limited, tmp_path / "run", started=time.monotonic() - 301)


def test_what_is_left_of_the_minutes(grey, monkeypatch):
    plain = Recipe().change(model={"name": "plain"}, train={"minutes": 5.0})
    clock, compiled = SimpleNamespace(now=1000.0), []

    def compile_passes():
        compiled.append(1)
        clock.now += 30

    monkeypatch.setattr(kernel_module, "compile_passes", compile_passes)
    for module in (time_left_module, start_module):
        monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: clock.now))
    heard = []
    assert in_time_left(grey, plain, 940.0, heard.append) == plain.change(train={"minutes": 3.5})
    assert [message.text for message in heard] == ["compiled the kernel of augmentation, once for this machine: 30 s"]
    bare = plain.change(augment={"policy": "none"})
    assert in_time_left(grey, bare, 1030.0 - 60) == bare.change(train={"minutes": 4.0})
    assert len(compiled) == 1
    brief = bare.change(train={"minutes": 0.01})
    assert in_time_left(grey, brief, 1030.0 - 0.3).train.minutes == pytest.approx(0.005)
    with pytest.raises(UsageError, match=r"^The time limit of 0\.6 s was over"):
        in_time_left(grey, brief, 1030.0 - 0.7)
    for same in (plain.change(train={"minutes": 0.0}), plain.change(model={"name": "frozen"})):
        assert in_time_left(grey, same, 0.0) == same
    monkeypatch.setenv("WORLD_SIZE", "2")  # ranks that stop at different steps would wait for each other
    assert in_time_left(grey, plain, 0.0) == plain


def test_one_fixed_procedure_is_named_for_folds_and_curves(table, capsys):
    recipe = named(table, RECIPE, {})
    assert recipe == RECIPE.change(model={"name": "frozen"}, transfer={"head": "logistic"})
    said = capsys.readouterr().err
    assert said == (
        "Model: frozen, with the head logistic: one fixed procedure is asked for here; --model names another.\n"
    )
    plain = RECIPE.change(model={"name": "plain"})
    assert named(table, plain, {}) is plain
    assert capsys.readouterr().err == ""
    strong = RECIPE.change(augment={"policy": "strong"})
    with pytest.raises(UsageError, match=r"augment\.policy \(--policy\) is for .*, not for frozen; leave it out"):
        named(table, strong, {"augment__policy": "strong"})


@pytest.mark.parametrize("name", ["head", "strength", "sharpness"])
def test_what_the_ladder_chooses_must_be_left_open(table, tmp_path, name):
    recipe = RECIPE.change(transfer={name: "svm" if name == "head" else 2.0})
    with pytest.raises(UsageError, match=rf"transfer\.{name} must be left open where no model is named"):
        train_best(table, recipe, tmp_path / "run")


def test_what_cannot_be_climbed_is_refused_at_once(table, monkeypatch, tmp_path):
    monkeypatch.setattr(best_module, "settle_head", None)
    with pytest.raises(UsageError, match="no training part"):
        train_best(table.assign(part="test"), RECIPE, tmp_path / "run")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match="out must be a new or empty folder"):
        train_best(table, RECIPE, tmp_path / "other")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UsageError, match="Several processes train one model together and cannot choose between two"):
        train_best(table, RECIPE, tmp_path / "run")


def test_the_commands_climb_and_tell(tmp_path, monkeypatch, capsys):
    for module in (best_module, settle_module):
        monkeypatch.setattr(module, "settle_head", settle_quickly)
    monkeypatch.chdir(tmp_path)
    write_shapes(tmp_path / "shapes", 12)
    options = "--transfer.backbone tiny --batch-size 16 --policy none --no-check".split()
    options += "--split.validation 0.25 --split.test 0.25 --train.precision float32 --train.threads 1".split()
    assert main(["train", "shapes", "--out", "run", "--json", "--epochs", "1", *options]) == 0
    out, err = capsys.readouterr()
    found = json.loads(out)
    assert found["ladder"] == json.loads((tmp_path / "run" / "ladder.json").read_text("utf-8"))
    assert found["ladder"]["finetuning"]["taken"] == load_run("run").card["architecture"]
    after = found["ladder"]["finetuning"]["accuracy"][
        "after" if found["ladder"]["finetuning"]["taken"] == "finetuned" else "before"
    ]
    assert found["evaluation"]["validation"]["figures"]["accuracy"]["value"] == after["value"]
    assert "Ladder: of the training images alone" in err
    assert f"Taken: {found['ladder']['finetuning']['reason']}" in err
    assert main(["train", "--resume", "run"]) == 0
    assert "run has ended; this is what it gave." in capsys.readouterr().err
    assert main(["train", "shapes", "--model", "frozen", "--out", "plain", "--json", *options]) == 0
    assert json.loads(capsys.readouterr().out)["ladder"]["chosen"] == found["ladder"]["chosen"]
    assert main(["train", "shapes", "--folds", "2", "--out", "cv", *options]) == 0
    assert "Model: frozen, with the head logistic" in capsys.readouterr().err
    assert recipe_dict(Run(tmp_path / "cv" / "repeat1-fold1").recipe)["model"]["name"] == "frozen"


def test_the_command_goes_on_with_what_is_not_decided(table, weak, straight, monkeypatch, tmp_path, capsys):
    with pytest.raises(SystemExit):
        train_best(table, RECIPE, tmp_path / "run", progress=stop_at_step(3))
    assert main(["train", "--resume", str(tmp_path / "run"), "--json"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["ladder"]["finetuning"]["taken"] == "finetuned"
    assert "has ended" not in err
    assert "Taken: The fine-tuned network" in err
