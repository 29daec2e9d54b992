"""Read a file of weights: named tensors, whatever format they come in; nothing in the file is executed.

.safetensors            names as they are
.pth .pt .bin .ckpt     a PyTorch state dict, read with `weights_only`; also one inside {"state_dict": ...}
.pth.tar                the same: no archive, but what PyTorch's ImageNet example calls its checkpoints
.h5 .hdf5               Keras: "block1_conv1.weight", in PyTorch's order of axes
.onnx                   the graph's convolutions in its order: "/conv1/conv1.0/Conv.weight"
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from tenfold.errors import DataError, UsageError
from tenfold.models.weights.packages import need_package

Tensors = dict[str, Tensor]

_OUTSIDE = b"\x0a\x08location\x12"
"""In an ONNX file that keeps weights in other files: the key of a tensor's `external_data` that says in which."""


def read_tensors(file: Path) -> Tensors:
    """The tensors of a weights file, in its order, on the CPU.

    Raises UsageError for a suffix that is not known, DataError where the file is missing, damaged, or a pickle with
    more in it than tensors.
    """
    reader = next((read for suffix, read in READERS.items() if file.name.lower().endswith(suffix)), None)
    if file.suffix.lower() == ".keras":
        raise UsageError(
            f"A weights file must hold weights alone, and {file} is a whole Keras model: save them with "
            f"model.save_weights('{file.stem}.weights.h5'), and give that file."
        )
    if reader is None:
        raise UsageError(f"A weights file must end in {', '.join(READERS)}, not in {file.suffix!r} ({file}).")
    if not file.is_file():
        raise DataError(f"The weights file {file} does not exist.")
    tensors = reader(file)
    if not tensors:
        raise DataError(f"The weights file {file} holds no tensors.")
    return tensors


def _read_safetensors(file: Path) -> Tensors:
    try:
        return load_file(file)
    except (OSError, ValueError, SafetensorError) as error:
        raise _damaged(file, error) from error


def _read_torch(file: Path) -> Tensors:
    try:
        content = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # a pickle may fail in any way; with weights_only nothing of it was executed
        raise DataError(
            f"The weights file {file} is no PyTorch state dict: it is damaged, or holds more than tensors, which could "
            "run code and is not read; save model.state_dict(), or better a .safetensors file."
        ) from error
    for key in ("state_dict", "model"):
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    return _only_tensors(file, content)


def _only_tensors(file: Path, content: Any) -> Tensors:
    """A state dict without the "module." that training on several GPUs puts before each name."""
    if not isinstance(content, dict) or not all(isinstance(value, Tensor) for value in content.values()):
        raise DataError(f"The weights file {file} is no PyTorch state dict, name -> tensor; save model.state_dict().")
    return {str(name).removeprefix("module."): value for name, value in content.items()}


def _read_keras(file: Path) -> Tensors:
    """A layer's kernel becomes "LAYER.weight", [outputs, inputs, height, width] or [outputs, inputs]; 1-D is its bias.

    The layer is the last name on the way to the array: "block1_conv1/block1_conv1_W_1:0" of Keras 1 and 2,
    "model_weights/block1_conv1/block1_conv1/kernel" and "layers/conv2d/vars/0" of Keras 3.
    """
    h5py = need_package("h5py", f"The weights file {file}")
    tensors: Tensors = {}

    def visit(path: str, found: Any) -> None:
        layers = [name for name in path.split("/")[:-1] if name != "vars"]
        if not isinstance(found, h5py.Dataset) or not layers or layers[0].startswith("optimizer") or not found.ndim:
            return
        array = torch.from_numpy(found[()])
        if array.ndim == 1:
            tensors[f"{layers[-1]}.bias"] = array
        else:
            last = array.ndim - 1
            tensors[f"{layers[-1]}.weight"] = array.permute(last, last - 1, *range(last - 1)).contiguous()

    try:
        with h5py.File(file, "r") as content:
            content.visititems(visit)
    except (OSError, ValueError, RuntimeError, TypeError) as error:
        raise _damaged(file, error) from error
    return tensors


def read_graph(file: Path) -> bytes:
    """An ONNX file, the weights inside that it may keep in files beside it, as `torch.onnx.export` does.

    Raises DataError where it, or one of those, cannot be read, or all are too large to be one.
    """
    try:
        content = file.read_bytes()
    except OSError as error:
        raise DataError(f"The ONNX file {file} cannot be read: {error.strerror or error}.") from error
    if _OUTSIDE not in content:
        return content
    onnx = need_package("onnx", f"The ONNX file {file}, which keeps weights in other files,")
    try:
        joined: bytes = onnx.load(file).SerializeToString()
    except Exception as error:  # protobuf and onnx raise errors of their own, by the version
        reason = " ".join(str(error).split()).rstrip(".")
        raise DataError(
            f"The ONNX file {file} keeps weights in other files, which must lie beside it and be whole: {reason}."
        ) from error
    return joined


def _read_onnx(file: Path) -> Tensors:
    onnx, content = need_package("onnx", f"The weights file {file}"), read_graph(file)
    try:
        graph = onnx.load_model_from_string(content).graph
        arrays = {stored.name: stored for stored in graph.initializer}
        tensors: Tensors = {}
        for node in graph.node:
            if node.op_type == "Conv" and node.input[1] in arrays:
                for leaf, name in zip(("weight", "bias"), node.input[1:], strict=False):
                    tensors[f"{node.name}.{leaf}"] = torch.from_numpy(onnx.numpy_helper.to_array(arrays[name]).copy())
    except Exception as error:  # protobuf raises errors of its own, by the version
        raise _damaged(file, error) from error
    return tensors


READERS: dict[str, Callable[[Path], Tensors]] = {
    ".safetensors": _read_safetensors,
    ".pth": _read_torch,
    ".pth.tar": _read_torch,
    ".pt": _read_torch,
    ".bin": _read_torch,
    ".ckpt": _read_torch,
    ".h5": _read_keras,
    ".hdf5": _read_keras,
    ".onnx": _read_onnx,
}
"""Suffix -> what reads it."""


def _damaged(file: Path, error: Exception) -> DataError:
    return DataError(f"The weights file {file} is damaged: {' '.join(str(error).split()).rstrip('.')}.")
