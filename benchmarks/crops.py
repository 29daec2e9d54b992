"""R-CNN's squares through PyTorch and through ONNX Runtime, on one core: squares a second.

    python benchmarks/crops.py

Both give what R-CNN takes from a square, the mean over the last map and the last map but one; they take turns, the
first turn of each is left out, and the seconds are those of the processor, which other programs change little.

Last figures, 28 November 2026, one core of an AMD EPYC with other programs beside it, PyTorch 2.14.1, ONNX Runtime
1.32.0, EfficientNet-Lite0, 256 squares of 64 px, 6 turns each, median and range of the last of three like runs: 64 at
once, as R-CNN had them then, PyTorch 1,131 (1,086 to 1,176), ONNX Runtime 1,261 (1,152 to 1,337); 256 at once 875 (763
to 985) and 1,183 (1,170 to 1,188). The largest difference of a feature was 6e-5, where the largest feature is 17. So
ONNX Runtime is 8 to 12 % quicker as R-CNN saw its squares, and R-CNN does without: that is not worth a second engine,
whose last bits are others. (A first run, as other programs took more, gave 762 and 1,266.)

On two cores of an AMD EPYC without AVX-512 (Zen 3), the same day, PyTorch's maps by hand, in turns, n = 3, squares a
second: 32 at once 522 to 625, 64 at once 389 to 472, 128 at once 349 to 493. R-CNN has 32 since. This script there, on
29 November, one thread: PyTorch 306 (232 to 390) with 32 at once, 341 (278 to 380) with 64, 356 (288 to 391) with 256,
so one thread shows no such difference; ONNX Runtime 397 (321 to 486), 402 (381 to 475), 469 (384 to 542), a fifth to a
third quicker than PyTorch, the ranges overlapping.
"""

from __future__ import annotations

import io
import statistics
import time
import warnings
from collections.abc import Callable

import torch
from torch import Tensor, nn

from tenfold.models.backbones import Backbone, make_backbone

SQUARES, SIDE, TURNS = 256, 64, 7


class Squares(nn.Module):
    """What R-CNN takes from squares [R, 3, S, S]."""

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.backbone = backbone

    def forward(self, squares: Tensor) -> tuple[Tensor, Tensor]:
        """[R, D] and [R, E]."""
        maps = self.backbone.maps(squares)
        return maps[-1].mean((2, 3)), maps[-2].flatten(1)


def in_torch(network: nn.Module, squares: Tensor) -> list[Tensor]:
    """As R-CNN does it."""
    with torch.no_grad():
        return list(network(squares.contiguous(memory_format=torch.channels_last)))


def in_onnx(network: nn.Module, squares: Tensor) -> Callable[[Tensor], list[Tensor]]:
    """A session for as many squares as these, on one thread."""
    import onnxruntime

    graph = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(network, (squares,), graph, dynamo=False, input_names=["squares"], opset_version=17)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(graph.getvalue(), options, providers=["CPUExecutionProvider"])
    return lambda given: [torch.from_numpy(found) for found in session.run(None, {"squares": given.numpy()})]


def main() -> None:
    torch.set_num_threads(1)
    network = Squares(make_backbone("efficientnet-lite0")[0].eval()).eval()
    squares = torch.rand(SQUARES, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    for many in (32, 64, 256):
        ways = {"PyTorch": lambda given: in_torch(network, given), "ONNX Runtime": in_onnx(network, squares[:many])}
        first, second = (way(squares[:many]) for way in ways.values())
        apart = max(float((one - other).abs().max()) for one, other in zip(first, second, strict=True))
        rates: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(TURNS):
            for name, way in ways.items():
                began = time.process_time()
                for start in range(0, SQUARES, many):
                    way(squares[start : start + many])
                rates[name].append(SQUARES / (time.process_time() - began))
        for name, found in rates.items():
            found = found[1:]
            print(f"{many} at once, {name}: {statistics.median(found):.0f} ({min(found):.0f} to {max(found):.0f})")
        print(f"largest difference {apart:.1g}, of at most {max(float(one.max()) for one in first):.2g}")


if __name__ == "__main__":
    main()
