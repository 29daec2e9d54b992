"""Which ops break a label: the criterion on made-up answers, and the digits, where a turned 6 is a 9."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import tenfold
from tenfold.__main__ import main
from tenfold.augment.policy import Policy
from tenfold.augment.published import NAMED, named_policy
from tenfold.augment.tree import op
from tenfold.commands.safety import show_safety
from tenfold.errors import UsageError
from tenfold.estimate import Estimate, clopper_pearson, level_of_each, units_of, wilson
from tenfold.evaluate.safety import FROM_ONE, LEAST, Flow, OpSafety, Safety, compare_answers, measure_safety
from tenfold.evaluate.trials import Trial, policy_trials, standard_trials
from tenfold.recipe import Recipe
from tenfold.run import Run

CLASSES = tuple("abcd")
EACH = 40
ESTIMATE = {"value", "low", "high", "level", "n", "method"}


def compared(moves: dict[tuple[str, str], int], sure: float = 0.95, groups: int = 0):
    """What is found where so many of the EACH images of one class become another, with that probability."""
    truth = np.repeat(np.arange(4), EACH)
    answer = truth.copy()
    for (start, end), count in moves.items():
        rows = np.flatnonzero((truth == CLASSES.index(start)) & (answer == truth))[:count]
        answer[rows] = CLASSES.index(end)
    after = np.full((len(truth), 4), (1 - sure) / 3)
    after[np.arange(len(truth)), answer] = sure
    names = np.array([f"g{row % groups}" for row in range(len(truth))], object) if groups else None
    return compare_answers(truth, after, np.full(4, 0.9), CLASSES, units_of(names, len(truth)), looks=5)


def test_nothing_changes() -> None:
    changed, flows = compared({})
    assert (changed.value, changed.low, flows) == (0, 0, ())


def test_one_class_into_another_is_named_with_its_interval() -> None:
    changed, flows = compared({("a", "b"): 30})
    [flow] = flows
    assert flow.breaks_label
    assert (flow.start, flow.end, flow.of_changed, flow.of_passing) == ("a", "b", 1, 1)
    assert flow.answered.value == flow.passing.value == 30 / 40
    assert changed.value == 30 / 160
    # The slow way: the intervals of plain proportions, but for the image that is added to each (see estimate.py).
    low, high = wilson(30, 160)
    assert (changed.low, changed.high) == pytest.approx((low, high), abs=0.01)
    low, high = clopper_pearson(30, 40, level_of_each(0.95, 5 * 4))
    assert (flow.passing.low, flow.passing.high) == pytest.approx((low, high), abs=0.03)
    assert flow.passing.low < flow.answered.low


def test_unsure_answers_are_no_sign() -> None:
    _, [flow] = compared({("a", "b"): 40}, sure=0.8)
    assert flow.answered.value == 1
    assert flow.passing.value == 0
    assert not flow.breaks_label


def test_scattered_answers_are_no_sign() -> None:
    _, [flow] = compared({("a", "b"): 14, ("a", "c"): 13, ("a", "d"): 13})
    assert flow.passing.low > LEAST
    assert flow.of_changed == 14 / 40
    assert not flow.breaks_label


def test_a_class_that_takes_all_is_no_sign() -> None:
    _, flows = compared({("a", "d"): 30, ("b", "d"): 30, ("c", "d"): 30})
    assert [flow.of_passing < FROM_ONE for flow in flows] == [True] * 3
    assert not any(flow.breaks_label for flow in flows)
    _, flows = compared({("a", "b"): 30, ("b", "a"): 30})  # but two that change places are
    assert [flow.breaks_label for flow in flows] == [True, True]


@pytest.mark.parametrize(("count", "named"), [(4, False), (8, False), (16, True)])
def test_few_images_name_nothing(count: int, named: bool) -> None:
    _, [flow] = compared({("a", "b"): count})
    assert flow.breaks_label is named


def test_intervals_are_of_groups() -> None:
    alone, _ = compared({("a", "b"): 20})
    changed, _ = compared({("a", "b"): 20}, groups=16)
    assert alone.method == "Wilson over images"
    assert changed.method == "Wilson over 16 groups"


# What is tried


@pytest.mark.parametrize("name", NAMED)
def test_every_op_of_every_policy_is_tried_at_magnitudes_that_it_can_have(name: str) -> None:
    trials = policy_trials(named_policy(name))
    assert len({trial.words for trial in trials}) == len(trials)
    assert all(trial.in_policy for trial in trials)
    words = str(named_policy(name))
    assert all(f"{trial.op.name}" in words for trial in trials)
    assert bool(trials) is (name != "none")


def test_magnitudes_are_graded_from_end_to_end() -> None:
    turned = policy_trials(Policy("turned", (op("rotate", 20, 0.5), op("flip", "vertical"), op("invert"))))
    assert [trial.words for trial in turned][-2:] == ["flip vertical", "invert"]
    assert [trial.op.ranges[0].low for trial in turned[:-2]] == [-20, -10, 0, 10, 20]
    assert [trial.words for trial in turned[:-2]] == [f"rotate {degrees}°" for degrees in (-20, -10, 0, 10, 20)]
    signed = policy_trials(Policy("signed", (op("shift", {"x": {"low": 0.1, "high": 0.3, "signed": True}}),)))
    shares = [trial.op.ranges[0].low for trial in signed]
    assert shares == pytest.approx([-0.3, -0.2, -0.1, 0.1, 0.2, 0.3])
    assert all(trial.op.probability == 1 for trial in turned)


def test_each_parameter_with_a_range_is_tried_in_turn() -> None:
    policy = Policy(
        "many", (op("shift", {"x": [-0.1, 0.1], "y": [-0.2, 0.2]}), op("channel_shift", 20), op("crop", 0.5))
    )
    trials = policy_trials(policy)
    ends = ["shift x -0.1", "shift y 0.2", "channel shift green -20", "channel shift blue 20", "crop scale 0.5"]
    assert {*ends, "channel shift red 20", "crop aspect 1.33"} <= {trial.words for trial in trials}
    drawn = {node.name: node.ranges for node in policy.ops}
    for trial in trials:
        changed = [own != given for own, given in zip(trial.op.ranges, drawn[trial.op.name], strict=True)]
        assert sum(changed) == 1
        assert trial.op.ranges[changed.index(True)].is_fixed
    assert len(trials) == 5 * (2 + 3 + 2)


def test_what_is_fixed_is_named_by_what_it_does_and_nothing_is_left_out() -> None:
    fixed = policy_trials(
        Policy("fixed", (op("shear", {"y": [10, 10]}), op("shift", {"x": [0.1, 0.1], "y": [0.2, 0.2]})))
    )
    assert [trial.words for trial in fixed] == ["shear y 10°", "shift x 0.1, y 0.2"]
    twice = Policy("twice", tuple(op("shift", {"x": [0, 0.1], "y": [y, y]}) for y in (0, 0.5)))
    assert len(policy_trials(twice)) == 10


def test_the_standard_list_knows_what_a_policy_can_do() -> None:
    known = {trial.words for trial in standard_trials(named_policy("strong")) if trial.in_policy}
    assert {"rotate -15°", "rotate 15°", "flip horizontal", "crop scale 0.3", "cutout 0.5"} <= known
    assert not known & {"rotate 45°", "rotate 180°", "flip vertical", "invert", "turn 1 quarter", "hue 0.5"}
    assert not any(trial.in_policy for trial in standard_trials(named_policy("none")))


# The digits


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Digits, trained without augmentation until it knows them."""
    patch = pytest.MonkeyPatch()
    patch.setenv("TENFOLD_CACHE", str(tmp_path_factory.mktemp("cache")))
    table = tenfold.split_table(tenfold.read_table("digits"), validation=0.3, test=0.1, seed=1)
    recipe = Recipe().change(
        image={"size": 16},
        model={"name": "plain", "width": 12},
        train={"epochs": 6, "batch_size": 64, "precision": "float32", "threads": 1},
        augment={"policy": "none"},
    )
    yield tenfold.train_model(table, recipe, tmp_path_factory.mktemp("runs") / "digits")
    patch.undo()


