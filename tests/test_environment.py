"""How many processors a process may use, those of its affinity and of its container; and the memory that it keeps."""

import json
import os
import platform
import subprocess
import sys
import threading
import time
from pathlib import Path

import joblib
import pytest

from tenfold import environment
from tenfold.check.threads import in_threads
from tenfold.environment import cores, describe_environment, torch_threads, usable_threads

QUOTA = Path("/sys/fs/cgroup/cpu/cpu.cfs_quota_us")  # cgroup v1
COUNT = "from tenfold.environment import cores; print(cores())"


@pytest.fixture
def limit(tmp_path, monkeypatch):
    """Sets what the container allows, on a machine of eight processors that the process may all use."""
    monkeypatch.setattr(environment, "_CPU_LIMIT", tmp_path / "cpu.max")
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {*range(8)}, raising=False)
    return (tmp_path / "cpu.max").write_text


@pytest.mark.skipif(QUOTA.exists() and int(QUOTA.read_text()) > 0, reason="a limit of cgroup v1, which is not seen")
def test_it_is_what_joblib_counts(monkeypatch):
    monkeypatch.delenv("LOKY_MAX_CPU_COUNT", raising=False)
    assert cores() == joblib.cpu_count()
    assert describe_environment()["cores"] == cores()


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system has no affinity to set")
def test_a_process_that_is_bound_to_one_processor_has_one():
    one = min(os.sched_getaffinity(0))
    bound = f"import os; os.sched_setaffinity(0, {{{one}}}); {COUNT}"
    done = subprocess.run([sys.executable, "-c", bound], capture_output=True, text=True, check=True)
    assert done.stdout == "1\n"


@pytest.mark.parametrize(
    ("content", "count"),
    [
        ("max 100000\n", 8),
        ("200000 100000\n", 2),
        ("250000 100000\n", 3),
        ("50000 100000\n", 1),
        ("1600000 100000", 8),
        ("", 8),
        ("odd", 8),
    ],
)
def test_a_container_has_what_it_is_allowed_rounded_up(limit, content, count):
    limit(content)
    assert cores() == count


def test_without_a_limit_the_affinity_counts_and_without_that_every_processor(limit, monkeypatch):
    assert cores() == 8
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 5)
    assert cores() == 5
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert cores() == 1


def test_threads_are_as_many_as_pytorch_has_but_no_more_than_a_container_is_allowed(limit):
    with torch_threads(3):
        assert usable_threads() == 3
        limit("200000 100000")
        assert usable_threads() == 2
        limit("50000 100000")
        assert usable_threads() == 1


def test_a_comparison_has_no_more_threads_than_a_container_is_allowed(limit):
    def work(piece):
        time.sleep(0.02)
        return threading.get_ident()

    with torch_threads(4):
        assert len({*in_threads(work, range(8))}) == 4
        limit("200000 100000")
        assert len({*in_threads(work, range(8))}) == 2


CLEARED = """
import json, resource, torch
from tenfold.environment import kept_memory
def cleared():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(12 * 2**20)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
found = [cleared()]
with kept_memory():
    found.append([cleared() for _ in range(30)][-1])
print(json.dumps([*found, cleared(), cleared()]))
"""
"""Prints how many pages the system clears for 48 MiB: before, meanwhile the 30th time, and after. The first pieces that
come back do not fit what is asked for next, with room to align it: the 10th does."""


def gives_large_pages() -> bool:
    """Whether the system clears 2 MiB at once without being asked, so that pages tell little."""
    file = Path("/sys/kernel/mm/transparent_hugepage/enabled")
    return file.exists() and "[always]" in file.read_text()


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="of other libraries nothing is known")
@pytest.mark.skipif(gives_large_pages(), reason="the system clears large pages, of which there are few")
def test_freed_memory_is_kept_meanwhile_and_given_back_after():
    """In a process of its own, whose memory no other test has cut into pieces."""
    before, kept, after, later = json.loads(subprocess.check_output([sys.executable, "-c", CLEARED]))
    pages = 48 * 2**20 // os.sysconf("SC_PAGESIZE")
    assert kept < pages // 10
    assert min(before, after, later) > pages // 2, "glibc by itself gives them back"
