"""The loop: it learns, stops, goes on with the same bits, and loses nothing."""

import math
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections import deque
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from tenfold import environment
from tenfold.augment.published import named_policy
from tenfold.environment import torch_threads
from tenfold.errors import DataError, Interrupted, TrainingError, UsageError
from tenfold.evaluate import evaluate_run
from tenfold.images.content import hashed
from tenfold.images.readers import read_table
from tenfold.recipe import Recipe, read_recipe
from tenfold.run import Run, load_run, write_json
from tenfold.split import split_table
from tenfold.train import loop as loop_module
from tenfold.train import measure, resume_training, train_folds, train_model
from tenfold.train import plan as plan_module
from tenfold.train.checkpoint import State
from tenfold.train.choose import choose_mixing, choose_settings, notes_on_norm
from tests.toys import quick_recipe, shapes_table, write_shapes


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    os.environ["TENFOLD_CACHE"] = str(tmp_path_factory.mktemp("cache"))
    return shapes_table(tmp_path_factory.mktemp("shapes") / "data")


@pytest.fixture(scope="module")
def undisturbed(table, tmp_path_factory):
    return train_model(table, quick_recipe(), tmp_path_factory.mktemp("runs") / "undisturbed")


def weights(run):
    return load_file(run.path / "model.safetensors")


def check_same_bits(one, other):
    first, second = weights(one), weights(other)
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


class StopAt:
    """Fails once at a given step, as a machine that loses power would."""

    def __init__(self, step):
        self.step = step

    def __call__(self, message):
        if message.phase == "step" and message.step == self.step:
            raise SystemExit("power lost")


def test_it_learns_and_leaves_a_whole_run(table, tmp_path):
    run = train_model(table, quick_recipe(train={"epochs": 14, "lr": 0.04}, augment={"mix_share": 0}), tmp_path / "run")
    history = run.history
    assert history["epoch"].tolist() == list(range(1, 15))
    assert history["train_loss"].iloc[-1] < 0.7 * history["train_loss"].iloc[0]
    assert history["validation_accuracy"].max() > 0.8
    names = {path.name for path in run.path.iterdir()}
    assert names == {
        "recipe.toml", "table.parquet", "model.json", "model.safetensors", "history.csv", "environment.json",
        "diagnosis.json",
    }  # fmt: skip
    assert load_run(run.path).classes == ("bar", "disc", "ring")


def test_the_same_seed_gives_the_same_bits_and_another_does_not(table, undisturbed, tmp_path):
    check_same_bits(undisturbed, train_model(table, quick_recipe(), tmp_path / "same"))
    other = train_model(table, quick_recipe(train={"seed": 1}), tmp_path / "other")
    assert any(
        not torch.equal(a, b) for a, b in zip(weights(undisturbed).values(), weights(other).values(), strict=True)
    )


def test_the_run_s_own_recipe_repeats_the_run(table, undisturbed, tmp_path):
    recipe = read_recipe(undisturbed.path / "recipe.toml")
    check_same_bits(undisturbed, train_model(table, recipe, tmp_path / "again"))


@pytest.mark.parametrize("step", [1, 6, 7, 8, 13, 20])
def test_killed_at_any_step_it_goes_on_with_the_same_bits(table, undisturbed, tmp_path, monkeypatch, step):
    monkeypatch.setattr(loop_module, "CHECKPOINT_SECONDS", 0.0)
    with pytest.raises(SystemExit):
        train_model(table, quick_recipe(), tmp_path / "run", progress=StopAt(step))
    with pytest.raises(DataError, match="has not ended; go on with: tenfold train --resume"):
        load_run(tmp_path / "run")
    resumed = resume_training(tmp_path / "run")
    check_same_bits(undisturbed, resumed)
    assert resumed.card == undisturbed.card  # with the temperature, to the last bit
    pd.testing.assert_frame_equal(
        undisturbed.history.drop(columns=["seconds", "images_per_second"]),
        resumed.history.drop(columns=["seconds", "images_per_second"]),
    )
    assert not (tmp_path / "run" / "checkpoint").exists()


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="Windows has no SIGKILL")
def test_sigkill_from_outside_too(undisturbed, table, tmp_path):
    data = write_shapes(tmp_path / "data")
    out = tmp_path / "run"
    script = (
        "import sys; from pathlib import Path; from tests.toys import *; from tenfold.train import loop, train_model\n"
        "loop.CHECKPOINT_SECONDS = 0.0\n"
        "if __name__ == '__main__':\n"
        "    table = split_table(read_table(Path(sys.argv[1])), validation=0.2, test=0.2)\n"
        "    train_model(table, quick_recipe(train={'epochs': 40}), sys.argv[2])\n"
    )
    process = subprocess.Popen([sys.executable, "-c", script, str(data), str(out)])
    checkpoint = out / "checkpoint" / "state.safetensors"
    deadline = time.monotonic() + 90
    while not checkpoint.exists() and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.01)
    time.sleep(0.1)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert checkpoint.exists()
    resumed = resume_training(out)
    straight = train_model(table, quick_recipe(train={"epochs": 40}), tmp_path / "straight")
    check_same_bits(straight, resumed)


