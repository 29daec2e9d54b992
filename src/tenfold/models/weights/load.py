"""Load named tensors into a network: all of them fit, or one sentence says which is the first that does not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from tenfold.errors import DataError

_COUNTER = "num_batches_tracked"
"""What batch normalization counts while training; it decides nothing that weights decide."""


def load_tensors(
    network: nn.Module, tensors: Mapping[str, Tensor], layers: Mapping[str, str], left_out: Sequence[str], what: str
) -> None:
    """Copy tensors into a network, in its own precision.

    `layers`: a layer's name in the file -> its name in the network. `left_out`: beginnings of names in the file that
    are not the network's, as its classifier's. `what` names the file and the network in errors. Raises DataError for
    a tensor that is missing, too many, of another shape, or no finite numbers; the network is then as it was.
    """
    named: dict[str, Tensor] = {}
    strange = ""
    for key, value in tensors.items():
        layer, _, leaf = key.rpartition(".")
        if leaf == _COUNTER or key.startswith(tuple(left_out)):
            continue
        if layer in layers:
            named[f"{layers[layer]}.{leaf}"] = value
        else:
            strange = strange or key
    there = {ours: theirs for theirs, ours in layers.items()}
    wanted = {key: value for key, value in network.state_dict().items() if not key.endswith(_COUNTER)}
    for key, value in wanted.items():
        layer, _, leaf = key.rpartition(".")
        _check(named.get(key), value, f"{there[layer]}.{leaf}" if layer in there else key, what)
    if strange or named.keys() - wanted.keys():
        extra = strange or min(named.keys() - wanted.keys())
        raise DataError(f"{what} do not fit: the file has {extra}, which that network lacks; it is another's.")
    network.load_state_dict(named, strict=False)  # without the counters


def _check(found: Tensor | None, wanted: Tensor, key: str, what: str) -> None:
    if found is None:
        raise DataError(f"{what} do not fit: the file lacks {key}, {list(wanted.shape)}; it is another network's.")
    if found.shape != wanted.shape:
        raise DataError(f"{what} do not fit: {key} must be {list(wanted.shape)}, not {list(found.shape)}.")
    if found.is_floating_point() != wanted.is_floating_point():
        raise DataError(f"{what} do not fit: {key} must be of type {wanted.dtype}, not {found.dtype}.")
    if not torch.isfinite(found).all():
        raise DataError(f"{what} cannot be used: {key} holds numbers that are not finite.")
