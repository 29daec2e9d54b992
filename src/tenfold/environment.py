"""Where and with what a run was made: versions, machine, command; and the device, threads and memory to compute in."""

from __future__ import annotations

import ctypes
import math
import os
import platform
import shlex
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tenfold.errors import UsageError

if TYPE_CHECKING:
    import torch

_CPU_LIMIT = Path("/sys/fs/cgroup/cpu.max")  # of the container that the process is in: cgroup v2
_TRIM_FROM, _MAP_FROM, _MAPPED = -1, -3, -4  # M_TRIM_THRESHOLD, M_MMAP_THRESHOLD and M_MMAP_MAX of glibc's malloc.h
_KEEP = {_TRIM_FROM: 2**31 - 1, _MAPPED: 0}
_GIVE_BACK = {_TRIM_FROM: 2**26, _MAP_FROM: 2**25, _MAPPED: 2**16}  # what glibc's own adjustment comes to at most
PACKAGES = ("tenfold", "torch", "numpy", "pandas", "pillow", "simplejpeg", "pyarrow", "safetensors")


def describe_environment() -> dict[str, Any]:
    """JSON values: time, command, Python, package versions, system, processor, cores."""
    return {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in PACKAGES},
        "system": platform.platform(),
        "processor": processor_name(),
        "cores": cores(),
    }


def is_shared() -> bool:
    """Whether several processes train together, as under torchrun."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


def cores() -> int:
    """How many processors this process may use, at least 1: by its CPU affinity, and in a container by its limit.

    What `docker --cpus` allows counts, rounded up. Not seen are limits of cgroup v1, and of groups around the process
    that are no container, as systemd's CPUQuota; nor an affinity on macOS and Windows, where every processor counts.
    joblib.cpu_count() sees cgroup v1 too, and takes 0.3 s to import.
    """
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = _CPU_LIMIT.read_text("ascii").split()
        limit = math.ceil(int(quota) / int(period))
    except (OSError, ValueError):  # no such file, or "max 100000": no limit
        return count
    return max(1, min(count, limit))


def usable_threads() -> int:
    """How many threads PyTorch would compute with, but no more than there are processors to use, at least 1.

    PyTorch counts by the affinity, or takes what OMP_NUM_THREADS or torch.set_num_threads says; it does not see what a
    container is allowed.
    """
    import torch

    return min(torch.get_num_threads(), cores())


def processor_name() -> str:
    """The processor's name as the system gives it."""
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text("utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def install_command(what: str) -> str:
    """What installs packages into this very Python, which has no pip where uv made it; `what` may begin with options.

    Each package goes by its own name: what this project is called in an index, and whether it is there, is not known.
    """
    python = shlex.quote(sys.executable)
    if find_spec("pip"):
        return f"{python} -m pip install {what}"
    return f"uv pip install --python {python} {what.replace('--force-reinstall', '--reinstall')}"


def choose_device(name: str) -> torch.device:
    """The device of that name; auto is the first GPU, else Apple's mps, else the CPU."""
    import torch

    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise UsageError(f"The device must be auto, cpu, cuda, cuda:1 or mps and present, not {name!r}.") from error
    return device


def exact_on(device: torch.device) -> AbstractContextManager[object]:
    """Within it a GPU's convolutions are those of float32, not of TF32 with its 10 bits: as on the CPU."""
    import torch

    if device.type != "cuda":
        return nullcontext()
    manager: AbstractContextManager[object] = torch.backends.cudnn.flags(enabled=True, allow_tf32=False)
    return manager


@contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """PyTorch's processor threads are `count` meanwhile; 0 leaves them."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def kept_memory() -> Iterator[None]:
    """Memory that is freed meanwhile stays with the process, as the next step of a training takes as much again.

    Else glibc gives the large pieces back to the system, which must clear each page of the next ones: up to a fifth of
    the processors' time (benchmarks/kept_memory.py). It takes a few steps until what is kept fits what is wanted. Of
    other systems and libraries nothing is known, and nothing is changed.
    """
    library: Any = ctypes.CDLL(None) if sys.platform == "linux" else None
    if not hasattr(library, "mallopt") or not hasattr(library, "malloc_trim"):
        yield
        return
    for setting, value in _KEEP.items():
        library.mallopt(setting, value)
    try:
        yield
    finally:
        for setting, value in _GIVE_BACK.items():
            library.mallopt(setting, value)
        library.malloc_trim(0)


def is_memory_full(error: Exception) -> bool:
    """Whether PyTorch says that a device's memory, or the processor's, is too small."""
    import torch

    full = ("out of memory", "can't allocate memory")  # CUDA and MPS; a processor's memory
    return isinstance(error, torch.OutOfMemoryError) or any(words in str(error) for words in full)


@cache
def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