def test_ctrl_c_saves_and_says_how_to_go_on(table, undisturbed, tmp_path):
    def press(message):
        if message.phase == "step" and message.step == 9:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(Interrupted, match="go on with: tenfold train --resume"):
        train_model(table, quick_recipe(), tmp_path / "run", progress=press)
    seen = []
    resumed = resume_training(tmp_path / "run", progress=seen.append)
    assert min(message.step for message in seen if message.phase == "step") == 10
    check_same_bits(undisturbed, resumed)


def test_a_folder_of_several_runs_is_not_resumed_as_one(table, tmp_path):
    train_folds(table, quick_recipe(train={"epochs": 1}), tmp_path / "folds", folds=2)
    with pytest.raises(
        DataError, match=r"is no run: .* give the command that began it once more, with --out .*folds: "
    ):
        resume_training(tmp_path / "folds")


def test_resuming_a_run_that_ended_changes_nothing(undisturbed):
    before = (undisturbed.path / "model.safetensors").stat().st_mtime_ns
    resume_training(undisturbed.path)
    assert (undisturbed.path / "model.safetensors").stat().st_mtime_ns == before


def test_a_loss_that_is_not_finite_stops_with_what_to_do(table, tmp_path):
    recipe = quick_recipe(train={"lr": 100.0, "optimizer": "sgd", "clip": 0, "warmup": 0}, model={"norm": "none"})
    with pytest.raises(
        TrainingError, match=r"The loss 'loss' is (nan|inf) at step \d+ of 21 .*learning rate .*lower --lr"
    ):
        train_model(table, recipe, tmp_path / "run")


def test_early_stopping_keeps_the_best_weights(table, tmp_path):
    recipe = quick_recipe(train={"epochs": 39, "patience": 2, "lr": 0.08}, augment={"mix_share": 0})
    run = train_model(table, recipe, tmp_path / "run")
    losses = run.history["validation_loss"].tolist()
    assert len(losses) < 39
    assert losses.index(min(losses)) == len(losses) - 3
    write_json(run.path / "model.json", run.card | {"calibration": {}})  # the history's losses are uncalibrated
    found = evaluate_run(Run(run.path, table), "validation").figures["log_loss"].value
    assert found == pytest.approx(min(losses), rel=1e-4)


def test_minutes_limit_the_training(table, tmp_path):
    run = train_model(table, quick_recipe(train={"epochs": 0, "minutes": 0.1}), tmp_path / "run")
    assert 1 <= run.recipe.train.epochs < 10_000
    assert run.history["seconds"].iloc[-1] < 8


def test_killed_at_the_very_end_a_limited_run_is_repeated_by_its_epochs_too(table, tmp_path, monkeypatch):
    def die(recipe, path):
        assert (path.parent / "model.safetensors").exists()
        raise SystemExit("killed")

    limited = quick_recipe(train={"epochs": 2, "minutes": 5.0})
    with monkeypatch.context() as patch:
        patch.setattr("tenfold.train.start.write_recipe", die)
        with pytest.raises(SystemExit):
            train_model(table, limited, tmp_path / "run")
    assert read_recipe(tmp_path / "run" / "recipe.toml").train.minutes == 5
    resumed = resume_training(tmp_path / "run")
    assert (resumed.recipe.train.minutes, resumed.recipe.train.epochs) == (0, 2)


