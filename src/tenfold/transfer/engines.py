"""Engines: the quickest way to run a frozen backbone on this machine, measured on its own images.

What is tried on a processor, in float32: PyTorch with channels last in memory, PyTorch with channels first, and ONNX
Runtime, which folds batch normalization and activations into the convolutions (an extra: onnx and onnxruntime). One is
taken only if its features are those of the first to 1e-4 of the largest. bfloat16 is not tried: its eight bits give
4e-3 at best. A GPU runs PyTorch in float32, without the rounding of TF32, so that the cache may be shared.

Shapes: N images, H x W pixels, D features.
"""

from __future__ import annotations

import io
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn

from tenfold.environment import exact_on, is_memory_full, usable_threads
from tenfold.errors import TrainingError

if TYPE_CHECKING:
    from tenfold.models.backbones import Backbone

Look = Callable[[Tensor], Tensor]
"""Images float32 [N, 3, H, W] on the CPU -> features float32 [N, D] on the CPU."""

TOLERANCE = 1e-4
"""How far features may differ, over the largest of them."""
FEWEST = 256
"""Images from which on it is measured how long PyTorch takes."""
WORTH_SECONDS = 10.0
"""Work for which alternatives are tried: exporting a network takes a second or two."""
_QUICKER = 0.9  # of the time, at most, for another way to be taken


class Engine(NamedTuple):
    """A way to run a backbone."""

    name: str
    look: Look


def choose_engine(backbone: Backbone, images: Tensor, count: int, device: torch.device) -> Engine:
    """The quickest engine for `count` images like these, float32 [N, 3, H, W]; the backbone is left in evaluation mode.

    A GPU, and work that is done soon, gets PyTorch without a trial.
    """
    first = torch_engine(backbone, device, torch.channels_last)
    if device.type != "cpu" or count < FEWEST:
        return first
    start = time.perf_counter()
    wanted = first.look(images)
    if (time.perf_counter() - start) / len(images) * count < WORTH_SECONDS:
        return first
    others = (torch_engine(backbone, device, torch.contiguous_format), onnx_engine(backbone, images))
    best, seconds = first, _seconds(first, images)
    for other in filter(None, others):
        if is_same(other.look(images), wanted) and (took := _seconds(other, images)) < _QUICKER * seconds:
            best, seconds = other, took
    return best


def is_same(found: Tensor, wanted: Tensor) -> bool:
    """Whether features [N, D] are the same to TOLERANCE."""
    apart = (found - wanted).abs().max()
    return bool(apart <= TOLERANCE * wanted.abs().max())  # False where one is not a number


def torch_engine(backbone: Backbone, device: torch.device, memory: torch.memory_format) -> Engine:
    """PyTorch, the images in that order in memory; as many at once as the device's memory holds.

    Raises TrainingError where it does not hold the network, and on `look` where it does not hold one image.
    """
    with _said_plainly(
        f"the network {backbone.name}; end other programs that use the memory{_else_cpu(device)}", device
    ):
        backbone.eval().to(device)
    most = 0  # images at once, known after the memory was too small for more; 0: all

    def at_once(images: Tensor) -> Tensor:
        with torch.inference_mode(), exact_on(device):
            return backbone.features(images.to(device).contiguous(memory_format=memory)).float().cpu()

    def look(images: Tensor) -> Tensor:
        nonlocal most
        while (tried := min(most or len(images), len(images))) > 1:
            try:
                return torch.cat([at_once(piece) for piece in torch.split(images, tried)])
            except RuntimeError as error:
                if not is_memory_full(error):
                    raise
            most = tried // 2  # out here, where the error no longer holds what was computed
        with _said_plainly(f"one image at {images.shape[3]} px; set a smaller --size{_else_cpu(device)}", device):
            return torch.cat([at_once(piece) for piece in torch.split(images, 1)])

    order = "channels last" if memory == torch.channels_last else "channels first"
    return Engine(f"PyTorch, {order}" if device.type == "cpu" else f"PyTorch on {device}", look)


@contextmanager
def _said_plainly(what: str, device: torch.device) -> Iterator[None]:
    """Raise TrainingError where the device's memory is too small for `what`, which ends with the remedy."""
    try:
        yield
    except RuntimeError as error:
        if not is_memory_full(error):
            raise
        raise TrainingError(f"The memory of {device} is too small for {what}.") from error


def _else_cpu(device: torch.device) -> str:
    return "" if device.type == "cpu" else ", or give --device cpu"


def onnx_engine(backbone: Backbone, images: Tensor) -> Engine | None:
    """ONNX Runtime; None where it is not installed or cannot run this backbone."""
    if find_spec("onnx") is None or find_spec("onnxruntime") is None:
        return None
    runtime = import_module("onnxruntime")
    try:
        graph = _exported(backbone, images)
        options = runtime.SessionOptions()
        options.intra_op_num_threads = usable_threads()
        options.log_severity_level = 3
        session = runtime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])

        def look(images: Tensor) -> Tensor:
            return torch.from_numpy(session.run(None, {"images": images.contiguous().numpy()})[0])

        look(images)
    except Exception:  # an operation that a graph does not have; ONNX Runtime raises errors of its own
        return None
    return Engine("ONNX Runtime", look)


class _Features(nn.Module):
    """A backbone's features as a forward pass, which is what can be exported."""

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.backbone = backbone

    def forward(self, images: Tensor) -> Tensor:
        return self.backbone.features(images)


def _exported(backbone: Backbone, images: Tensor) -> bytes:
    """The features as an ONNX graph, for any number of images of this size.

    By way of TorchScript: the newer exporter needs another package and takes many times as long.
    """
    graph = io.BytesIO()
    with warnings.catch_warnings():  # of the exporter's age, and of every Python number that becomes a constant
        warnings.simplefilter("ignore")
        torch.onnx.export(
            _Features(backbone).eval(),
            (images[:2],),
            graph,  # type: ignore[arg-type]  # a file in memory will do
            dynamo=False,
            input_names=["images"],
            output_names=["features"],
            dynamic_axes={"images": {0: "N"}, "features": {0: "N"}},
            opset_version=17,
        )
    return graph.getvalue()


def _seconds(engine: Engine, images: Tensor) -> float:
    """What an engine that is warm takes for these images."""
    start = time.perf_counter()
    engine.look(images)
    return time.perf_counter() - start
