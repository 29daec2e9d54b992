"""tenfold doctor: what this machine has, what is missing, and the command that brings it."""

from __future__ import annotations

import importlib
import os
import platform
import shutil
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

from tenfold.commands.output import readable_bytes, show_json, show_table, waiting
from tenfold.environment import cores, install_command, processor_name

OPTIONAL = {
    "pillow-heif": "reads HEIC, the images of iPhones",
    "tensorboard": "shows training in TensorBoard",
    "onnx": "reads ONNX weights, and writes networks for onnxruntime",
    "onnxruntime": "runs pretrained networks on a processor about twice as fast",
    "huggingface-hub": "finds weights that the Hugging Face hub has brought here",
    "timm": "has many pretrained networks: timm:NAME",
    "h5py": "reads Keras' weights",
    "playwright": "tests the report in a browser",
}
"""Packages that nothing needs to work: name -> what they are for."""

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "msedge")
NOT_STATED = "not stated by the package"
"""The licence of a package that names none in its metadata."""
_OWN_BROWSERS = {"chrome", "chromium", "chrome-headless-shell", "headless_shell", "google chrome for testing"}
"""What playwright calls those that it brings itself."""


@dataclass(frozen=True)
class Package:
    """A package that Tenfold uses and how it stands here."""

    name: str
    required: bool
    state: Literal["fine", "missing", "broken"]
    version: str = ""
    license: str = ""
    detail: str = ""
    """What it is for, or why it is broken."""
    fix: str = ""
    """The command that brings or repairs it."""


def doctor(*, json: bool = False) -> int:
    """Say what this machine has, what is missing and the command that brings it.

    Looks at Python, cores, memory, GPUs, every package with its version and
    licence, and the caches; measures whether bfloat16 is faster than float32 on
    this processor. The exit code is 1 where something required is missing or
    broken.

    For example:

        tenfold doctor
        tenfold doctor --json

    Parameters
    ----------
    json
        Print one JSON object.
    """
    with waiting("Looking at this machine"):
        packages = [*_required(), *_optional(), _browser()]
        sound = all(package.state == "fine" for package in packages if package.name == "torch")
        packages = [_with_weights(package) for package in packages] if sound else packages
        machine = _machine() | (_torch_devices() if sound else {"gpus": [], "hint": ""})
        speed = _speed() if sound else {}
        caches = _caches()
    problems = [package for package in packages if package.required and package.state != "fine"]
    if json:
        show_json(
            {
                "machine": machine,
                "speed": speed,
                "packages": [asdict(package) for package in packages],
                "caches": caches,
                "problems": [package.name for package in problems],
            }
        )
    else:
        _show(machine, speed, packages, caches)
    return 1 if problems else 0


def _show(
    machine: dict[str, Any], speed: dict[str, float], packages: list[Package], caches: list[dict[str, Any]]
) -> None:
    rows = [
        ("Python", f"{machine['python']} ({machine['executable']})"),
        ("System", machine["system"]),
        ("Processor", f"{machine['processor']}, {machine['cores']} cores"),
        ("Memory", readable_bytes(machine["memory"]) if machine["memory"] else "not known"),
        ("GPU", "; ".join(machine["gpus"]) or "none"),
    ]
    if speed:
        ratio = speed["bfloat16"] / speed["float32"]
        gain = f"bfloat16 is {ratio:.1f} times as fast as float32"
        rows.append(("Precision", f"{gain} ({speed['float32']:.0f} and {speed['bfloat16']:.0f} GFLOP/s)"))
    rows += [("Cache", f"{readable_bytes(c['bytes'])} of {c['what']} in {c['folder']}") for c in caches]
    rows += [("Free disk", readable_bytes(c["free"])) for c in caches[:1]]
    show_table(("What", "Here"), rows)
    header = ("Package", "Version", "State", "License")
    show_table(header, [(p.name, p.version, p.state, p.license) for p in packages if p.required])
    show_table(
        ("Optional", "Version", "State", "For"),
        [(p.name, p.version, p.state, p.detail) for p in packages if not p.required],
    )
    if machine["hint"]:
        print(machine["hint"])
    for package in packages:
        if package.state != "fine":
            need = "Required" if package.required else "Optional"
            print(f"{need}: {package.name} is {package.state} ({package.detail}). Get it with: {package.fix}")
    if all(package.state == "fine" for package in packages if package.required):
        print("All that Tenfold needs is here. Next: tenfold train digits")


def _required() -> Iterator[Package]:
    """Each package that Tenfold's own metadata asks for, imported to see that it works."""
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    try:
        wanted = [Requirement(text) for text in metadata.requires("tenfold") or []]
    except metadata.PackageNotFoundError:
        yield Package("tenfold", True, "missing", detail="it runs, but is not installed", fix=install_command("-e ."))
        return
    homes = metadata.packages_distributions().items()
    modules = {canonicalize_name(name): module for module, names in homes for name in names}
    for requirement in wanted:
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            module = modules.get(canonicalize_name(requirement.name), requirement.name.replace("-", "_"))
            yield _look(requirement.name, module, True, str(requirement.specifier))


def _optional() -> Iterator[Package]:
    for name in OPTIONAL:
        yield _look(name, "", False)