def test_a_turned_six_is_a_nine_and_a_small_turn_breaks_nothing(run: Run) -> None:
    policy = Policy("turned", (op("rotate", [180, 180]), op("rotate", [10, 10]), op("shift", {"x": [0.05, 0.05]})))
    found = measure_safety(run, policy_trials(policy), policy)
    assert [tried.trial.words for tried in found.breaking] == ["rotate 180°"]
    flows = {(flow.start, flow.end): flow for flow in found.breaking[0].breaks}
    assert ("6", "9") in flows
    assert set(flows) <= {("6", "9"), ("9", "6")}
    assert flows["6", "9"].passing.low > LEAST
    assert any("rotate 180° turns 6 into 9" in sentence for sentence in found.sentences)
    half, small, _ = found.ops
    assert half.changed.low > small.changed.high
    assert "6 → 9" in half.verdict
    assert small.verdict == ""
    assert found.n == len(run.table.part("validation"))
    assert found.right == half.changed.n


def arrow(way: str, draw: np.random.Generator) -> np.ndarray:
    """An arrow on a noisy ground, somewhere: uint8 [20, 20]."""
    image = np.full((20, 20), 60.0)
    row, column, length = draw.integers(7, 13), draw.integers(2, 5), draw.integers(11, 14)
    image[row, column : column + length] = 220
    for step in range(1, 5):  # the head, to the right
        image[[row - step, row + step], column + length - 1 - step] = 220
    image = image[:, ::-1] if way in ("left", "up") else image
    image = image.T if way in ("up", "down") else image
    return (image + draw.normal(0, 12, image.shape)).clip(0, 255).astype(np.uint8)


