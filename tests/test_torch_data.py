"""Policies beside torchvision's transforms and in torch's loaders."""

from __future__ import annotations

import copy
import pickle
import sys
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from torchvision import tv_tensors
from torchvision.transforms import v2

from tenfold.augment.policy import Policy
from tenfold.augment.published import named_policy
from tenfold.augment.torch_data import AugmentedDataset, PolicyTransform, content_hashes
from tenfold.augment.tree import op
from tenfold.errors import UsageError

from .toys import scene

HEIGHT, WIDTH = 60, 80
FORMATS = [tv_tensors.BoundingBoxFormat.XYXY, tv_tensors.BoundingBoxFormat.XYWH, tv_tensors.BoundingBoxFormat.CXCYWH]
MIRROR = Policy("mirror", (op("flip", "horizontal"),), interpolation="nearest")


def photo(seed: int = 0) -> torch.Tensor:
    return torch.from_numpy(scene(seed, WIDTH, HEIGHT)).permute(2, 0, 1).contiguous()


def boxes(box_format: Any = "XYXY", dtype: torch.dtype = torch.float32) -> Any:
    corners = torch.tensor([[10, 10, 30, 20], [50, 30, 80, 60], [0, 0, 6, 6]], dtype=dtype)
    found = tv_tensors.BoundingBoxes(corners, format="XYXY", canvas_size=(HEIGHT, WIDTH))
    return v2.functional.convert_bounding_box_format(found, new_format=box_format)


def shift(x: int, y: int) -> Policy:
    return Policy("shift", (op("shift_pixels", {"x": [x, x], "y": [y, y]}),), fill="constant", visible=0.0)


PAIRS = {
    "horizontal flip": (MIRROR, v2.functional.horizontal_flip),
    "vertical flip": (Policy("down", (op("flip", "vertical"),)), v2.functional.vertical_flip),
    "half turn": (Policy("turn", (op("turn", 2),)), lambda image: v2.functional.rotate(image, 180)),
    "shift": (
        shift(7, -5),
        lambda image: v2.functional.affine(image, angle=0, translate=[7, -5], scale=1, shear=[0, 0]),
    ),
}
"""A policy that always does the same, and what does that in torchvision."""


@pytest.mark.parametrize("box_format", FORMATS)
@pytest.mark.parametrize("name", PAIRS)
def test_images_and_boxes_move_as_in_torchvision(name: str, box_format: Any) -> None:
    policy, theirs = PAIRS[name]
    image, given = tv_tensors.Image(photo()), boxes(box_format)
    moved_image, moved_boxes = PolicyTransform(policy)(image, given)
    assert isinstance(moved_image, tv_tensors.Image)
    assert torch.equal(moved_image, theirs(image))
    assert isinstance(moved_boxes, tv_tensors.BoundingBoxes)
    assert moved_boxes.format == box_format
    assert moved_boxes.canvas_size == (HEIGHT, WIDTH)
    expected = v2.functional.clamp_bounding_boxes(theirs(given))
    torch.testing.assert_close(moved_boxes[:2], expected[:2], atol=1e-3, rtol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.int64])
def test_boxes_keep_their_dtype(dtype: torch.dtype) -> None:
    moved = PolicyTransform(MIRROR)(tv_tensors.Image(photo()), boxes(dtype=dtype))[1]
    assert moved.dtype == dtype
    torch.testing.assert_close(moved[0].double(), torch.tensor([50.0, 10, 70, 20]).double())


@pytest.mark.parametrize("kind", [torch.tensor, list, tuple, np.array])
def test_labels_go_with_the_boxes_that_are_dropped(kind: Any) -> None:
    sample = {"image": tv_tensors.Image(photo()), "boxes": boxes(), "labels": kind([4, 5, 6]), "name": "first"}
    changed = PolicyTransform(shift(-20, 0))(sample)
    assert set(changed) == set(sample)
    assert type(changed["labels"]) is type(sample["labels"])
    assert list(changed["labels"]) == [4, 5]
    assert changed["boxes"].tolist() == [[0, 10, 10, 20], [30, 30, 60, 60]]
    assert changed["name"] == "first"
    assert list(sample["labels"]) == [4, 5, 6]  # what came in is as it was


def test_boxes_without_labels_become_zeros_which_torchvision_takes_out() -> None:
    sample = (tv_tensors.Image(photo()), {"boxes": boxes(), "classes": torch.tensor([4, 5, 6])})
    moved = PolicyTransform(shift(-20, 0))(sample)
    assert moved[1]["boxes"][2].tolist() == [0, 0, 0, 0]
    clean = v2.SanitizeBoundingBoxes(labels_getter=lambda found: found[1]["classes"])(moved)
    assert clean[1]["classes"].tolist() == [4, 5]
    again = PolicyTransform(MIRROR)(moved)  # a box that was dropped stays so
    assert again[1]["boxes"][2].tolist() == [0, 0, 0, 0]


