"""An ONNX graph that gives one vector an image, frozen, run by ONNX Runtime on the CPU.

The graph itself is kept as a tensor of bytes, so that a run that uses it holds all that it needs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from tenfold.environment import usable_threads
from tenfold.errors import DataError, UsageError
from tenfold.models.backbones.backbone import Backbone, of_imagenet
from tenfold.models.weights.packages import need_package
from tenfold.models.weights.read import read_graph

PREPARATION = (
    "the file does not say how images are prepared: as ImageNet's are, unless train is given --image.mean and "
    "--image.std"
)
"""What should be known by whoever uses a file that is none of the published ones."""
_DEFAULT_SIZE = 224
_TYPES: dict[str, type[np.floating[Any]]] = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(double)": np.float64,
}
"""What a graph may take, as ONNX Runtime names it -> what it is given."""


class OnnxNetwork(Backbone):
    """One input [B, 3, S, S] of any float type, the first output [B, D] (or a map with D x 1 x 1).

    B is any number, or the one that the graph was written for: images are then shown B at a time, the last one again
    where fewer are left.

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
        return _side(self._open().get_inputs()[0].shape)

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
        if not len(images):
            return images.new_zeros(0, self.width, dtype=torch.float32)
        arrays = images.detach().float().cpu().contiguous().numpy()
        found = self._run(arrays, "if it takes images of one size only, set that: --size")
        return torch.from_numpy(found.reshape(len(arrays), -1)).to(images.device)

    def take(self, file: Path) -> None:
        """Load an ONNX file. Raises DataError where it is none, or gives no vector for an image."""
        self.graph = torch.from_numpy(np.frombuffer(read_graph(file), np.uint8).copy())
        self._session = None
        wanted = self._open(str(file)).get_inputs()
        if len(wanted) != 1:
            names = ", ".join(found.name for found in wanted)
            raise DataError(f"The ONNX file {file} must take one input, the images, not {len(wanted)}: {names}.")
        shape, kind = wanted[0].shape, wanted[0].type
        if kind not in _TYPES:
            raise DataError(
                f"The ONNX file {file} must take numbers of type {', '.join(_TYPES)}, not {kind}; export the network "
                "without a preprocessing of its own."
            )
        side = _side(shape)
        if len(shape) != 4 or {*_numbers(shape[1:2])} - {3} or {*_numbers(shape[2:])} - {side}:
            raise DataError(f"The ONNX file {file} must take images [N, 3, S, S], not {shape}.")
        size = side or _DEFAULT_SIZE
        self.preprocessing = of_imagenet(size, origin=self.preprocessing.origin)
        probe = np.zeros((1, 3, size, size), np.float32)
        found = self._run(probe, f"export {file.name} for images of one size, or of any")
        if found.ndim < 2 or found.size != found.shape[1]:
            raise DataError(f"The ONNX file {file} must give one vector an image, [N, D], not {list(found.shape)}.")
        self.width = int(found.shape[1])
        self.name = f"onnx:{size}:{self.width}"

    def _run(self, images: NDArray[np.float32], remedy: str) -> NDArray[np.float32]:
        """float32 [N, 3, S, S] -> the first output for each, float32 [N, ...].

        Raises DataError where the graph fails, which ends with the `remedy`.
        """
        session = self._open()
        wanted = session.get_inputs()[0]
        batch = max(_numbers(wanted.shape[:1]) or [len(images), 1])
        shown = _filled(images, batch).astype(_TYPES[wanted.type], copy=False)
        pieces = np.split(shown, len(shown) // batch)
        try:
            found = np.concatenate([session.run(None, {wanted.name: piece})[0] for piece in pieces])
            numbers = found[: len(images)].astype(np.float32, copy=False)
            if len(found) != len(shown):
                raise ValueError(f"it gives {list(found.shape)} for {len(shown)} images")
        except Exception as error:  # ONNX Runtime raises errors of its own
            reason = " ".join(str(error).split()).rstrip(".")
            raise DataError(
                f"The ONNX graph {self.name} cannot be run on images {list(images.shape)}: {reason}; {remedy}"
            ) from error
        return numbers

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


def _filled(images: NDArray[np.float32], batch: int) -> NDArray[np.float32]:
    """Images [N, ...] as whole batches: the last one again, until their number is a multiple."""
    missing = -len(images) % batch
    return np.concatenate([images, np.repeat(images[-1:], missing, 0)]) if missing else images


def _side(shape: Sequence[int | str | None]) -> int:
    """The side S of a graph's images [N, 3, S, S], in pixels, where one of the two is a number; 0: any."""
    return max(_numbers(shape[2:4]), default=0)


def _numbers(shape: Sequence[int | str | None]) -> list[int]:
    """Those dimensions that are numbers; others have a name, each its own (as exporters write "height", "width")."""
    return [length for length in shape if isinstance(length, int) and length > 0]


def _read_name(name: str) -> tuple[int, int]:
    """Size and width of "onnx:112:128"; 0 and 0 of "onnx"."""
    parts = name.split(":")[1:]
    if not parts:
        return 0, 0
    if len(parts) != 2 or not all(part.isdecimal() and int(part) > 0 for part in parts):
        raise UsageError(f"The backbone must be onnx, or onnx:SIZE:WIDTH as a run names it, not {name!r}.")
    return int(parts[0]), int(parts[1])
