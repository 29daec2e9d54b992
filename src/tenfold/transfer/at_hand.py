"""Which pretrained networks the ladder is climbed on: those that a recipe names, or all that are at hand.

At hand ("auto", and where a recipe names none) is what needs no download: the networks that are published under a name
of Tenfold's own, and those of torchvision in its cache, wherever their weights are on this machine already. Some of
these must be named to be tried:

- weights that are not free for every use, by their licence;
- networks that were trained on faces alone;
- networks of more than FACTOR times the multiply-adds of the built-in one, at the size at which each looks at images:
  VGG-16 has about 40 times as many. Multiply-adds stand for the time here, for they are known before anything is run;
- timm's networks and ONNX graphs, of which many take images of one size only.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import NamedTuple

from torch import Tensor

from tenfold.errors import DataError, UsageError
from tenfold.models import find_model
from tenfold.models.backbones import BUILT_IN, Backbone, bare_backbone
from tenfold.models.contract import Model
from tenfold.models.cost import count_cost
from tenfold.models.frozen import AUTO, FrozenClassifier, leaves_open, named_backbone
from tenfold.models.weights.places import Found, find_published, known_networks
from tenfold.models.weights.published import licence_note
from tenfold.recipe import Recipe, TransferSettings

FACTOR = 10
"""How many times the multiply-adds of the built-in network one may have to be tried unasked."""
_OF_FACES = {"mobilefacenet"}


class Networks(NamedTuple):
    """Which networks to climb on."""

    names: tuple[str, ...]
    """As `make_backbone` takes them."""
    left_out: tuple[str, ...] = ()
    """Those at hand that are not tried unasked and why, a sentence each."""


def wanted_networks(transfer: TransferSettings) -> Networks:
    """The networks that a recipe's [transfer] names.

    Raises UsageError where one network's weights are given for several, DataError where nothing is at hand.
    """
    if not leaves_open(transfer.backbone) and (transfer.backbone or transfer.weights or transfer.init):
        return Networks((transfer.backbone,))
    for name, option in (("weights", ""), ("init", " (--init)")):
        if getattr(transfer, name):
            raise UsageError(
                f"transfer.{name}{option} brings the weights of one network, and transfer.backbone leaves several open "
                f"({transfer.backbone}); drop one."
            )
    if transfer.backbone in ("", AUTO):
        return networks_at_hand()
    names = tuple(dict.fromkeys(name.strip() for name in transfer.backbone.split(",")))
    if AUTO in names or "" in names:
        raise UsageError(
            f"transfer.backbone must be one network, several with commas between, or {AUTO} alone, not "
            f"{transfer.backbone!r}."
        )
    return Networks(names)


def refuse_networks(recipe: Recipe) -> None:
    """Raise what `wanted_networks` and the model's `pretrained` raise for the networks that a recipe names, and
    UsageError where it names some for a model that is trained from scratch.
    """
    transfer, name = recipe.transfer, recipe.model.name
    if name != "auto" and "transfer" not in find_model(name).sections:
        for setting, option in (("backbone", "--backbone"), ("weights", "--weights"), ("init", "--init")):
            if getattr(transfer, setting):
                raise UsageError(
                    f"transfer.{setting} ({option}) is for a model on a pretrained network, and {name} is trained from "
                    f"scratch; leave it out, or set --model frozen or finetuned."
                )
        return
    if transfer.backbone in ("", AUTO) and not (transfer.weights or transfer.init):
        return  # none is named
    kind = FrozenClassifier if name == "auto" else find_model(name)
    for network in wanted_networks(transfer).names:
        settings = asdict(transfer) | {"backbone": network}
        if transfer.init:
            named_backbone(settings)
        else:
            kind.pretrained(settings)


def networks_at_hand() -> Networks:
    """What "auto" stands for on this machine. Raises DataError where that is nothing."""
    names, left_out = [], []
    for name in known_networks():
        try:
            found = find_published(name)
            reason = _why_not(name, found)
        except DataError:  # not on this machine
            continue
        except UsageError as error:  # a network that this environment cannot build
            left_out.append(f"All on {name}: {error}")
            continue
        if reason:
            left_out.append(f"All on {name}: {reason}; name it in transfer.backbone to have it tried.")
        else:
            names.append(name)
    if not names:
        find_published(BUILT_IN)  # says how its weights come here
    return Networks(tuple(names), tuple(left_out))


def multiply_adds(backbone: Backbone, size: int) -> int:
    """Of one look at an image of `size` x `size` pixels."""
    return count_cost(_Seen(backbone), size).multiply_adds


def _why_not(name: str, found: Found) -> str:
    """Why a network is not tried unasked, a clause; empty where it is. Raises UsageError where it cannot be built."""
    licence = found.published.licence
    if note := licence_note(licence):
        return f"its weights have the licence {licence} ({note})"
    if name in _OF_FACES:
        return "it was trained on faces"
    times = _usual_cost(bare_backbone(name)) / _usual_cost(bare_backbone(BUILT_IN))
    return f"it has {times:.0f} times the multiply-adds of {BUILT_IN}" if times > FACTOR else ""


def _usual_cost(backbone: Backbone) -> int:
    """Multiply-adds of one image at the size that a frozen network looks at where the recipe says nothing."""
    return multiply_adds(backbone, min(FrozenClassifier.usual.size, backbone.preprocessing.size))


class _Seen(Model):
    """A backbone as the model that its cost is counted of."""

    def __init__(self, backbone: Backbone) -> None:
        super().__init__(len(backbone.preprocessing.mean), (), {})
        self.backbone = backbone

    def outputs(self, images: Tensor) -> dict[str, Tensor]:
        return {"features": self.backbone.features(images)}