def test_what_a_kill_left_of_the_training_of_an_ended_run_goes(table, tmp_path, monkeypatch):
    def die(folder, **options):
        raise SystemExit("killed")

    with monkeypatch.context() as patch:
        patch.setattr("tenfold.train.start.shutil.rmtree", die)
        with pytest.raises(SystemExit):
            train_model(table, quick_recipe(train={"epochs": 2}), tmp_path / "run")
    left = tmp_path / "run" / "checkpoint"
    assert (left / "state.safetensors").exists()
    assert (tmp_path / "run" / "model.safetensors").exists()
    (left / "finetuned").mkdir()  # a run of its own that is still under way
    resume_training(tmp_path / "run")
    assert [path.name for path in left.iterdir()] == ["finetuned"]
    (left / "finetuned").rmdir()
    resume_training(tmp_path / "run")
    assert not left.exists()
    resume_training(tmp_path / "run")


def test_a_time_limit_shrinks_the_images_unless_their_size_is_given(tmp_path, monkeypatch):
    table = split_table(read_table(write_shapes(tmp_path / "data", size=96)), validation=0.2, test=0.2)
    monkeypatch.setattr(plan_module, "_ENOUGH_EPOCHS", 10**9)
    run_loop, hasty = loop_module.Loop.run, {"epochs": 0, "minutes": 1.0}

    def run_late(loop):
        """With time left for one step."""
        loop.state.seconds = 60 - loop.state.closing - 1e-3
        run_loop(loop)

    monkeypatch.setattr(loop_module.Loop, "run", run_late)
    run = train_model(table, quick_recipe(image={"size": 0, "margin": 0}, train=hasty), tmp_path / "small")
    assert run.recipe.image.size == run.card["preprocessing"]["size"] == 72
    capped = hasty | {"epochs": 1}
    run = train_model(table, quick_recipe(image={"size": 0, "margin": 0}, train=capped), tmp_path / "capped")
    assert run.recipe.image.size == 96
    run = train_model(table, quick_recipe(image={"size": 96, "margin": 0}, train=hasty), tmp_path / "given")
    assert run.recipe.image.size == 96


@pytest.mark.parametrize(("epochs", "share"), [(1, 0), (25, 0.25), (80, 0.5)])
def test_longer_trainings_mix_more_images(epochs, share):
    recipe = Recipe().change(train={"epochs": epochs})
    assert choose_mixing(recipe).augment.mix_share == share
    assert choose_mixing(recipe.change(augment={"mix_share": 0.1})).augment.mix_share == 0.1


