"""Memory is handed out again when nothing looks at it any more, and never before."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from tenfold.augment.feed import PolicyInput
from tenfold.augment.memory import Memory
from tenfold.augment.published import named_policy
from tenfold.draws import draw_keys
from tenfold.images.loader import Drawn
from tenfold.images.preprocess import Preprocessing

SHAPE = (20, 6, 6, 3)
MADE = Preprocessing("rgb", 12, 16, "crop", "triangle", 255, (0.5, 0.4, 0.3), (0.2, 0.25, 0.3))


def address(array: np.ndarray) -> int:
    return int(array.__array_interface__["data"][0])


def drawn(seed: int, count: int = 9) -> Drawn:
    canvases = np.random.default_rng(seed).integers(0, 256, (count, 16, 16, 3), np.uint8)
    affine = np.tile(np.eye(2, 3, dtype=np.float32), (count, 1, 1))
    keys = draw_keys(seed, 0, np.arange(count, dtype=np.uint64))
    return Drawn(canvases, {"label": torch.eye(count)}, keys, affine)


def feed() -> PolicyInput:
    return PolicyInput(named_policy("standard"), MADE, lambda epoch: 12, ("label",))


def test_an_array_is_as_asked_for() -> None:
    array = Memory().take(SHAPE)
    assert array.shape == SHAPE
    assert array.dtype == np.float32
    assert array.flags.c_contiguous
    assert array.flags.writeable
    assert Memory().take((0, 3)).shape == (0, 3)


def test_what_is_gone_is_used_again() -> None:
    memory = Memory()
    array = memory.take(SHAPE)
    place = address(array)
    tensor = torch.from_numpy(array).permute(0, 3, 1, 2)[:-1]
    del array
    assert address(memory.take(SHAPE)) != place
    del tensor
    larger = memory.take((21, *SHAPE[1:]))  # batches differ by an image
    assert address(larger) == place


VIEWS: dict[str, Callable[[np.ndarray], object]] = {
    "itself": lambda array: array,
    "a slice": lambda array: array[1:, ::2],
    "another form": lambda array: array.reshape(-1).view(np.uint32),
    "a tensor": torch.from_numpy,
    "a slice of a tensor": lambda array: torch.from_numpy(array)[2:].permute(0, 3, 1, 2),
    "the array of a tensor": lambda array: torch.from_numpy(array)[2:].numpy(),
    "gradients to come": lambda array: torch.from_numpy(array) * torch.ones(3, requires_grad=True),
}


@pytest.mark.parametrize("view", VIEWS.values(), ids=VIEWS)
def test_what_something_looks_at_is_not_handed_out(view: Callable[[np.ndarray], object]) -> None:
    memory = Memory()
    array = memory.take(SHAPE)
    place = address(array)
    kept = view(array)
    del array
    assert address(memory.take(SHAPE)) != place
    del kept
    again = [memory.take(SHAPE) for _ in range(2)]  # the one of above, and this one
    assert place in {address(array) for array in again}


def test_memory_that_is_too_small_is_let_go() -> None:
    memory = Memory()
    memory.take((10, 10))
    assert memory.take((20, 20)).shape == (20, 20)
    assert [buffer.size >= 400 for buffer in memory._free] == [True]


def test_much_that_was_kept_does_not_stay() -> None:
    memory = Memory()
    kept = [memory.take(SHAPE) for _ in range(50)]
    kept.clear()
    assert len(memory._free) < 6


def test_threads_never_get_the_same_memory_at_once() -> None:
    memory, barrier = Memory(), threading.Barrier(4)

    def work(number: int) -> bool:
        barrier.wait()
        intact = True
        for turn in range(200):
            array = memory.take((500 + turn % 7,))
            array[:] = number
            tensor = torch.from_numpy(array)
            del array
            intact &= bool((tensor + 0 == number).all())
        return intact

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(work, range(4)))


def test_a_batch_does_not_depend_on_what_its_memory_held() -> None:
    used, batch = feed(), drawn(3)
    expected = used(batch, 0)[0].clone()
    for buffer in used.memory._free:
        buffer[:] = np.nan
    held = {address(buffer) for buffer in used.memory._free}
    again = used(batch, 0)[0]
    assert torch.equal(again, expected)
    assert again.data_ptr() in held


def test_batches_that_are_kept_stay_as_they_are() -> None:
    """As a list of them, or only in a graph whose gradients come later."""
    used = feed()
    kept = [used(drawn(seed), 0)[0] for seed in range(6)]
    for seed, images in enumerate(kept):
        assert torch.equal(images, feed()(drawn(seed), 0)[0])
    layer = torch.nn.Conv2d(3, 2, 3, bias=False)
    losses = [layer(used(drawn(seed), 0)[0]).square().mean() for seed in range(6)]
    late = torch.autograd.grad(torch.stack(losses).sum(), layer.weight)[0]
    at_once = torch.zeros_like(late)
    for seed in range(6):
        at_once += torch.autograd.grad(layer(feed()(drawn(seed), 0)[0]).square().mean(), layer.weight)[0]
    torch.testing.assert_close(late, at_once)