def test_the_output_has_the_size_asked_for() -> None:
    image, moved = PolicyTransform(Policy("none"), size=(30, 40))(tv_tensors.Image(photo()), boxes())
    assert image.shape == (3, 30, 40)
    assert moved.canvas_size == (30, 40)
    torch.testing.assert_close(moved.as_subclass(torch.Tensor), boxes().as_subclass(torch.Tensor) / 2)


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_pil_images_and_tensors_are_the_same(mode: str) -> None:
    policy = named_policy("strong")
    image = Image.fromarray(scene(3, WIDTH, HEIGHT)).convert(mode)
    tensor = v2.functional.pil_to_tensor(image)
    changed = PolicyTransform(policy)(image)
    assert isinstance(changed, Image.Image)
    assert changed.mode == mode
    assert torch.equal(v2.functional.pil_to_tensor(changed), PolicyTransform(policy)(tensor))


def test_each_image_of_a_batch_is_changed_as_if_it_were_alone() -> None:
    batch = torch.stack([photo(seed) for seed in range(3)])
    changed = PolicyTransform(named_policy("standard"), seed=5)(batch)
    alone = PolicyTransform(named_policy("standard"), seed=5)
    assert torch.equal(changed, torch.stack([alone(image) for image in batch]))


def test_it_works_in_a_compose() -> None:
    pipeline = v2.Compose([v2.ToImage(), PolicyTransform(MIRROR), v2.ToDtype(torch.float32, scale=True)])
    image, label = pipeline(Image.fromarray(scene(0, WIDTH, HEIGHT)), 3)
    assert label == 3
    torch.testing.assert_close(image.as_subclass(torch.Tensor), photo().flip(2) / 255)


class Pair(NamedTuple):
    image: Any
    other: Any


def test_samples_of_any_form_come_back_in_it() -> None:
    image, flipped = photo(), photo().flip(2)
    number = torch.tensor(7)
    changed = PolicyTransform(MIRROR)(Pair(image, [number, {"x": None}]))
    assert isinstance(changed, Pair)
    assert torch.equal(changed.image, flipped)
    assert changed.other[0] is number
    # a plain tensor is an image only where there is no other one
    plain, found = PolicyTransform(MIRROR)(image, tv_tensors.Image(image))
    assert plain is image
    assert torch.equal(found, flipped)
    assert PolicyTransform(MIRROR)([image, image.clone()])[1].equal(image)


def test_the_changes_follow_from_seed_epoch_content_and_count() -> None:
    policy, image = named_policy("standard"), photo()
    transform = PolicyTransform(policy, seed=1)
    first = [transform(image), transform(image)]
    assert not torch.equal(*first)
    transform.set_epoch(1)
    second = transform(image)
    assert not any(torch.equal(second, earlier) for earlier in first)
    transform.set_epoch(0)
    transform(photo(9))  # another image has a count of its own
    assert torch.equal(transform(image), first[0])
    assert torch.equal(transform(image), first[1])
    assert not torch.equal(PolicyTransform(policy, seed=2)(image), first[0])


def test_without_an_epoch_a_transform_goes_on_and_a_worker_begins_anew() -> None:
    def passes(workers: int) -> list[torch.Tensor]:
        transform = PolicyTransform(named_policy("standard"), seed=1)
        loader = DataLoader(Photos(transform), batch_size=8, num_workers=workers)
        return [next(iter(loader))[0] for _ in range(2)]

    alone, workers = passes(0), passes(1)
    assert not torch.equal(alone[0], alone[1])
    assert torch.equal(workers[0], workers[1])
    assert torch.equal(alone[0], workers[0])


def test_hashes_know_the_size_too() -> None:
    image = np.zeros((1, 4, 6, 3), np.uint8)
    found = [int(content_hashes(part)[0]) for part in (image, image.reshape(1, 6, 4, 3), image + np.uint8(1))]
    assert len(set(found)) == 3


class Photos(Dataset[Any]):
    """Eight photos and their numbers."""

    def __init__(self, transform: Any = None) -> None:
        self.transform = transform

    def __len__(self) -> int:
        return 8

    def __getitem__(self, index: int) -> Any:
        image = photo(index)
        return (self.transform(image) if self.transform else image), index


