"""Which of several candidates to take, by what each answered to images that it was not fitted on; and what is left of
the chosen one's figure once it is allowed for that it was chosen.

- The rule: the lowest mean loss, or a cheaper candidate that is no worse than that by more than one standard error
  (Breiman et al., "Classification and regression trees", 1984, section 3.4.3). The error is that of the difference on
  the same images, by groups where there are some, as all candidates find the same images hard; and it allows for
  folds whose training images overlap (see tenfold.evaluate.folds).
- The lowest of many losses is low by luck too. So each image can be judged by what would have been chosen without it:
  of many bootstrap samples of the images, those that lack an image choose, and it gets the mean loss of their choices.
  That is the bootstrap bias corrected cross-validation of Tsamardinos, Greasidou and Borboudakis (2018,
  https://doi.org/10.1007/s10994-018-5714-4), ordered by image as in Efron and Tibshirani's leave-one-out bootstrap
  (1997, https://doi.org/10.1080/01621459.1997.10474007), so that an interval over images or groups can be given. It
  needs no fit beyond those that were made to choose. A choice from a sample's 63 % of the images is a little worse
  than the one from all, so that what error is left makes the figure too modest rather than too good.

Shapes: N images, C candidates, U units (images or groups).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tenfold.errors import UsageError
from tenfold.estimate import Units

DRAWS = 1000


def choose_candidate(losses: NDArray[np.float64], costs: NDArray[np.int64], units: Units, widen: float = 1.0) -> int:
    """The place of the candidate to take, 0 to C - 1, by the rule above.

    losses  float64 [N, C], of each image by each candidate, out of fold
    costs   int64 [C]; among candidates of equal cost the one of lowest loss is taken
    widen   what a standard error is multiplied by, at least 1, for folds that overlap: see `overlap`

    Raises UsageError where a loss is not finite or there are none.
    """
    sums, sizes = _unit_sums(losses, units), np.bincount(units.index, minlength=units.count).astype(np.float64)
    return _choose(sums, sizes, np.ones(units.count), costs, widen)


def choices_without(
    losses: NDArray[np.float64],
    costs: NDArray[np.int64],
    units: Units,
    widen: float = 1.0,
    *,
    seed: int = 0,
    draws: int = DRAWS,
) -> NDArray[np.float64]:
    """How often each candidate is chosen without an image: shares float64 [N, C], each row of sum 1.

    The arguments are those of `choose_candidate`. The sum of a row times any figures of that image by each candidate
    (its losses, whether it was right) judges the image by what is chosen without its unit.
    """
    sums, sizes = _unit_sums(losses, units), np.bincount(units.index, minlength=units.count).astype(np.float64)
    random = np.random.default_rng(seed)
    chosen = np.zeros((units.count, losses.shape[1]))
    for _ in range(draws):
        weights = np.bincount(random.integers(0, units.count, units.count), minlength=units.count).astype(np.float64)
        chosen[weights == 0, _choose(sums, sizes, weights, costs, widen)] += 1
    never = chosen.sum(1) == 0  # of very few units one may be in every sample
    chosen[never, _choose(sums, sizes, np.ones(units.count), costs, widen)] = 1
    shares: NDArray[np.float64] = (chosen / chosen.sum(1, keepdims=True))[units.index]
    return shares


def _unit_sums(losses: NDArray[np.float64], units: Units) -> NDArray[np.float64]:
    """[N, C] -> [U, C]"""
    if losses.ndim != 2 or losses.shape[1] == 0 or len(losses) != len(units.index) or not np.isfinite(losses).all():
        raise UsageError(f"losses must be finite, [N, C] for {len(units.index)} images, not {losses.shape}.")
    sums = np.zeros((units.count, losses.shape[1]))
    np.add.at(sums, units.index, losses)
    return sums


def _choose(
    sums: NDArray[np.float64],
    sizes: NDArray[np.float64],
    weights: NDArray[np.float64],
    costs: NDArray[np.int64],
    widen: float,
) -> int:
    """The rule, each unit counted `weights` times: sums [U, C], sizes [U], weights [U], costs [C]."""
    total, drawn = float(weights @ sizes), float(weights.sum())
    means = weights @ sums / total
    best = int(means.argmin())
    apart = means - means[best]
    residuals = sums - sums[:, [best]] - sizes[:, None] * apart
    squares = weights @ residuals**2
    errors = widen * np.sqrt(squares * drawn / max(drawn - 1, 1)) / total
    allowed = np.flatnonzero(apart <= errors)
    return int(min(allowed, key=lambda place: (costs[place], means[place])))
