"""Random choices are pure functions of (seed, epoch, image, draw)."""

import numpy as np

from tenfold.draws import draw_keys, epoch_order, hash_numbers, uniforms

MASK = 2**64 - 1


def splitmix64(state: int, count: int) -> list[int]:
    """Steele, Lea and Flood's generator, written out with Python's integers."""
    numbers = []
    for _ in range(count):
        state = (state + 0x9E3779B97F4A7C15) & MASK
        value = state
        value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & MASK
        numbers.append(value ^ (value >> 31))
    return numbers


def test_uniforms_are_splitmix64_streams():
    keys = np.array([0, 1, 2**64 - 1], np.uint64)
    for key, row in zip(keys.tolist(), uniforms(keys, 5), strict=True):
        assert row.tolist() == [(number >> 11) * 2.0**-53 for number in splitmix64(key, 5)]


def test_uniforms_can_start_anywhere_in_the_stream():
    keys = np.arange(7, dtype=np.uint64)
    assert np.array_equal(uniforms(keys, 9)[:, 4:], uniforms(keys, 5, first=4))


def test_uniforms_look_uniform_and_independent():
    numbers = uniforms(draw_keys(0, 0, np.arange(20_000, dtype=np.uint64)), 3)
    counts = np.stack([np.histogram(column, bins=20, range=(0, 1))[0] for column in numbers.T])
    chi_square = ((counts - 1000.0) ** 2 / 1000.0).sum(1)
    assert (chi_square < 43.8).all()  # 0.999 quantile at 19 degrees of freedom
    assert np.abs(np.corrcoef(numbers.T) - np.eye(3)).max() < 0.03


def test_a_key_depends_on_each_of_its_four_parts():
    base = draw_keys(1, 2, np.array([3], np.uint64), 4)
    others = [(0, 2, 3, 4), (1, 0, 3, 4), (1, 2, 0, 4), (1, 2, 3, 0)]
    for seed, epoch, image, draw in others:
        assert draw_keys(seed, epoch, np.array([image], np.uint64), draw) != base


def test_one_more_image_moves_no_other_in_the_order():
    hashes = hash_numbers([f"{number:016x}{0:016x}" for number in range(100, 5000, 7)])
    order = hashes[epoch_order(3, 1, hashes)]
    more = np.append(hashes, np.uint64(99))
    longer = more[epoch_order(3, 1, more)]
    assert np.array_equal(longer[longer != 99], order)
    assert not np.array_equal(hashes[epoch_order(3, 2, hashes)], order)