@pytest.mark.parametrize("wrapped", [True, False])
def test_workers_that_live_on_see_the_epoch(wrapped: bool) -> None:
    policy = named_policy("standard")
    owner: Any = AugmentedDataset(Photos(), policy) if wrapped else PolicyTransform(policy)
    data = owner if wrapped else Photos(owner)
    loader = DataLoader(data, 4, num_workers=2, persistent_workers=True)
    found = {}
    for epoch in (0, 1, 1, 0):
        owner.set_epoch(epoch)
        images = torch.cat([batch for batch, _ in loader])
        fresh: Any = AugmentedDataset(Photos(), policy) if wrapped else PolicyTransform(policy)
        fresh.set_epoch(epoch)
        here = [fresh[n][0] if wrapped else fresh(photo(n)) for n in range(8)]
        assert torch.equal(images, torch.stack(here))
        found[epoch] = images
    assert not torch.equal(found[0], found[1])


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda thing: pickle.loads(pickle.dumps(thing))])
def test_copies_go_on_alike(copied: Any) -> None:
    transform = PolicyTransform(named_policy("standard"))
    transform.set_epoch(3)
    other = copied(transform)
    assert torch.equal(other(photo()), transform(photo()))
    other.set_epoch(4)
    transform.set_epoch(3)
    assert not torch.equal(other(photo()), transform(photo()))


def test_a_dataset_gives_one_image_alike_all_epoch_long() -> None:
    data = AugmentedDataset([(photo(), 1), (photo(4), 2), (photo(), 3)], named_policy("standard"), seed=2)
    assert len(data) == 3
    assert [data[n][1] for n in range(3)] == [1, 2, 3]
    assert torch.equal(data[0][0], data[2][0])
    assert torch.equal(data[0][0], data[0][0])
    first = data[0][0]
    data.set_epoch(1)
    assert not torch.equal(data[0][0], first)


def test_a_dataset_may_have_arrays() -> None:
    policy = named_policy("standard")
    array = scene(0, WIDTH, HEIGHT)
    changed = AugmentedDataset([(array, 1)], policy)[0][0]
    assert torch.equal(torch.from_numpy(changed).permute(2, 0, 1), AugmentedDataset([(photo(), 1)], policy)[0][0])


WRONG = {
    "nothing": (("a", 1), r"must hold an image: a PIL image or a uint8 tensor \[C, H, W\]; it has none"),
    "floats": ((photo() / 255,), r"\[C, H, W\] or \[N, C, H, W\], not float32 \[3, 60, 80\]; put the policy before"),
    "two channels": ((photo()[:2],), r"a uint8 tensor \[C, H, W\] with 1 or 3 channels, not uint8 \[60, 80, 2\]"),
    "palette": ((Image.new("P", (4, 4)),), "the mode L or RGB, not P; convert it first"),
    "two sizes": ((tv_tensors.Image(photo()), tv_tensors.Image(photo()[:, 1:])), "must have the same size"),
    "mask": ((tv_tensors.Image(photo()), tv_tensors.Mask(photo()[0])), "not tv_tensors.Mask, which cannot be moved"),
    "boxes of a batch": ((tv_tensors.Image(photo()[None].expand(2, -1, -1, -1)), boxes()), "Boxes need one image"),
    "canvas": ((tv_tensors.Image(photo()[:, 1:]), boxes()), r"canvas_size must be the image's, \(59, 80\), not \(60"),
    "labels": (({"image": photo(), "boxes": boxes(), "labels": [1]},), "one entry for each of the 3 boxes, not 1"),
    "rotated": (
        (
            tv_tensors.Image(photo()),
            tv_tensors.BoundingBoxes([[1.0, 1, 2, 2, 30]], format="XYWHR", canvas_size=(60, 80)),
        ),
        "XYXY, XYWH or CXCYWH, not XYWHR; rotated ones do not move",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_cannot_be_changed_is_refused(name: str) -> None:
    sample, message = WRONG[name]
    with pytest.raises(UsageError, match=message):
        PolicyTransform(MIRROR)(*sample)


def test_a_dataset_of_anything_but_pairs_is_refused() -> None:
    with pytest.raises(UsageError, match=r"must give pairs \(image, target\), not Tensor"):
        AugmentedDataset([photo()], MIRROR)[0]
    with pytest.raises(UsageError, match=r"uint8 array \[H, W, C\] with 1 or 3 channels, not float64"):
        AugmentedDataset([(np.zeros((4, 4, 3)), 1)], MIRROR)[0]


def test_torchvision_is_not_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "torchvision.tv_tensors")
    assert torch.equal(PolicyTransform(MIRROR)(photo()), photo().flip(2))
    assert "torchvision.tv_tensors" not in sys.modules
