"""An ONNX graph that gives one vector an image, frozen, run by ONNX Runtime on the CPU.

The graph itself is kept as a tensor of bytes, so that a run that uses it holds all that it needs.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from tenfold.environment import usable_threads
from tenfold.errors import DataError, UsageError
from tenfold.models.backbones.backbone import Backbone, of_imagenet
from tenfold.models.weights.packages import need_package

_DEFAULT_SIZE = 224


class OnnxNetwork(Backbone):
    """One input float32 [N or 1, 3, S, S], the first output [N or 1, D] (or a map with D x 1 x 1).

    "onnx" is one without a graph, to be filled by `take`; its name then becomes "onnx:S:D", from which a network of
    that size and width is built again, and filled by `load_state_dict`. What a file does not say is how its input is
    prepared: ImageNet's colors are assumed.
    """

    graph: Tensor

    def __init__(self, name: str) -> None:
        size, width = _read_name(name)
        super().__init__(
            name, of_imagenet(size or _DEFAULT_SIZE, origin="not stated in the ONNX file: ImageNet's colors assumed")
        )
        self.width = width
        self.register_buffer("graph", torch.zeros(0, dtype=torch.uint8))
        self._session: Any = None

    @property
    def fixed_size(self) -> int:
        """The graph's own side, where that is a number."""
        side = self._open().get_inputs()[0].shape[2]
        return side if isinstance(side, int) else 0

    def stages(self) -> list[nn.Module]:
        """None: nothing in it can be trained."""
        return []

    def maps(self, images: Tensor) -> list[Tensor]:
        raise UsageError(
            f"The backbone {self.name} gives one vector an image and no maps; choose another where maps are needed."
        )

    def features(self, images: Tensor) -> Tensor:
        """float32 [N, 3, S, S] -> [N, D], on the images' device; without gradients."""
        if torch.compiler.is_compiling() or torch.jit.is_tracing():  # type: ignore[attr-defined, no-untyped-call]
            raise NotImplementedError("An ONNX graph is run as it is and cannot be exported again.")
        session = self._open()
        wanted = session.get_inputs()[0]
        single = wanted.shape[0] == 1
        arrays = images.detach().float().cpu().contiguous().numpy()
        pieces = np.split(arrays, len(arrays)) if single and len(arrays) > 1 else [arrays]
        found = np.concatenate([session.run(None, {wanted.name: piece})[0] for piece in pieces])
        return torch.from_numpy(found.reshape(len(arrays), -1)).to(images.device)

    def take(self, file: Path) -> None:
        """Load an ONNX file. Raises DataError where it is none, or gives no vector for an image."""
        try:
            self.graph = torch.from_numpy(np.frombuffer(file.read_bytes(), np.uint8).copy())
        except OSError as error:
            raise DataError(f"The ONNX file {file} cannot be read: {error.strerror or error}.") from error
        self._session = None
        session = self._open(str(file))
        shape = session.get_inputs()[0].shape
        if len(shape) != 4 or shape[1] != 3 or shape[2] != shape[3]:
            raise DataError(f"The ONNX file {file} must take images [N, 3, S, S], not {shape}.")
        size = shape[2] if isinstance(shape[2], int) else _DEFAULT_SIZE
        self.preprocessing = of_imagenet(size, origin=self.preprocessing.origin)
        found = session.run(None, {session.get_inputs()[0].name: np.zeros((1, 3, size, size), np.float32)})[0]
        if found.ndim < 2 or found.size != found.shape[1]:
            raise DataError(f"The ONNX file {file} must give one vector an image, [N, D], not {list(found.shape)}.")
        self.width = int(found.shape[1])
        self.name = f"onnx:{size}:{self.width}"

    def _open(self, what: str = "that the run holds") -> Any:
        """The session, opened at first use."""
        if self._session is None:
            runtime = need_package("onnxruntime", f"The backbone {self.name}")
            options = runtime.SessionOptions()
            options.intra_op_num_threads = usable_threads()
            options.log_severity_level = 3
            try:
                graph = self.graph.cpu().numpy().tobytes()
                self._session = runtime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
            except Exception as error:  # ONNX Runtime raises errors of its own
                reason = " ".join(str(error).split()).rstrip(".")
                raise DataError(f"The ONNX file {what} cannot be used: {reason}.") from error
        return self._session

    def _load_from_state_dict(self, state: Mapping[str, Any], prefix: str, *rest: Any) -> None:
        """A graph of any length is taken."""
        if isinstance(found := state.get(f"{prefix}graph"), Tensor):
            self.graph = torch.zeros_like(found, device=self.graph.device)
            self._session = None
        super()._load_from_state_dict(state, prefix, *rest)

    def __getstate__(self) -> dict[str, Any]:
        """A copy opens a session of its own."""
        return {**self.__dict__, "_session": None}


def _read_name(name: str) -> tuple[int, int]:
    """Size and width of "onnx:112:128"; 0 and 0 of "onnx"."""
    parts = name.split(":")[1:]
    if not parts:
        return 0, 0
    if len(parts) != 2 or not all(part.isdecimal() and int(part) > 0 for part in parts):
        raise UsageError(f"The backbone must be onnx, or onnx:SIZE:WIDTH as a run names it, not {name!r}.")
    return int(parts[0]), int(parts[1])
