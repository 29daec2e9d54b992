"""What --minutes counts: the check before the training, and the looks at images after it."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from tenfold.__main__ import main
from tenfold.commands import train as train_command
from tenfold.commands.train import _finish, read_parted
from tenfold.errors import UsageError
from tenfold.models.plain import PlainNetwork
from tenfold.run import Run
from tenfold.train import closing_seconds, resume_training, train_model
from tenfold.train import plan as plan_module
from tenfold.train import start as start_module
from tenfold.train.checkpoint import State
from tenfold.train.loop import Loop
from tenfold.transfer import unknown as unknown_module
from tests.toys import quick_recipe, shapes_table, write_scenes

Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TENFOLD_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def slow_check(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Called with seconds, has every check take so many by the command's clock, and nothing else any."""
    real, late = train_command.look_over, SimpleNamespace(by=0.0)
    monkeypatch.setattr(train_command, "time", SimpleNamespace(monotonic=lambda: 1000.0 + late.by))

    def slow_by(seconds: float) -> None:
        def look_over(*given: Any, **options: Any) -> Any:
            late.by += seconds
            return real(*given, **options)

        monkeypatch.setattr(train_command, "look_over", look_over)

    return slow_by


def test_the_check_is_of_the_minutes(
    slow_check: Callable[[float], None], monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    write_scenes(Path("data"), each=4)
    given: list[float] = []

    def trained(table: Any, recipe: Any, folder: Any, watch: Any, findings: Any, started: float) -> Any:
        given.append(started)
        raise UsageError("Enough.")

    monkeypatch.setattr(train_command, "_trained", trained)
    slow_check(100)
    assert main(["train", "data", "--minutes", "5"]) == 2
    assert given == [1000]  # not when the check had ended
    said = capsys.readouterr().err
    assert "The check took 100 s of the 5 minutes; what it saw of the images is cached, and a second time it is" in said
    assert "which are not of" not in said
    read_parted("data", {"train__minutes": 5.0})  # of a learning curve each training has its own minutes
    said = capsys.readouterr().err
    assert "It took 100 s, which are not of the 5 minutes of training." in said
    assert "The check took" not in said


def test_a_check_that_takes_all_of_the_minutes_says_so(
    slow_check: Callable[[float], None], tmp_path: Path, capsys: Capture
) -> None:
    write_scenes(Path("data"), each=4)
    slow_check(301)
    assert main(["train", "data", "--minutes", "5", "--out", "run"]) == 2
    assert (
        "The time limit of 300 s was over after the images were read and checked, which took 0 and 301 s; run the same "
        "command again (what it saw of the images is cached, and a second time it is quick), or give more (--minutes)."
    ) in capsys.readouterr().err
    assert not list(tmp_path.glob("*.split.csv"))
    assert not (tmp_path / "run").exists()


def _states(given: tuple[Any, ...]) -> list[State]:
    return [one for one in given if isinstance(one, State)]


def test_what_comes_after_a_training_is_kept_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """54 images to learn from, 18 to validate: six looks at the 18, two at the 54, one at five of each class of three;
    each takes a third of a 54th of an epoch of 81 s.
    """
    table = shapes_table(tmp_path / "data")
    assert closing_seconds(table, 81.0) == (6 * 18 + 2 * 54 + 15) * 81 / 54 / 3
    kept, limited, states = [50.0], quick_recipe(train={"epochs": 0, "minutes": 60.0}), list[State]()
    monkeypatch.setattr(plan_module, "closing_seconds", lambda table, epoch: kept[0])
    monkeypatch.setattr(start_module, "_run_loop", lambda *given: states.extend(_states(given)))
    train_model(table, limited, tmp_path / "run")
    assert [state.closing for state in states] == [50]
    for seconds, late in ((3549.0, False), (3551.0, True)):
        loop: Any = SimpleNamespace(recipe=limited, state=State(seconds=seconds, closing=50.0))
        assert Loop._is_late(loop) == late
    kept[0], limited = 61.0, limited.change(train={"minutes": 1.0})
    with pytest.raises(
        UsageError, match=r"was over before the first step \(61 s of it are kept to see what came out\)"
    ):
        train_model(table, limited, tmp_path / "late")


def killed_before_its_first_checkpoint(folder: Path, monkeypatch: pytest.MonkeyPatch, **train: Any) -> Path:
    """The folder of such a run."""

    def die(*given: Any) -> None:
        raise SystemExit("killed")

    with monkeypatch.context() as patch:
        patch.setattr(start_module, "_run_loop", die)
        with pytest.raises(SystemExit):
            train_model(shapes_table(folder / "data"), quick_recipe(train=train), folder / "run")
    return folder / "run"


@pytest.mark.parametrize("asked", [0, 900])
def test_killed_before_its_first_checkpoint_a_run_is_as_long_as_was_asked_for_at_most(
    asked: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many epochs seemed to fit before."""
    states, fitting = list[State](), [7]
    monkeypatch.setattr(plan_module.Plan, "_epochs_left", lambda plan: fitting[0])
    run = killed_before_its_first_checkpoint(tmp_path, monkeypatch, epochs=asked, minutes=60.0)
    monkeypatch.setattr(start_module, "_run_loop", lambda *given: states.extend(_states(given)))
    fitting[0] = 9
    resume_training(run)
    [state] = states
    assert (state.epochs, state.most) == (9, asked)


def test_of_before_there_was_an_aspect_such_a_run_goes_on_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run, states = killed_before_its_first_checkpoint(tmp_path, monkeypatch, epochs=2, minutes=60.0), list[State]()
    lines = (run / "recipe.toml").read_text().splitlines(keepends=True)
    before = [line for line in lines if not line.startswith("aspect = ")]
    assert len(before) == len(lines) - 1
    (run / "recipe.toml").write_text("".join(before))
    monkeypatch.setattr(start_module, "_run_loop", lambda *given: states.extend(_states(given)))
    resume_training(run)
    assert [state.epochs for state in states] == [2]


def test_a_run_that_was_killed_before_its_first_checkpoint_keeps_that_time_back_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its time begins anew with the command that goes on with it, reading the images again included."""
    kept, states = [50.0], list[State]()
    monkeypatch.setattr(plan_module, "closing_seconds", lambda table, epoch: kept[0])
    killed_before_its_first_checkpoint(tmp_path, monkeypatch, epochs=900, minutes=60.0)
    assert not (tmp_path / "run" / "checkpoint" / "state.safetensors").exists()
    before = (tmp_path / "run" / "recipe.toml").read_text()
    real = start_module.prepare_images

    def slowly(*given: Any) -> Any:
        time.sleep(0.2)
        return real(*given)

    monkeypatch.setattr(start_module, "prepare_images", slowly)
    monkeypatch.setattr(start_module, "_run_loop", lambda *given: states.extend(_states(given)))
    resume_training(tmp_path / "run")
    [state] = states
    assert state.closing == 50
    assert state.seconds > 0.2
    assert 0 < state.epochs <= 900
    assert (tmp_path / "run" / "recipe.toml").read_text() == before
    kept[0] = 3601.0
    with pytest.raises(UsageError, match="over before the first step"):
        resume_training(tmp_path / "run")


@pytest.mark.parametrize("keep", ["last", "best"])
def test_so_many_images_are_looked_at_after_a_training(
    keep: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    """Counted in the network itself, from its last step to the command's end."""
    table, seen = shapes_table(tmp_path / "data"), list[int]()
    real = PlainNetwork.forward

    def forward(self: PlainNetwork, images: torch.Tensor) -> torch.Tensor:
        if self.training:
            seen.clear()
        else:
            seen.append(len(images))
        return real(self, images)

    monkeypatch.setattr(PlainNetwork, "forward", forward)

    def hold_out(run: Run, *, seconds: float) -> None:
        assert (run.path / "evaluation.json").is_file()  # first what must be, then what may be left out
        assert 0 < seconds <= 60

    monkeypatch.setattr(unknown_module, "fit_unknown", hold_out)
    run = train_model(table, quick_recipe(train={"epochs": 5, "keep": keep}), tmp_path / "run")
    assert _finish(run, True, evaluated=True, deadline=time.monotonic() + 60) == 0
    most = closing_seconds(table, 3.0 * 54)  # a second a look
    # Weights of the last epoch need no comparison with those that are kept.
    assert most == 6 * 18 + 2 * 54 + 15
    others = () if keep == "last" else (0,)
    assert most - sum(seen) in (18 + 54, *others)
