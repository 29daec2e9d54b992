"""Packages that Tenfold uses where they are installed: imported when they are needed, missed in one sentence."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from tenfold.errors import UsageError

EXTRAS = {
    "h5py": "pretrained",
    "huggingface_hub": "pretrained",
    "onnx": "onnx",
    "onnxruntime": "onnx",
    "timm": "pretrained",
}
"""Package -> the extra of Tenfold that brings it."""


def need_package(module: str, purpose: str) -> Any:
    """The module, or a UsageError that says which `purpose` needs it and how it is installed."""
    try:
        return import_module(module)
    except ImportError as error:
        install = f"pip install 'tenfold[{EXTRAS[module]}]'"
        raise UsageError(f"{purpose} needs the package {module} ({error}); get it with: {install}") from error
