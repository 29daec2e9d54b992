"""What a batch holds does not depend on batch size, threads, ranks or a restart."""

import dataclasses

import numpy as np
import pytest
import torch

from tenfold.augment.feed import PolicyInput
from tenfold.augment.policy import Mix
from tenfold.augment.published import named_policy
from tenfold.draws import hash_numbers
from tenfold.images.cache import Canvases
from tenfold.images.loader import Loader, balanced, shuffled
from tenfold.images.preprocess import Preprocessing

COUNT = 23


def loader(batch_size=4, workers=1, seed=5, mixes=("label",), choose=None, device=None):
    generator = np.random.default_rng(0)
    pixels = generator.integers(0, 256, (COUNT, 20, 20, 3), np.uint8)
    affine = np.tile(np.array([[2, 0, 1], [0, 2, 3]], np.float32), (COUNT, 1, 1))
    canvases = Canvases([None] * COUNT, lambda row: (pixels[row], affine[row]))
    hashes = hash_numbers([f"{generator.integers(2**63):016x}" for _ in range(COUNT)])
    preprocessing = Preprocessing("rgb", 16, 20, "crop", "triangle", 255, (0.5, 0.4, 0.3), (0.2, 0.2, 0.3))
    policy = dataclasses.replace(named_policy("standard"), mix=Mix(mixup=0.4, cutmix=1.0, share=0.5))
    augment = PolicyInput(policy, preprocessing, lambda epoch: 12, mixes, device=device)
    label = np.eye(COUNT, dtype=np.float32)
    return Loader(
        canvases,
        {"label": label},
        hashes,
        augment,
        batch_size,
        workers=workers,
        choose=choose or shuffled(hashes, seed),
    )


def by_row(batches):
    found = {}
    for batch in batches:
        for place, row in enumerate(batch.rows.tolist()):
            assert row not in found
            found[row] = (batch.images[place], batch.targets["label"][place], batch.affine[place], batch.keys[place])
    return found


def check_same(first, second, atol=1e-5):
    assert first.keys() == second.keys()
    for row in first:
        for one, other in zip(first[row][:3], second[row][:3], strict=True):
            torch.testing.assert_close(one, other, rtol=0, atol=atol)
        assert first[row][3] == second[row][3]


@pytest.mark.parametrize(("batch_size", "workers"), [(1, 1), (7, 3), (23, 2), (100, 1), (5, 0)])
def test_batch_size_and_threads_change_nothing(batch_size, workers):
    expected = by_row(loader().batches(3))
    assert len(expected) == COUNT
    check_same(by_row(loader(batch_size, workers).batches(3)), expected)


@pytest.mark.parametrize(("batch_size", "workers"), [(7, 3), (4, 0)])
def test_batches_that_a_device_makes_are_the_same(batch_size, workers):
    """On the CPU's backend; values are normalized, a grey level is 0.02."""
    made = loader(batch_size, workers, device=torch.device("cpu"))
    check_same(by_row(made.batches(3)), by_row(loader().batches(3)), atol=4e-4)


@pytest.mark.parametrize("ranks", [2, 3])
def test_ranks_share_each_batch(ranks):
    shares = [list(loader(8).batches(1, rank=rank, ranks=ranks)) for rank in range(ranks)]
    check_same(by_row(batch for share in shares for batch in share), by_row(loader(8).batches(1)))
    together = list(loader(8).batches(1))
    for index, batch in enumerate(together):
        rows = np.concatenate([share[index].rows for share in shares])
        assert np.array_equal(rows, batch.rows)


def test_a_restart_goes_on_where_it_stopped_bit_by_bit():
    every = list(loader(5).batches(2))
    rest = list(loader(5).batches(2, first=3))
    assert len(rest) == len(every) - 3
    for one, other in zip(every[3:], rest, strict=True):
        assert torch.equal(one.images, other.images)
        assert torch.equal(one.targets["label"], other.targets["label"])


def test_epochs_and_seeds_differ():
    first = by_row(loader().batches(0))
    for other in (by_row(loader().batches(1)), by_row(loader(seed=6).batches(0))):
        assert not any(torch.equal(first[row][0], other[row][0]) for row in first)


def test_batches_differ_by_one_image_at_most():
    for size in range(1, 25):
        lengths = [len(batch) for batch in loader(size, mixes=()).batches()]
        assert sum(lengths) == COUNT
        assert max(lengths) <= size
        assert max(lengths) - min(lengths) <= 1


def test_an_image_is_mixed_with_the_next_one_of_the_epoch():
    run = loader(6)
    order = run.plan(0).rows
    after = dict(zip(order, np.roll(order, -1), strict=True))
    mixed = 0
    for row, (_, label, _, _) in by_row(run.batches(0)).items():
        assert label.sum() == pytest.approx(1, abs=1e-5)
        assert set(torch.nonzero(label).flatten().tolist()) <= {row, int(after[row])}
        mixed += label[row] < 1
    assert mixed > COUNT / 3


def test_without_soft_targets_nothing_is_mixed():
    for row, (_, label, _, _) in by_row(loader(mixes=()).batches(0)).items():
        assert label[row] == 1


def test_balanced_sampling_draws_each_class_equally_and_repeats_with_another_draw():
    hashes = np.arange(100, 100 + COUNT, dtype=np.uint64)
    labels = np.array([0] * 20 + [1] * 3)
    rows, keys = balanced(hashes, labels, 0)(4)
    assert np.bincount(labels[rows]).tolist() == [12, 12]
    assert set(rows[labels[rows] == 1].tolist()) == {20, 21, 22}
    assert len(set(keys.tolist())) == len(keys)


@pytest.mark.parametrize("workers", [0, 1])
def test_an_error_reaches_the_caller(workers):
    broken = loader(workers=workers)
    broken.canvases.prepare = lambda row: 1 / 0
    with pytest.raises(ZeroDivisionError):
        list(broken.batches())