def test_a_mirrored_arrow_points_the_other_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Left and right change places under a horizontal flip, up and down do not; and so for the vertical one."""
    monkeypatch.setenv("TENFOLD_CACHE", str(tmp_path / "cache"))
    draw = np.random.default_rng(0)
    ways = ["left", "right", "up", "down"] * 90
    images = np.stack([arrow(way, draw) for way in ways])
    table = tenfold.split_table(tenfold.read_table(images, labels=ways), validation=0.4, test=0, seed=1)
    recipe = Recipe().change(
        image={"size": 20},
        model={"name": "plain", "width": 12},
        train={"epochs": 8, "batch_size": 32, "precision": "float32", "threads": 1},
        augment={"policy": "none"},
    )
    known = tenfold.train_model(table, recipe, tmp_path / "arrows")
    policy = Policy("mirrored", (op("flip", "horizontal"), op("flip", "vertical"), op("brightness", [0.05, 0.05])))
    found = measure_safety(known, policy_trials(policy), policy, known.table.part("validation"))
    assert found.right > 0.9 * found.n
    flows = {tried.trial.words: {(flow.start, flow.end) for flow in tried.breaks} for tried in found.breaking}
    assert flows == {
        "flip horizontal": {("left", "right"), ("right", "left")},
        "flip vertical": {("up", "down"), ("down", "up")},
    }
    assert any("flip horizontal turns left into right" in sentence for sentence in found.sentences)


def test_the_oracle_turns_the_files_itself(run: Run) -> None:
    """The share that changed, by arrays turned with NumPy and the run's own predict."""
    from PIL import Image

    policy = Policy("turned", (op("turn", 2),))
    [half] = measure_safety(run, policy_trials(policy), policy).ops
    part = run.table.part("validation")
    images = [np.asarray(Image.open(source)) for source in part.samples["source"]]
    truth = part.labels()
    before, after = (
        np.array([prediction["probability"].argmax() for prediction in run.predict(pixels)])
        for pixels in (images, [np.ascontiguousarray(np.rot90(image, 2)) for image in images])
    )
    known = before == truth
    assert half.changed.n == known.sum()
    assert half.changed.value == pytest.approx((after != truth)[known].mean(), abs=2.5 / known.sum())


