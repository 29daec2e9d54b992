"""Batches that a policy makes for a network: boxes and points, normalized floats, mixing with soft labels."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch.utils.data import DataLoader

from tenfold.augment.feed import PolicyInput
from tenfold.augment.policy import Mix, Policy
from tenfold.augment.published import named_policy
from tenfold.augment.torch_data import AugmentedDataset, MixCollate
from tenfold.augment.tree import op
from tenfold.draws import draw_keys
from tenfold.errors import UsageError
from tenfold.images.loader import Drawn
from tenfold.images.preprocess import Preprocessing

MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.25, 0.3)
MOVING = Policy("moving", (op("rotate", 20), op("shift", 0.2), op("flip", "horizontal", 0.5)))
BOTH = Policy("both", (op("rotate", 10),), Mix(mixup=0.4, cutmix=1.0, share=0.7))
UNEVEN = Policy("uneven", (op("rotate", 10), op("equalize", True, 0.5)))
"""Only some of its images have been sampled before the last pass."""


def keys(count: int, seed: int = 0) -> np.ndarray:
    return draw_keys(seed, 0, np.arange(count, dtype=np.uint64))


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    """uint8 [12, 24, 32, 3], with few values near 0 and 255."""
    coarse = np.random.default_rng(0).uniform(64, 190, (12, 6, 8, 3))
    return np.clip(ndimage.zoom(coarse, (1, 4, 4, 1), order=1), 0, 255).astype(np.uint8)


# Boxes and points


def test_boxes_and_points_of_a_batch_are_those_of_each_image_alone(images: np.ndarray) -> None:
    draw = np.random.default_rng(1)
    points = [draw.uniform(0, 24, (count, 2)).astype(np.float32) for count in range(12)]
    boxes = [np.concatenate([part, part + 5], 1) for part in points]
    together = MOVING.batch(images, keys(12), boxes=boxes, points=points)
    for row in range(12):
        alone = MOVING(images[row], boxes[row], key=int(keys(12)[row]), points=points[row])
        assert np.array_equal(together.points[row], alone.points)
        assert np.array_equal(together.kept_points[row], alone.kept_points)
        assert np.array_equal(together.boxes[row], alone.boxes)
        assert np.array_equal(together.kept[row], alone.kept)
    kept = sum(map(len, together.kept_points))
    assert 20 < kept < sum(map(len, points))
    assert MOVING.batch(images, keys(12)).points == []


def test_boxes_and_points_may_be_one_array_each(images: np.ndarray) -> None:
    points = np.random.default_rng(1).uniform(0, 24, (12, 4, 2)).astype(np.float32)
    boxes = np.concatenate([points, points + 5], 2)
    found = MOVING.batch(images, keys(12), boxes=boxes, points=points)
    wanted = MOVING.batch(images, keys(12), boxes=[*boxes], points=[*points])
    for one, other in zip([*found.boxes, *found.points], [*wanted.boxes, *wanted.points], strict=True):
        assert np.array_equal(one, other)


@pytest.mark.parametrize("name", ["boxes", "points"])
def test_as_many_lists_as_images_are_needed(name: str, images: np.ndarray) -> None:
    with pytest.raises(UsageError, match=f"12 images need as many lists of {name}, not 1"):
        MOVING.batch(images, keys(12), **{name: [np.zeros((0, 4 if name == "boxes" else 2), np.float32)]})


# Normalized floats


@pytest.mark.parametrize("policy", [MOVING, UNEVEN, named_policy("augmix")], ids=lambda policy: policy.name)
def test_normalized_pixels_are_those_of_the_same_draws(policy: Policy, images: np.ndarray) -> None:
    wanted = (policy.batch(images, keys(12), size=(20, 20)).images / 255 - MEAN) / STD
    found = policy.batch_normalized(images, keys(12), mean=MEAN, std=STD, size=(20, 20))
    assert (found.dtype, found.shape) == (np.float32, (12, 20, 20, 3))
    assert np.abs(found - wanted).max() < 1.1 / 255 / min(STD)  # a byte is rounded, and once more between two passes
    space = np.full((12, 3, 20, 20), np.nan, np.float32)
    options = {"mean": list(MEAN), "std": list(STD), "size": (20, 20), "layout": "NCHW", "threads": 2}
    assert policy.batch_normalized(images, keys(12), out=space, **options) is space
    assert np.array_equal(space.transpose(0, 2, 3, 1), found)


def test_a_grey_batch_has_one_mean(images: np.ndarray) -> None:
    grey = images[..., :1]
    found = Policy("none").batch_normalized(grey, keys(12), mean=[0.5], std=[0.25])
    np.testing.assert_allclose(found, (grey / 255 - 0.5) / 0.25, atol=1e-5)


OUT = np.zeros((12, 24, 32, 3), np.float32)
WRONG = {
    "dtype": ({"out": OUT.astype(np.float64)}, r"out must be C-contiguous float32 \[12, 24, 32, 3\], not float64"),
    "shape": ({"out": OUT[:, :20]}, r"out must be C-contiguous float32 \[12, 24, 32, 3\], not float32 \[12, 20"),
    "order": ({"out": OUT.transpose(0, 3, 1, 2).copy().transpose(0, 2, 3, 1)}, "out must be C-contiguous"),
    "layout": ({"layout": "NCWH"}, "did you mean 'NCHW'"),
    "std": ({"std": (0.2, 0.0, 0.3)}, r"finite, std above 0, not \[0.5, 0.4, 0.3\] and \[0.2, 0.0, 0.3\]"),
    "mean": ({"mean": (0.5,)}, "must have 3 numbers, one a channel, not 1 and 3"),
}


@pytest.mark.parametrize("policy", [MOVING, UNEVEN], ids=lambda policy: policy.name)
@pytest.mark.parametrize("name", WRONG)
def test_what_cannot_be_normalized_is_refused(name: str, policy: Policy, images: np.ndarray) -> None:
    options, message = WRONG[name]
    with pytest.raises(UsageError, match=message):
        policy.batch_normalized(images, keys(12), **({"mean": MEAN, "std": STD} | options))


def test_normalizing_needs_a_key_for_each_image(images: np.ndarray) -> None:
    with pytest.raises(UsageError, match="12 images need as many keys, not 5"):
        MOVING.batch_normalized(images, keys(5), mean=MEAN, std=STD)


# Mixing


def test_a_batch_is_mixed_as_training_mixes_it(images: np.ndarray) -> None:
    square = np.ascontiguousarray(images[:, :, :24])
    made = Preprocessing("rgb", 24, 24, "crop", "triangle", 255, MEAN, STD)
    order = [*range(12), 0]  # the one after the last is the first
    fed = Drawn(square[order], {"label": torch.eye(12)[order]}, keys(12)[order], np.tile(np.eye(2, 3), (13, 1, 1)))
    trained, targets, _ = PolicyInput(BOTH, made, lambda _: 24, ("label",))(fed, 0)
    changed = BOTH.batch_normalized(square, keys(12), mean=MEAN, std=STD)
    mixed = BOTH.mix_batch(changed, np.arange(12), keys(12), classes=12)
    np.testing.assert_allclose(mixed.images, trained.permute(0, 2, 3, 1).numpy(), atol=1e-5)
    np.testing.assert_allclose(mixed.labels, targets["label"].numpy(), atol=1e-6)
    assert 4 <= (mixed.shares < 1).sum() < 12


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
@pytest.mark.parametrize("mixing", [Mix(mixup=1.0, share=0.8), Mix(cutmix=1.0, share=0.8)], ids=["mixup", "cutmix"])
def test_labels_say_what_the_pixels_are(mixing: Mix, dtype: type) -> None:
    """Images of one grey level each, not square: the level that the labels expect is the mean of the pixels."""
    levels = np.arange(0, 200, 10)
    flat = np.ones((20, 12, 30, 3), dtype) * levels[:, None, None, None].astype(dtype)
    before = flat.copy()
    mixed = Policy("mixed", mix=mixing).mix_batch(flat, np.eye(20), keys(20))
    assert (mixed.images.dtype, mixed.images.shape) == (dtype, flat.shape)
    np.testing.assert_allclose(
        mixed.labels @ levels, mixed.images.mean((1, 2, 3)), atol=0.51 if dtype == np.uint8 else 1e-3
    )
    np.testing.assert_allclose(mixed.labels.sum(1), 1, atol=1e-6)
    np.testing.assert_allclose(np.diag(mixed.labels), mixed.shares, atol=1e-6)
    assert 10 < (mixed.shares < 1).sum() < 20
    assert np.array_equal(flat, before)
    if mixing.cutmix:
        assert set(np.unique(mixed.images)) <= set(levels)
        cut = (mixed.images[..., 0] != levels[:, None, None]).transpose(0, 2, 1)
        assert max(part.any(1).sum() for part in cut) > 12  # a box has the image's shape, not a square's


def test_what_is_not_to_be_mixed_stays_and_gets_soft_labels(images: np.ndarray) -> None:
    for policy in (MOVING, dataclasses.replace(BOTH, mix=Mix(mixup=1.0, share=0.0))):
        mixed = policy.mix_batch(images, np.arange(12) % 3, keys(12), classes=3)
        assert np.array_equal(mixed.images, images)
        assert np.array_equal(mixed.labels, np.eye(3)[np.arange(12) % 3])
        assert (mixed.shares == 1).all()


def test_a_share_that_is_left_to_training_must_be_given(images: np.ndarray) -> None:
    policy = named_policy("standard")
    with pytest.raises(UsageError, match="leaves the share of the images that are mixed to training; give share"):
        policy.mix_batch(images, np.arange(12), keys(12), classes=12)
    assert (policy.mix_batch(images, np.arange(12), keys(12), classes=12, share=1.0).shares < 1).sum() > 10
    with pytest.raises(UsageError, match=r"mix\.share must be"):
        policy.mix_batch(images, np.arange(12), keys(12), classes=12, share=1.5)


UNMIXED = {
    "classes": (
        (np.arange(12),),
        {"classes": 11},
        r"from 0 to classes - 1 with classes given, not int64 \[12\] with cl",
    ),
    "none given": ((np.arange(12),), {}, "with classes given"),
    "names": ((np.array(list("abababababab")),), {"classes": 2}, r"Labels to mix must be numbers, not <U1 \[12\]"),
    "fewer": (
        (np.eye(11),),
        {},
        r"12 images to mix need as many keys and soft labels \[N, K\], not 12 keys and labels",
    ),
}


@pytest.mark.parametrize("name", UNMIXED)
def test_labels_that_cannot_be_mixed_are_refused(name: str, images: np.ndarray) -> None:
    given, options, message = UNMIXED[name]
    with pytest.raises(UsageError, match=message):
        BOTH.mix_batch(images, *given, keys(12), **options)
    with pytest.raises(UsageError, match=r"must be uint8 or float32 \[N, H, W, C\], not float64"):
        BOTH.mix_batch(images / 255, np.eye(12), keys(12))


def test_words_say_where_mixing_is_done() -> None:
    where = "\n  mixes images with labels (training, Policy.mix_batch, MixCollate): "
    kinds = "mixup (Beta 0.4) or cutmix (Beta 1)"
    assert f"{where}{kinds}, 70 % of the images" in str(BOTH)
    open_share = dataclasses.replace(BOTH, mix=dataclasses.replace(BOTH.mix, share=-1.0))
    assert f"{where}{kinds}, a share of the images chosen by training" in str(open_share)
    assert "mixes" not in str(MOVING)
    assert "mixes" not in str(dataclasses.replace(BOTH, mix=Mix(mixup=0.4, share=0.0)))


# A loader's batches


def flat_tensors() -> list[tuple[torch.Tensor, int]]:
    return [(torch.full((3, 8, 12), 10.0 * number), number) for number in range(20)]


def test_a_loaders_batches_are_mixed_with_their_labels() -> None:
    collate = MixCollate(Policy("mixed", mix=Mix(mixup=1.0, cutmix=1.0, share=0.8)), classes=20)
    first = list(DataLoader(flat_tensors(), 10, collate_fn=collate))
    for images, labels in first:
        assert labels.dtype == torch.float32
        torch.testing.assert_close(labels @ (10.0 * torch.arange(20)), images.mean((1, 2, 3)), atol=1e-3, rtol=0)
        assert 4 < (labels.max(1).values < 1).sum() <= 10
        assert torch.nn.functional.cross_entropy(torch.zeros(10, 20), labels).isfinite()
    again = list(DataLoader(flat_tensors(), 10, collate_fn=collate))
    for (images, labels), (same_images, same_labels) in zip(first, again, strict=True):
        assert torch.equal(images, same_images)
        assert torch.equal(labels, same_labels)
    collate.set_epoch(1)
    assert not torch.equal(next(iter(DataLoader(flat_tensors(), 10, collate_fn=collate)))[0], first[0][0])


def test_a_dataset_that_is_changed_can_be_mixed(images: np.ndarray) -> None:
    tensors = [(torch.from_numpy(image).permute(2, 0, 1), number % 3) for number, image in enumerate(images)]
    policy = named_policy("standard")
    data = AugmentedDataset(tensors, policy)
    [(mixed, labels)] = DataLoader(data, 12, collate_fn=MixCollate(policy, 3, share=0.5))
    plain = torch.stack([data[number][0] for number in range(12)])
    assert (mixed.dtype, labels.shape) == (torch.uint8, (12, 3))
    same = (mixed == plain).flatten(1).all(1)
    assert 2 < same.sum() < 11
    assert torch.equal(labels[same], torch.eye(3)[torch.arange(12)[same] % 3])


def test_samples_that_cannot_be_mixed_are_refused(images: np.ndarray) -> None:
    with pytest.raises(UsageError, match="The policy standard leaves the share of mixed images open; give share"):
        MixCollate(named_policy("standard"), 3)
    collate = MixCollate(BOTH, 3)
    with pytest.raises(UsageError, match=r"must be of tensors \[C, H, W\]; put torchvision's v2.ToImage"):
        collate([(images[0], 1)])
    with pytest.raises(UsageError, match="must be of images of one size"):
        collate([(torch.zeros(3, 4, 4), 1), (torch.zeros(3, 4, 5), 1)])
    with pytest.raises(UsageError, match="with classes 3"):
        collate([(torch.zeros(3, 4, 4), 3)])
