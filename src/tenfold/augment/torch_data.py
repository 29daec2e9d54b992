"""Policies in other people's torch pipelines: a callable for torchvision.transforms.v2, and a Dataset around a Dataset.

    transform = v2.Compose([PolicyTransform(policy), v2.ToImage(), v2.ToDtype(torch.float32, scale=True)])
    dataset = AugmentedDataset(ImageFolder("flowers"), policy)

    for epoch in range(20):
        dataset.set_epoch(epoch)  # or transform.set_epoch(epoch)
        for images, targets in loader: ...

What AugmentedDataset does to an image depends on (seed, epoch, the image's bytes) alone, so neither workers nor the
order of the images change it; without `set_epoch` each pass over the data repeats the changes.

What PolicyTransform does depends also on how often its process has had that image since the epoch was set. With
`set_epoch` before each pass, and no image twice in a pass, workers and order change nothing here either. Without it the
next pass in the same process has other changes, but new workers begin where the program stands, and so repeat them.

The epoch lies in shared memory: workers that live for several epochs see it too.

Mixup and CutMix need a batch and its labels, so neither does them; a policy's [mix] is done where batches are made:

    loader = DataLoader(dataset, 64, shuffle=True, collate_fn=MixCollate(policy, classes=10, share=0.5))

torchvision is not needed. Its images and boxes are known where a program has imported them.

Shapes: N images H x W, C channels, 1 or 3; output h x w; B boxes; K classes.
"""

from __future__ import annotations

import dataclasses
import hashlib
import sys
import threading
from collections.abc import Callable, Sequence, Sized
from typing import Any, Generic, TypeVar, cast

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from tenfold.augment.boxes import move_boxes
from tenfold.augment.draw import Drawn, Size
from tenfold.augment.mix import Mixed, mix_tensors, soft_labels
from tenfold.augment.policy import Policy
from tenfold.draws import Keys, draw_keys
from tenfold.errors import UsageError
from tenfold.recipe import check_range

Pixels = NDArray[np.uint8]
Target = TypeVar("Target")

LABELS = "labels"
"""The entry of a dict that holds one value for each of its boxes."""

_COUNTING = threading.Lock()  # of no transform, as a lock cannot go to another process


class PolicyTransform:
    """A policy as a transform that stands beside those of torchvision.transforms.v2, in a Compose or alone.

    Takes a sample as they do: an image, several arguments, or any nest of dicts, lists and tuples, and gives the same
    back. Images are PIL images (L or RGB), tv_tensors.Image and uint8 tensors [C, H, W] or [N, C, H, W]; of plain
    tensors only the first one, and only where there is no other image. All images of a sample are changed alike, those
    of a tensor [N, C, H, W] each on its own. Anything else stays as it is.

    tv_tensors.BoundingBoxes (XYXY, XYWH, CXCYWH) move with the image. A box of which less than `policy.visible` is left
    is dropped where its dict has "labels": those lose the same entries. Elsewhere it becomes all zeros, as in
    torchvision's RandomIoUCrop, for v2.SanitizeBoundingBoxes to take out with whatever belongs to it. Boxes in a plain
    tensor are not known as such and stay where they are.

    An image that comes again in one epoch is changed anew; each process counts for itself.

    The policy's mixing (mixup, CutMix) is not done here, as it needs a batch and its labels: see MixCollate.

    Raises UsageError for images of another form, and for masks, key points, videos and rotated boxes, which it cannot
    move; `Policy` itself moves points.
    """

    def __init__(self, policy: Policy, seed: int = 0, *, size: Size | None = None) -> None:
        """`size`: height and width of the output, those of the image unless given."""
        check_range("seed", seed, 0, 2**64 - 1)
        self.policy, self.seed, self.size = policy, seed, size
        self._epoch = _Epoch()
        self._seen: dict[int, int] = {}
        """How often each image has come since the epoch was set, which was the time `_counted`."""
        self._counted = 0

    def set_epoch(self, epoch: int) -> None:
        """From now on the changes are those of this epoch, its first ones."""
        self._epoch.number = epoch

    def __call__(self, *inputs: Any) -> Any:
        sample = inputs[0] if len(inputs) == 1 else inputs
        return _change_sample(sample, self.policy, self._keys, self.size)

    def __repr__(self) -> str:
        return f"PolicyTransform({self.policy.name}, seed={self.seed}, size={self.size})"

    def _keys(self, images: Pixels) -> Keys:
        hashes, draws = content_hashes(images), []
        with _COUNTING:
            if self._epoch.times != self._counted:  # set anew, perhaps by another process
                self._seen.clear()
                self._counted = self._epoch.times
            for number in hashes.tolist():
                draws.append(self._seen.get(number, 0))
                self._seen[number] = draws[-1] + 1
        return draw_keys(self.seed, self._epoch.number, hashes, np.array(draws, np.uint64))


