"""Threads: many small tensor operations side by side.

PyTorch splits one operation over its threads, which then wait for each other within each: for the many small ones of a
comparison that gains little, and beside another program it costs thirty times the time. So PyTorch gets one thread,
and pieces of the work, which wait for nobody, are shared among as many as it had, no
more than the process may use.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from tenfold.environment import torch_threads, usable_threads

Piece = TypeVar("Piece")
Result = TypeVar("Result")


def in_threads(work: Callable[[Piece], Result], pieces: Iterable[Piece]) -> list[Result]:
    """`work` of each piece, in order; it must not depend on which thread it runs in."""
    count = usable_threads()
    pool = ThreadPoolExecutor(count, thread_name_prefix="tenfold-compare")
    with torch_threads(1), pool:  # threads that are new take this over
        return list(pool.map(work, pieces))