def test_a_limit_that_is_over_before_the_first_step_is_refused(table, tmp_path):
    with pytest.raises(UsageError, match="was over before the first step; give more"):
        train_model(table, quick_recipe(train={"minutes": 0.0001}), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_with_patience_every_epoch_is_looked_at(table, tmp_path):
    run = train_model(table, quick_recipe(train={"epochs": 45, "patience": 44}), tmp_path / "run")
    assert run.history["validation_loss"].notna().all()


def test_patience_needs_a_validation_part(tmp_path):
    table = split_table(read_table(write_shapes(tmp_path / "data")), validation=0, test=0.2)
    told = []
    recipe = quick_recipe(train={"epochs": 4, "patience": 1})
    run = train_model(table, recipe, tmp_path / "run", progress=lambda message: told.append(message.text))
    assert len(run.history) == 4
    assert any("there is no validation part: training goes on to its last epoch" in text for text in told)


def test_the_faster_number_of_threads_is_taken(table, monkeypatch):
    monkeypatch.setattr(environment, "cores", lambda: 2)
    monkeypatch.setattr(measure, "_step_seconds", lambda *words: [1.0 if torch.get_num_threads() == 1 else 3.0])
    cpu = torch.device("cpu")
    with torch_threads(2):
        assert measure.measure_pace(None, None, Recipe(), cpu) == measure.Pace("float32", 1, 1.0, 1.0)
        given = Recipe().change(train={"threads": 2})
        assert measure.measure_pace(None, None, given, cpu) == measure.Pace("float32", 2, 3.0, 3.0)
        assert torch.get_num_threads() == 2
        monkeypatch.setattr(environment, "cores", lambda: 1)  # in a container that is allowed one
        monkeypatch.setattr(measure, "_step_seconds", lambda *words: [1 / torch.get_num_threads()])
        assert measure.measure_pace(None, None, Recipe(), cpu) == measure.Pace("float32", 1, 1.0, 1.0)
        assert measure.measure_pace(None, None, given, cpu) == measure.Pace("float32", 2, 0.5, 0.5)


@pytest.mark.parametrize(("gain", "tried"), [(0.1, {"float32"}), (3.0, {"float32", "bfloat16"})])
def test_a_processor_without_units_for_bfloat16_makes_no_such_step(monkeypatch, gain, tried):
    made = set()
    monkeypatch.setattr(measure, "_step_seconds", lambda model, batch, recipe, kind, device: made.add(kind) or [1.0])
    monkeypatch.setattr(measure, "convolution_speed", lambda kind: gain if kind == "bfloat16" else 1.0)
    assert measure.measure_pace(None, None, Recipe(), torch.device("cpu")).precision == "float32"
    assert made == tried


def test_a_busy_moment_does_not_decide_on_the_precision(monkeypatch):
    times = {"float32": [1.0, 1.1, 1.0], "bfloat16": [2.0, 0.4, 2.0]}  # another program worked meanwhile
    monkeypatch.setattr(measure, "_step_seconds", lambda model, batch, recipe, kind, device: times[kind])
    monkeypatch.setattr(measure, "convolution_speed", lambda kind: 1.0)
    given = Recipe().change(train={"threads": 1})
    assert measure.measure_pace(None, None, given, torch.device("cpu")) == measure.Pace("bfloat16", 1, 2.0, 0.4)


def test_threads_are_halved_where_training_becomes_many_times_slower():
    said = []
    loop = SimpleNamespace(state=State(threads=2), _latest=deque(maxlen=8), _quickest=math.inf, report=said.append)
    with torch_threads(2):
        for seconds in [0.1] * 20 + [0.3] * 20:  # three times is not enough
            loop_module.Loop._watch_threads(loop, seconds)
        assert (loop.state.threads, said) == (2, [])
        for seconds in [1.0] * 30:
            loop_module.Loop._watch_threads(loop, seconds)
        assert loop.state.threads == torch.get_num_threads() == 1
        assert len(said) == 1
        assert "goes on with 1 thread" in said[0].text


def test_a_folder_that_holds_a_run_is_refused(table, undisturbed):
    with pytest.raises(UsageError, match="holds a run; name another"):
        train_model(table, quick_recipe(), undisturbed.path)


def test_a_table_without_parts_is_refused(table, tmp_path):
    with pytest.raises(UsageError, match="no training part; split it first"):
        train_model(table.assign(part=None), quick_recipe(), tmp_path / "run")


def test_training_never_opens_a_test_image(table, tmp_path, monkeypatch):
    tests = set(table.part("test").samples["source"])
    opened = []
    from tenfold.images import prepared

    real = prepared.encoded
    monkeypatch.setattr(
        prepared, "encoded", lambda t, row: opened.append(t.samples["source"].iloc[row]) or real(t, row)
    )
    monkeypatch.setenv("TENFOLD_CACHE", str(tmp_path / "empty"))
    train_model(table, quick_recipe(train={"epochs": 1}), tmp_path / "run")
    assert len(opened) == len(table) - len(tests)
    assert not tests.intersection(opened)


def test_a_bad_image_is_named_and_left_out_or_refused(tmp_path):
    table = shapes_table(tmp_path / "data")
    victim = table.part("train").samples["source"].iloc[3]
    content = Path(victim).read_bytes()
    Path(victim).write_bytes(content[: len(content) // 2])
    table = table.assign(hash=None)
    notes = []
    run = train_model(table, quick_recipe(train={"epochs": 1}), tmp_path / "run", progress=notes.append)
    assert any(message.phase == "note" and victim in message.text for message in notes)
    assert victim in run.environment["unreadable"]
    assert victim not in set(run.table.samples["source"])
    with pytest.raises(DataError, match="cannot be read"):
        train_model(table, quick_recipe(data={"unreadable": "refuse"}), tmp_path / "other")


def test_settings_left_open_are_chosen_and_written(table, tmp_path):
    run = train_model(
        table, quick_recipe(image={"size": 0, "margin": 0}, train={"batch_size": 0, "epochs": 1}), tmp_path / "r"
    )
    recipe = read_recipe(run.path / "recipe.toml")
    assert recipe.image.size == 24 or recipe.image.size == 16
    assert recipe.image.channels == "rgb"
    assert recipe.train.batch_size == 8
    assert recipe.train.lr == 0.04
    assert len(recipe.image.mean) == 3
    assert recipe.augment.policy == named_policy("standard").to_dict()


@pytest.mark.parametrize(
    ("norm", "size", "processes", "model", "chosen", "said"),
    [
        ("auto", 2, 1, "plain", "group", r"Group normalization was chosen: batches of 2 images are too small for"),
        ("auto", 3, 1, "plain", "group", r"batches of 2 images"),
        ("auto", 4, 1, "plain", "batch", ""),
        ("auto", 8, 1, "plain", "batch", ""),
        ("auto", 8, 4, "plain", "group", r"batches of 1 image are"),
        ("batch", 2, 1, "plain", "batch", r"^Batches of 2 .*; set --model.norm group, or a larger --batch-size"),
        ("group", 2, 1, "plain", "group", ""),
        ("none", 2, 1, "plain", "none", ""),
        ("batch", 2, 1, "frozen", "batch", ""),
        ("batch", 2, 1, "faster-rcnn", "batch", ""),
    ],
)
def test_a_tiny_batch_gets_group_normalization_or_a_warning(norm, size, processes, model, chosen, said):
    """Of 20 images: in batches of 3 two hold 2, in batches of 8 one holds 6, of which four processes have 1 and 2."""
    given = Recipe().change(model={"name": model, "norm": norm}, train={"batch_size": size})
    recipe = choose_settings(given, read_table("digits").take(np.arange(20)), processes)
    assert recipe.model.norm == chosen
    notes = notes_on_norm(given, recipe, 20, processes)
    assert len(notes) == (1 if said else 0)
    assert re.search(said, "".join(notes))


def test_a_training_with_a_tiny_batch_says_so_and_its_report_too(table, tmp_path):
    heard = []
    recipe = quick_recipe(train={"batch_size": 2, "epochs": 1})
    run = train_model(table, recipe, tmp_path / "r", progress=lambda message: heard.append(message.text))
    assert any("atches of 2 images" in text for text in heard)
    assert any("atches of 2 images" in note for note in run.environment["notes"])
    assert run.recipe.model.norm == "group"


def test_an_imbalanced_set_gets_class_weights(tmp_path):
    table = shapes_table(tmp_path / "data")
    keep = (table.samples["label"] != "bar") | (np.arange(len(table)) % 5 == 0)
    run = train_model(table.take(np.flatnonzero(keep)), quick_recipe(train={"epochs": 1}), tmp_path / "run")
    weights = run.card["settings"]["class_weights"]
    assert run.recipe.train.balance == "weights"
    assert weights[0] > 2 * weights[1]


def test_the_range_test_finds_a_rate_that_learns(table, tmp_path):
    run = train_model(table, quick_recipe(train={"find_lr": True, "epochs": 1}), tmp_path / "run")
    assert 1e-4 < run.recipe.train.lr < 0.9


def test_a_full_disk_loses_nothing_and_says_how_to_go_on(table, undisturbed, tmp_path, monkeypatch):
    monkeypatch.setattr(loop_module, "CHECKPOINT_SECONDS", 0.0)
    real, left = Path.write_bytes, iter(range(12))

    def write(path, content):
        if path.suffix == ".safetensors" and next(left, None) is None:
            real(path, content[: len(content) // 2])
            raise OSError(28, "No space left on device")
        return real(path, content)

    monkeypatch.setattr(Path, "write_bytes", write)
    with pytest.raises(DataError, match=r"No space left on device.*go on with: tenfold train --resume"):
        train_model(table, quick_recipe(), tmp_path / "run")
    monkeypatch.setattr(Path, "write_bytes", real)
    check_same_bits(undisturbed, resume_training(tmp_path / "run"))


def test_a_changed_image_is_not_taken_for_what_it_was(tmp_path, monkeypatch):
    monkeypatch.setenv("TENFOLD_CACHE", str(tmp_path / "cache"))
    table = hashed(shapes_table(tmp_path / "data"))
    run = train_model(table, quick_recipe(train={"epochs": 1}), tmp_path / "run")
    one, other = table.part("train").samples["source"].iloc[0], table.part("test").samples["source"].iloc[0]
    shutil.copy(one, other)  # a training image under a test image's name
    evaluation = evaluate_run(run, "test")
    assert evaluation.n == len(table.part("test")) - 1
    assert "has changed since it was first read" in evaluation.unreadable[other]


@pytest.mark.parametrize("limit", ["20", "0"])
def test_one_bad_row_of_a_parquet_file_costs_that_row_alone(tmp_path, monkeypatch, limit):
    monkeypatch.setenv("TENFOLD_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("TENFOLD_CACHE_GIB", limit)
    table = shapes_table(tmp_path / "data")
    contents = [Path(source).read_bytes() for source in table.samples["source"]]
    bad = int(np.flatnonzero(table.samples["part"] == "train")[2])
    contents[bad] = contents[bad][:200]
    images = [{"bytes": content, "path": None} for content in contents]
    pd.DataFrame({"image": images, "label": table.samples["label"]}).to_parquet(tmp_path / "all.parquet")
    rows = read_table(tmp_path / "all.parquet").assign(part=table.samples["part"])
    run = train_model(rows, quick_recipe(train={"epochs": 1}), tmp_path / "run")
    assert len(run.environment["unreadable"]) == 1
    assert len(load_run(run.path).table) == len(table) - 1
    assert len(run.table.part("test")) == len(table.part("test"))


def test_what_cannot_be_learnt_from_is_refused_before_anything_is_written(table, tmp_path):
    for broken, words in (
        (table.assign(label=[None, *table.samples["label"].iloc[1:]]), "needs a label"),
        (
            replace(table, classes=("bar",)).take(np.flatnonzero(table.samples["label"] == "bar")),
            "at least two classes",
        ),
    ):
        with pytest.raises(UsageError, match=words):
            train_model(broken, quick_recipe(), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_epochs_are_a_cap_under_a_time_limit(table, tmp_path):
    run = train_model(table, quick_recipe(train={"epochs": 2, "minutes": 5}), tmp_path / "run")
    assert run.history["epoch"].tolist() == [1, 2]
    assert read_recipe(run.path / "recipe.toml").train.minutes == 0


def test_two_ranks_train_what_one_does(tmp_path):
    """Group normalization, since batch statistics are each rank's own; float sums differ in their order only.

    Average pooling and tanh, as in flat shapes values tie, and of two that tie the last bit decides which has the
    gradient of a maximum.
    """
    data = write_shapes(tmp_path / "data")
    script = (
        "import sys; from pathlib import Path; from tests.toys import *; from tenfold.train import train_model\n"
        "table = split_table(read_table(Path(sys.argv[1])), validation=0.2, test=0.2)\n"
        "smooth = {'norm': 'group', 'pool': 'average', 'activation': 'tanh'}\n"
        "train_model(table, quick_recipe(model=smooth), sys.argv[2])\n"
    )
    together = tmp_path / "together"
    smooth = {"norm": "group", "pool": "average", "activation": "tanh"}
    table = split_table(read_table(data), validation=0.2, test=0.2)
    alone = train_model(table, quick_recipe(model=smooth), tmp_path / "alone")
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        port = server.getsockname()[1]
    processes = []
    for rank in range(2):
        place = {"RANK": str(rank), "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
        processes.append(
            subprocess.Popen([sys.executable, "-c", script, str(data), str(together)], env=os.environ | place)
        )
    assert [process.wait(timeout=300) for process in processes] == [0, 0]
    one, other = weights(alone), load_file(together / "model.safetensors")
    assert one.keys() == other.keys()
    for name in one:
        torch.testing.assert_close(one[name], other[name], rtol=1e-3, atol=1e-4)


def test_without_tensorboard_nothing_begins(table, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    seen = []
    with pytest.raises(UsageError, match=r"train\.tensorboard needs the package tensorboard .*install.* tensorboard$"):
        train_model(table, quick_recipe(train={"tensorboard": True}), tmp_path / "run", progress=seen.append)
    assert seen == []
    assert not (tmp_path / "run").exists()


def test_tensorboard_events_hold_the_history(table, tmp_path):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    run = train_model(table, quick_recipe(train={"tensorboard": True}), tmp_path / "run")
    events = accumulator.EventAccumulator(str(run.path / "tensorboard")).Reload()
    stored = [event.value for event in events.Scalars("train_loss")]
    assert stored == pytest.approx(run.history["train_loss"].tolist(), rel=1e-5)