class AugmentedDataset(Dataset[tuple[Any, Target]], Generic[Target]):
    """A map-style Dataset of (image, target) whose images a policy changes, anew in each epoch.

    Images and targets as for PolicyTransform; the image may be a NumPy array uint8 [H, W, C] too. In one epoch the same
    image always comes out alike, at whichever index and however often it is asked for. The policy's mixing (mixup,
    CutMix) is not done here, as it needs a batch: give the loader a MixCollate.
    """

    def __init__(self, dataset: Any, policy: Policy, seed: int = 0, *, size: Size | None = None) -> None:
        """`dataset` has `__len__` and `__getitem__`; `size`: see PolicyTransform."""
        check_range("seed", seed, 0, 2**64 - 1)
        self.dataset, self.policy, self.seed, self.size = dataset, policy, seed, size
        self._epoch = _Epoch()

    def set_epoch(self, epoch: int) -> None:
        """From now on the changes are those of this epoch."""
        self._epoch.number = epoch

    def __len__(self) -> int:
        return len(cast(Sized, self.dataset))

    def __getitem__(self, index: int) -> tuple[Any, Target]:
        sample = self.dataset[index]
        if not (isinstance(sample, tuple | list) and len(sample) == 2):
            raise UsageError(f"The dataset must give pairs (image, target), not {type(sample).__name__}.")
        image, target = sample
        if isinstance(image, np.ndarray):
            keys = self._keys(_checked(image[None], "array [H, W, C]"))
            return self.policy(image, key=int(keys[0]), size=self.size).image, target
        changed = _change_sample((image, target), self.policy, self._keys, self.size)
        return cast("tuple[Any, Target]", changed)

    def _keys(self, images: Pixels) -> Keys:
        return draw_keys(self.seed, self._epoch.number, content_hashes(images))


class MixCollate:
    """A DataLoader's `collate_fn` that mixes each batch as the policy's [mix] says and gives soft labels for the loss.

    Takes samples (image, label): images as uint8 or float32 tensors [C, H, W] of one size, changed by AugmentedDataset,
    PolicyTransform or whatever else before; labels as whole numbers from 0 to `classes` - 1, or as floats [K]. Gives
    images [N, C, H, W] of their dtype and labels float32 [N, K], which `torch.nn.CrossEntropyLoss` takes. Each image is
    mixed with the next one of the batch, the last with the first; what is drawn depends on (seed, epoch, the image's
    values as they come in). Without mixing in the policy images stay as they are, and labels become soft all the same.

    Raises UsageError for samples of another form, and where neither the policy nor `share` says how many are mixed.
    """

    def __init__(self, policy: Policy, classes: int, seed: int = 0, *, share: float = -1.0) -> None:
        """`share`: of the images to be mixed, where the policy leaves it to training (`policy.mix.share` is -1)."""
        check_range("classes", classes, 1, 2**31)
        check_range("seed", seed, 0, 2**64 - 1)
        self.mixing = policy.mix if share == -1 else dataclasses.replace(policy.mix, share=share)
        if self.mixing.is_on and self.mixing.share == -1:
            raise UsageError(f"The policy {policy.name} leaves the share of mixed images open; give share, 0 to 1.")
        self.policy, self.classes, self.seed = policy, classes, seed
        self._epoch = _Epoch()

    def set_epoch(self, epoch: int) -> None:
        """From now on the mixing is that of this epoch."""
        self._epoch.number = epoch

    def __call__(self, samples: Sequence[tuple[Tensor, Any]]) -> tuple[Tensor, Tensor]:
        images = [image for image, _ in samples]
        if not all(isinstance(image, Tensor) and image.ndim == 3 for image in images):
            raise UsageError("A batch to mix must be of tensors [C, H, W]; put torchvision's v2.ToImage() before.")
        if len({image.shape for image in images}) > 1:
            raise UsageError("A batch to mix must be of images of one size; give the policy's transform a size.")
        batch = torch.stack([image.as_subclass(Tensor) for image in images])
        labels = soft_labels(torch.stack([torch.as_tensor(label) for _, label in samples]), self.classes)
        keys = draw_keys(self.seed, self._epoch.number, content_hashes(batch.numpy()))
        mixed: Mixed = mix_tensors(batch, labels, keys, self.mixing, self.policy.span)
        return mixed.images, mixed.labels


