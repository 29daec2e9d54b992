"""The time that a user gives, and what would not end in it."""

from __future__ import annotations

import time
from collections.abc import Callable

_RESERVE = 0.05  # of the time, for the choice itself and the fit to all images


class OverError(Exception):
    """There is not enough time for what was begun."""


class Clock:
    """Runs from the moment at which the user gave the time.

    seconds  how long what is begun may take; 0: no limit
    tick     gives seconds that never go back
    started  what `tick` gave when the time began; None: now
    """

    def __init__(
        self, seconds: float = 0.0, tick: Callable[[], float] = time.monotonic, started: float | None = None
    ) -> None:
        self.seconds, self.tick = seconds, tick
        self.started = tick() if started is None else started
        self._kept = 0.0

    @property
    def spent(self) -> float:
        """Seconds since the start."""
        return self.tick() - self.started

    @property
    def left(self) -> float:
        """Seconds that are left for rungs; infinite without a limit."""
        return self.seconds * (1 - _RESERVE) - self._kept - self.spent if self.seconds else float("inf")

    def keep(self, seconds: float) -> None:
        """Keep at least so many seconds back for what is known to come after the rungs."""
        self._kept = max(self._kept, seconds)

    def watch(self, *, warms_up: bool = False, tried: float = 0.0, later: float = 0.0) -> Callable[[int, int], None]:
        """What is to be called with (done, of) during a piece of work: it raises OverError where that would not end.

        warms_up  what comes before anything is done takes time, but says nothing of the pace
        tried     the pace is believed once more than this share of the work is done
        later     how much of such work follows elsewhere and must end in time too, as a share of this
        """
        began, before = self.tick(), -1 if warms_up else 0

        def check(done: int, of: int) -> None:
            nonlocal began, before
            left, now = self.left, self.tick()
            if before < 0 < done:
                began, before = now, done
            own = done - max(before, 0)
            to_come = of * (1 + later) - done
            if left <= 0 or (own > tried * of and (now - began) / own * to_come > left):
                raise OverError

        return check
