"""How a policy mixes images, as data; mix.py does it."""

from __future__ import annotations

from dataclasses import dataclass

from tenfold.recipe import check_range


@dataclass(frozen=True)
class Mix:
    """Mixing of neighbors, with their labels: in the epoch's order by training, within a batch by `Policy.mix_batch`.

    Images alone (`policy(...)`, `Policy.batch`, files) are not mixed.
    """

    mixup: float = 0.0
    """Beta parameter of mixup (Zhang et al. 2018); 0: off."""
    cutmix: float = 0.0
    """Beta parameter of CutMix (Yun et al. 2019); 0: off."""
    share: float = -1.0
    """Share of the images that are mixed; -1: chosen by training from the number of epochs."""

    def __post_init__(self) -> None:
        check_range("mix.mixup", self.mixup, 0, 100)
        check_range("mix.cutmix", self.cutmix, 0, 100)
        if self.share != -1:
            check_range("mix.share", self.share, 0, 1)

    @property
    def is_on(self) -> bool:
        """Whether any image may be mixed."""
        return self.share != 0 and (self.mixup > 0 or self.cutmix > 0)


UNMIXED = Mix()