class _Epoch:
    """A number that a program and the workers of its loaders share: what one sets the others see."""

    def __init__(self) -> None:
        self.__setstate__({"_shared": torch.zeros(2, dtype=torch.int64)})

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._shared: Any = state["_shared"].share_memory_()  # a copy is shared anew

    @property
    def number(self) -> int:
        return int(self._shared[0])

    @number.setter
    def number(self, number: int) -> None:
        check_range("epoch", number, 0, 2**63 - 1)
        self._shared[0] = number
        self._shared[1] += 1

    @property
    def times(self) -> int:
        """How often it has been set."""
        return int(self._shared[1])


def content_hashes(images: NDArray[Any]) -> Keys:
    """A hash of each image's size and bytes: [N, H, W, C] -> uint64 [N]."""
    size = repr(images.shape[1:]).encode()
    found = [hashlib.blake2b(size + image.tobytes(), digest_size=8).digest() for image in images]
    return np.frombuffer(b"".join(found), "<u8").astype(np.uint64)


def _change_sample(sample: Any, policy: Policy, keys_of: Callable[[Pixels], Keys], size: Size | None) -> Any:
    """Change the images and boxes in a sample; `keys_of` gives the draw keys of the first image, for all of them."""
    images = _images_in(sample)
    if not images:
        raise UsageError("The sample must hold an image: a PIL image or a uint8 tensor [C, H, W]; it has none.")
    pixels = [_pixels(image) for image in images]
    if len({part.shape[:3] for part in pixels}) > 1:
        raise UsageError("All images of a sample must have the same size, as they are changed alike.")
    keys = keys_of(pixels[0])
    changed, drawn = {}, None
    for image, part in zip(images, pixels, strict=True):
        batch = policy.batch(part, keys, size=size)
        changed[id(image)], drawn = _like(image, batch.images), batch.drawn
    assert drawn is not None
    return _Change(changed, drawn, policy.visible, pixels[0].shape[1:3]).of(sample)


class _Change:
    """A sample's images as they are to be put in, and where its boxes go."""

    def __init__(self, images: dict[int, Any], drawn: Drawn, visible: float, in_size: Size) -> None:
        self.images, self.drawn, self.visible, self.in_size = images, drawn, visible, in_size
        """`images`: by the identity of those that come in."""

    def of(self, node: Any) -> Any:
        """The node with all that it holds changed; what does not change is the same object."""
        if id(node) in self.images:
            return self.images[id(node)]
        if isinstance(node, dict):
            return self._dict(node)
        if isinstance(node, list | tuple):
            parts = [self.of(part) for part in node]
            return type(node)(*parts) if hasattr(node, "_fields") else type(node)(parts)  # a named tuple, or not
        return self._move(node)[0] if _is(node, "BoundingBoxes") else node

    def _dict(self, node: dict[Any, Any]) -> dict[Any, Any]:
        result = {name: self.of(part) for name, part in node.items()}
        boxes = [name for name, part in node.items() if _is(part, "BoundingBoxes")]
        if len(boxes) == 1 and LABELS in node:
            labels, [name] = node[LABELS], boxes
            if len(labels) != len(node[name]):
                raise UsageError(
                    f"labels must have one entry for each of the {len(node[name])} boxes, not {len(labels)}."
                )
            moved, kept = self._move(node[name])
            result[name] = _wrapped(moved[torch.from_numpy(kept)], moved)
            result[LABELS] = _taken(labels, kept)
        return result

    def _move(self, boxes: Any) -> tuple[Any, NDArray[np.int64]]:
        """BoundingBoxes [B, 4] -> the same [B, 4] moved, those that are dropped all 0; and which are left."""
        if len(self.drawn.total) != 1:
            raise UsageError("Boxes need one image, not a batch of them.")
        if tuple(boxes.canvas_size) != self.in_size:
            raise UsageError(f"The boxes' canvas_size must be the image's, {self.in_size}, not {boxes.canvas_size}.")
        given = _convert(boxes, boxes.format.value, "XYXY")
        real = np.flatnonzero((given[:, :2] < given[:, 2:]).all(1))  # others have been dropped before
        moved, kept = move_boxes(given[real], self.drawn.total[0], self.drawn.size, self.visible)
        result = np.zeros_like(given)
        result[real[kept]] = moved
        values = torch.from_numpy(_convert(torch.from_numpy(result), "XYXY", boxes.format.value))
        if not boxes.is_floating_point():
            values = values.round()
        return _wrapped(values.to(boxes.device, boxes.dtype), boxes, self.drawn.size), real[kept]


