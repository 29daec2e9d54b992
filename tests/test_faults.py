"""What goes wrong on real machines: a short choice of the cases of benchmarks/faults.py, and what needs no real disk.

Disks that are really full or read-only, killed processes and two at once are in the benchmark alone.
"""

import errno
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, chdir, contextmanager
from itertools import count
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest

from tenfold.files import write_file

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
import fault_disks
import fault_files
from fault_processes import strike
from fault_stage import Failed, Skipped, Stage, check_tidy, check_whole, command, contents, refused

SOURCE = Path(__file__).parents[1] / "src" / "tenfold"


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Stage:
    with ExitStack() as stack:
        stack.enter_context(patch.dict(os.environ))  # the stage has caches of its own
        os.environ.pop("TENFOLD_CACHE_GIB", None)
        root = tmp_path_factory.mktemp("stage")
        stack.enter_context(chdir(root))
        yield Stage(root)


@pytest.mark.parametrize(
    ("fault", "number"),
    [
        *((fault_files.vanished, number) for number in (1, 2, 4, 6)),
        *((fault_files.damaged_cache, number) for number in (3, 7, 8, 9, 10)),
        *((fault_files.torn, number) for number in (3, 6, 15)),
        *((fault_files.clock, number) for number in (2, 5)),
        (fault_disks.full_output, 2),
    ],
)
def test_nothing_is_lost_and_the_work_goes_on(stage: Stage, fault: Callable[[Stage, int], str], number: int) -> None:
    try:
        fault(stage, number)
    except Skipped as reason:
        pytest.skip(str(reason))


def test_what_has_ended_by_itself_is_no_kill() -> None:
    """Two are over at once, though they could have lived for some seconds; the third is killed."""
    programs = iter(["pass", "pass", "import time; time.sleep(60)", "raise SystemExit(3)"])

    @contextmanager
    def begin() -> Iterator[subprocess.Popen[str]]:
        yield subprocess.Popen([sys.executable, "-c", next(programs)], text=True)

    assert strike(begin, np.random.default_rng(0), 10.0) == 3  # after 6.4, 2.7 and 0.4 s
    with pytest.raises(Failed, match="it ended by itself, with exit code 3"):
        strike(begin, np.random.default_rng(0), 10.0)


@pytest.mark.parametrize("place", [1, 4, 6, 13, 16])
def test_a_disk_that_is_full_from_some_write_on(stage: Stage, place: int) -> None:
    """As a network drive tells it: at the end, when the file is to be on the disk."""
    run, calls = stage.fresh(), count(1)

    def sync(handle: int) -> None:
        if next(calls) >= place:
            raise OSError(errno.ENOSPC, "No space left on device")

    with patch("tenfold.files.os.fsync", sync):
        refused(stage.train(run), "No space left on device")
    check_whole(run.parent)
    check_tidy(run.parent)
    stage.go_on(run)


def test_where_nothing_can_be_written_no_run_begins(stage: Stage) -> None:
    run = stage.fresh()
    with patch("tenfold.files.tempfile.mkstemp", side_effect=OSError(errno.EROFS, "Read-only file system")):
        refused(stage.train(run), f"The run cannot be written to {run} (Read-only file system)")
    assert not contents(run)
    stage.go_on(run)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write in spite of permissions")
def test_without_the_right_to_write(stage: Stage) -> None:
    run = stage.fresh()
    run.parent.chmod(0o555)
    try:
        refused(stage.train(run), f"The run cannot be written to {run} (Permission denied)")
    finally:
        run.parent.chmod(0o755)
    stage.go_on(run)


def test_a_full_disk_leaves_no_pixels_without_an_index(stage: Stage) -> None:
    run = stage.fresh()
    folder = stage.use_cache(run.parent / "cache")
    with patch("tenfold.images.cache.np.savez", side_effect=OSError(errno.ENOSPC, "No space left on device")):
        refused(stage.train(run), f"decoded images in {folder} cannot be written (No space left on device); make room")
    assert not contents(folder)
    stage.go_on(run)


def test_a_cache_that_is_cleared_while_it_is_filled_is_filled_again(stage: Stage) -> None:
    run = stage.fresh()
    folder = stage.use_cache(run.parent / "cache")
    calls = count(1)

    def clearing(*words: object) -> object:
        if next(calls) == 50:
            shutil.rmtree(folder)
        return fault_files.encoded(*words)

    with patch("tenfold.images.prepared.encoded", clearing):
        stage.go_on(run)
    assert len(list(folder.rglob("*.npz"))) == 1


def test_a_run_that_can_only_be_read_still_predicts(stage: Stage) -> None:
    run = stage.ended()
    with patch("tenfold.files.tempfile.mkstemp", side_effect=OSError(errno.EROFS, "Read-only file system")):
        assert command("predict", run, stage.data / "0").code == 0
        refused(command("report", run), f"error: {run / 'report.html'}: Read-only file system.")


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    def fail(aside: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OSError, match="No space left on device") as caught:
        write_file(tmp_path / "file.txt", fail)
    assert caught.value.filename == str(tmp_path / "file.txt")
    (tmp_path / "file.txt").mkdir()
    with pytest.raises(IsADirectoryError if os.name != "nt" else PermissionError) as caught:
        write_file(tmp_path / "file.txt", "text")
    assert caught.value.filename == str(tmp_path / "file.txt")


def test_nothing_depends_on_the_time_of_day() -> None:
    """Two files note when something was; durations are measured by clocks that do not jump."""
    asked = re.compile(r"\btime\.time(_ns)?\(|\.(now|utcnow|today)\(|\btime\.(localtime|gmtime)\(")
    found = {
        path.relative_to(SOURCE).as_posix() for path in SOURCE.rglob("*.py") if asked.search(path.read_text("utf-8"))
    }
    assert found == {"environment.py", "evaluate/ledger.py"}