def test_the_command_names_it_and_fails_where_the_policy_does_it(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "half.toml"
    Policy("half", (op("rotate", [180, 180]),)).write(file)
    assert main(["augment", "digits", "--safety", str(run.path), "--policy", str(file), "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    [half] = found["ops"]
    assert half["breaks_label"] is True
    assert set(half["changed"]) == set(half["flows"][0]["passing"]) == ESTIMATE
    assert found["part"] == "validation"
    assert found["policy"]["name"] == "half"
    Policy("mild", (op("rotate", [5, 5]),)).write(file)
    assert main(["augment", "--safety", str(run.path), "--policy", str(file)]) == 0
    out = capsys.readouterr().out
    assert "No op turns one class into another" in out
    assert "rotate 5°" in out
    assert "Next, to see what it was fed: tenfold augment" in out


def test_a_run_that_knows_too_few_images_tells_nothing(run: Run) -> None:
    part = run.table.part("validation")
    labels, policy = part.labels(), Policy("half", (op("rotate", [180, 180]),))
    trials = policy_trials(policy)
    one_each = [int(np.flatnonzero(labels == place)[0]) for place in range(10)]
    with pytest.raises(UsageError, match=r"answers \d+ of its 10 validation images rightly, of no class enough"):
        measure_safety(run, trials, policy, part.take(one_each))
    sixes = np.flatnonzero(labels == 6).tolist()
    found = measure_safety(run, trials, policy, part.take(sorted({*one_each, *sixes})))
    [note] = [note for note in found.notes if "too few images" in note]
    assert note.startswith("Of 0, 1, 2, 3, 4, 5, 7, 8, 9 too few images are answered rightly for any op to be named")
    assert not any("commonest" in note for note in found.notes)
    # As many ones again, taken for sevens: half of the answers are right, as where all were answered the same.
    ones = np.flatnonzero(labels == 1)[: len(sixes)].tolist()
    wrong = part.take([*sixes, *ones])
    wrong = wrong.assign(label=["6"] * len(sixes) + ["7"] * len(ones))
    found = measure_safety(run, trials, policy, wrong)
    assert any("not surely more than are of the commonest class" in note for note in found.notes)


def test_a_run_is_tried_with_the_threads_that_it_was_trained_with(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """More threads than its training found quick wait for each other; others' settings are left as they were."""
    import torch

    seen, predict, before = set(), run.model.predict, torch.get_num_threads()

    def watched(*given):
        seen.add(torch.get_num_threads())
        return predict(*given)

    monkeypatch.setattr(run.model, "predict", watched)
    policy = Policy("mild", (op("rotate", [5, 5]),))
    torch.set_num_threads(2)
    try:
        measure_safety(run, policy_trials(policy), policy, run.table.part("validation").take(range(64)))
        assert (seen, torch.get_num_threads()) == ({run.recipe.train.threads}, 2)
        assert seen == {1}
    finally:
        torch.set_num_threads(before)


def test_the_table_fits_a_terminal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("tenfold.commands.output.WIDE", 80)
    words = ("saturation -0.97", "channel shift red -20", "crop aspect 0.75")
    flow = Flow("dandelion", "sunflower", *[Estimate(0.0, 0.0, 0.658, 0.95, 40, "Wilson over images")] * 2, 0.5, 1.0)
    many = Estimate(0.82, 0.68, 0.913, 0.95, 40, "Wilson over images")
    ops = [OpSafety(Trial(op("grey"), name, name == words[0]), many, (flow,)) for name in words]
    show_safety(Safety("validation", 50, 40, tuple(ops)), named_policy("standard"))
    lines = capsys.readouterr().out.splitlines()
    table = [line for line in lines if any(name in line for name in words)]
    assert len(table) == len(words)
    assert all(len(line) <= 80 and "dandelion → sunflower" in line for line in table)
    assert all("82 (68 to 91)" in line and "0 (0 to 66)" in line and line.rstrip().endswith("?") for line in table)
    assert ["*" in line for line in table] == [True, False, False]
    assert "* The policy standard can do it." in lines
    assert any(line.startswith("? many answers change") for line in lines)


def test_what_cannot_be_measured_is_a_sentence(run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UsageError, match="The policy none has no op to try; name another, or all"):
        measure_safety(run, [], Policy("none"))
    trials = policy_trials(named_policy("light"))
    with pytest.raises(UsageError, match="has no labelled validation images here"):
        measure_safety(run, trials, named_policy("light"), run.table.part("nothing"))
    (tmp_path / "other" / "a").mkdir(parents=True)
    (tmp_path / "other" / "b").mkdir()
    from PIL import Image

    for name in "ab":
        Image.new("L", (8, 8)).save(tmp_path / "other" / name / "0.png")
    assert main(["augment", str(tmp_path / "other"), "--safety", str(run.path), "--policy", "light"]) == 2
    assert "has none of the validation images of" in capsys.readouterr().err