def _images_in(sample: Any) -> list[Any]:
    """The images of a sample, by the rule of torchvision.transforms.v2, each once."""
    leaves = {id(leaf): leaf for leaf in _leaves(sample)}.values()
    for name in ("Mask", "KeyPoints", "Video"):
        if any(_is(leaf, name) for leaf in leaves):
            raise UsageError(f"A sample must have images and boxes only, not tv_tensors.{name}, which cannot be moved.")
    images = [leaf for leaf in leaves if isinstance(leaf, Image.Image) or _is(leaf, "Image")]
    plain = [leaf for leaf in leaves if isinstance(leaf, Tensor) and not _is(leaf, "TVTensor")]
    return images or plain[:1]


def _leaves(node: Any) -> list[Any]:
    if isinstance(node, dict):
        node = list(node.values())
    if isinstance(node, list | tuple):
        return [leaf for part in node for leaf in _leaves(part)]
    return [node]


def _is(leaf: Any, name: str) -> bool:
    """Whether it is of a class of torchvision.tv_tensors; if that has not been imported there are none."""
    module = sys.modules.get("torchvision.tv_tensors")
    return module is not None and isinstance(leaf, getattr(module, name, ()))


def _pixels(image: Any) -> Pixels:
    """An image, or a batch of them -> uint8 [N, H, W, C]."""
    if isinstance(image, Image.Image):
        if image.mode not in ("L", "RGB"):
            raise UsageError(f"A PIL image must have the mode L or RGB, not {image.mode}; convert it first.")
        array = np.asarray(image)
        return array.reshape(1, *array.shape[:2], -1)
    if image.ndim not in (3, 4) or image.dtype != torch.uint8:
        raise UsageError(
            "An image must be a uint8 tensor [C, H, W] or [N, C, H, W], not "
            f"{str(image.dtype).removeprefix('torch.')} {list(image.shape)}; put the policy before any scaling."
        )
    batch = image.detach().cpu().as_subclass(Tensor)
    batch = batch if batch.ndim == 4 else batch[None]
    return _checked(np.ascontiguousarray(batch.permute(0, 2, 3, 1).numpy()), "tensor [C, H, W]")


def _checked(images: Any, what: str) -> Pixels:
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] not in (1, 3) or not images.size:
        raise UsageError(
            f"An image must be a uint8 {what} with 1 or 3 channels, not {images.dtype} {list(images.shape[1:])}."
        )
    return cast(Pixels, images)


def _like(image: Any, pixels: Pixels) -> Any:
    """uint8 [N, H, W, C] -> what `image` is: a PIL image, or a tensor of its class on its device."""
    if isinstance(image, Image.Image):
        return Image.fromarray(pixels[0, ..., 0] if image.mode == "L" else pixels[0])
    batch = torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous().to(image.device)
    batch = batch if image.ndim == 4 else batch[0]
    return _wrapped(batch, image) if _is(image, "TVTensor") else batch


def _wrapped(values: Tensor, like: Any, size: Size | None = None) -> Any:
    """A tensor as a tv_tensor like another one."""
    options = {} if size is None else {"canvas_size": size}
    return sys.modules["torchvision.tv_tensors"].wrap(values.as_subclass(Tensor), like=like, **options)


def _convert(boxes: Tensor, old: str, new: str) -> NDArray[np.float32]:
    """Boxes [B, 4] of one format in another: corners, corner and sides, or center and sides."""
    for name in (old, new):
        if name not in ("XYXY", "XYWH", "CXCYWH"):
            raise UsageError(f"Boxes must have the format XYXY, XYWH or CXCYWH, not {name}; rotated ones do not move.")
    values = boxes.detach().cpu().as_subclass(Tensor).numpy().astype(np.float64)
    first, second = values[:, :2], values[:, 2:]
    if old == "XYXY":
        first, second = first, second - first
    elif old == "CXCYWH":
        first = first - second / 2
    if new == "XYXY":
        second = first + second
    elif new == "CXCYWH":
        first = first + second / 2
    return np.concatenate([first, second], 1).astype(np.float32)


def _taken(labels: Any, kept: NDArray[np.int64]) -> Any:
    """The entries that are left, of a tensor, an array, a list or a tuple."""
    if isinstance(labels, Tensor):
        return labels[torch.from_numpy(kept).to(labels.device)]
    return labels[kept] if isinstance(labels, np.ndarray) else type(labels)(labels[place] for place in kept)