def _look(name: str, module: str, required: bool, versions: str = "") -> Package:
    """How one package stands; `module` is imported where it is given."""
    from packaging.specifiers import SpecifierSet

    purpose, fix = OPTIONAL.get(name, ""), install_command(f"'{name}{versions}'")
    try:
        found = metadata.distribution(name)
    except metadata.PackageNotFoundError:
        return Package(name, required, "missing", detail=purpose or "not installed", fix=fix)
    about = {"version": found.version, "license": _license(found.metadata)}
    if not SpecifierSet(versions).contains(found.version, prereleases=True):
        return Package(name, required, "broken", **about, detail=f"{versions} is needed", fix=fix)
    try:
        if module:
            importlib.import_module(module)
    except Exception as error:  # whatever a broken installation raises
        why = f"import {module} fails: {error}"
        return Package(
            name, required, "broken", **about, detail=why, fix=install_command(f"--force-reinstall '{name}{versions}'")
        )
    return Package(name, required, "fine", **about, detail=purpose)


def find_browser() -> str | None:
    """The program of a Chromium that the tests can drive: one on the PATH, or playwright's own; None without any."""
    if found := next(filter(None, map(shutil.which, BROWSERS)), None):
        return found
    place = {"win32": "AppData/Local", "darwin": "Library/Caches"}.get(sys.platform, ".cache")
    folder = Path(os.environ.get("PLAYWRIGHT_BROWSERS_PATH", Path.home() / place / "ms-playwright"))
    files = (path for path in sorted(folder.glob("chromium*/**/*")) if path.stem.lower() in _OWN_BROWSERS)
    return next((str(path) for path in files if path.is_file() and os.access(path, os.X_OK)), None)


def _browser() -> Package:
    purpose = "the browser that the tests open the report in"
    if find_browser():
        return Package("chromium", False, "fine", detail=purpose)
    return Package("chromium", False, "missing", detail=purpose, fix=f"{sys.executable} -m playwright install chromium")


def _license(about: metadata.PackageMetadata) -> str:
    """What a package says of its licence: an SPDX expression, a short name, or a classifier."""
    fields = about.json
    words = str(fields.get("license", "")).strip()
    classes = [text.rpartition(" :: ")[2] for text in fields.get("classifier", []) if text.startswith("License ::")]
    if words.upper() == "UNKNOWN" or len(words) >= 40:  # setuptools wrote so where none was given; or the whole text
        words = ""
    return str(fields.get("license_expression", "") or words or "; ".join(classes) or NOT_STATED)


def _with_weights(package: Package) -> Package:
    """The package with the licence of the weights that it brings, where it names none itself. Needs PyTorch."""
    from tenfold.models.weights import PUBLISHED

    brought = sorted({known.licence for known in PUBLISHED if known.package == package.name})
    if package.license != NOT_STATED or not brought:
        return package
    return replace(package, license=f"{NOT_STATED}; its weights: {', '.join(brought)}")


def _machine() -> dict[str, Any]:
    return {
        "python": platform.python_version(),
        "executable": sys.executable,
        "system": platform.platform(),
        "processor": processor_name(),
        "cores": cores(),
        "memory": _memory(),
    }


def _memory() -> int | None:
    """Bytes of memory, None where the system does not say."""
    if sys.platform == "win32":
        import ctypes

        kilobytes = ctypes.c_ulonglong()
        ctypes.windll.kernel32.GetPhysicallyInstalledSystemMemory(ctypes.byref(kilobytes))
        return kilobytes.value * 1024 or None
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (OSError, ValueError):
        return None


def _torch_devices() -> dict[str, Any]:
    """What PyTorch can compute on, and what to do where there is a GPU that it cannot use."""
    import torch

    gpus = []
    for index in range(torch.cuda.device_count()):
        about = torch.cuda.get_device_properties(index)
        gpus.append(f"cuda:{index} {about.name}, {readable_bytes(about.total_memory)}")
    if torch.backends.mps.is_available():
        gpus.append("mps")
    hint = ""
    if not gpus and shutil.which("nvidia-smi"):
        hint = (
            f"An NVIDIA GPU seems to be here, but PyTorch {torch.__version__} cannot use it. Get a PyTorch that can "
            f"with: uv pip install --python {sys.executable} --reinstall torch --torch-backend=auto"
        )
    return {"gpus": gpus, "hint": hint}


def _speed() -> dict[str, float]:
    """GFLOP/s of a small convolution on this processor, in float32 and in bfloat16."""
    from tenfold.train import PRECISIONS, convolution_speed

    return {precision: round(convolution_speed(precision), 1) for precision in PRECISIONS}


def _caches() -> list[dict[str, Any]]:
    from tenfold.images.cache import WEIGHTS, cache_entries, cache_folder

    folder = cache_folder()
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    free, weights = shutil.disk_usage(there).free, folder / WEIGHTS
    kept = sum(path.stat().st_size for path in weights.rglob("*") if path.is_file())
    made = sum(entry.bytes for entry in cache_entries())
    return [
        {"what": "decoded images, features, proposals and checks", "folder": folder, "bytes": made, "free": free},
        {"what": "weights", "folder": weights, "bytes": kept, "free": free},
    ]
