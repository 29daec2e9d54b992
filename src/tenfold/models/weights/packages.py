"""Packages that Tenfold uses where they are installed: imported when they are needed, missed in one sentence."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from tenfold.environment import install_command
from tenfold.errors import UsageError


def need_package(module: str, purpose: str) -> Any:
    """The module, named as its package is, or a UsageError that says which `purpose` needs it, and how to get it."""
    try:
        return import_module(module)
    except ImportError as error:
        raise UsageError(
            f"{purpose} needs the package {module} ({error}); get it with: {install_command(module)}"
        ) from error
