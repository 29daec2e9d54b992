"""The search by cells finds what the product of all descriptors finds, nearly always; with all cells open, always."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from tenfold.check import cells
from tenfold.check.candidates import Candidates, Described, describe, find_candidates, turn_views
from tenfold.check.cells import build_cells, search_cells

Views = NDArray[np.uint8]


def smooth(count: int, seed: int = 0) -> Views:
    """Views uint8 [count, 64, 64] whose waves get weaker as they get shorter, as in photos."""
    draw, waves = np.random.default_rng(seed), np.arange(8)
    strength = draw.normal(size=(count, 8, 8)) / (1 + waves[:, None] + waves)
    basis = np.cos(np.pi * waves[:, None] * (np.arange(64) + 0.5) / 64)
    views = basis.T @ strength @ basis
    return np.clip(128 + 40 * views, 0, 255).astype(np.uint8)


def copies(views: Views) -> Views:
    """Each view turned in one of eight ways and noisy; every ninth cut and enlarged instead."""
    draw = np.random.default_rng(1)
    made = np.stack([turn_views(view, row % 8) for row, view in enumerate(views)]).astype(float)
    cut = (np.arange(64) * 58 // 64)[:, None], np.arange(64) * 58 // 64
    made[::9] = [view[cut] for view in views[::9]]
    return np.clip(made + draw.normal(0, 4, made.shape), 0, 255).astype(np.uint8)


def search(described: Described, against: Described | None, *, by_cells: bool, nearest: int = 8) -> Candidates:
    limit = 0 if by_cells else sys.maxsize
    return find_candidates(described, against, nearest=nearest, likeness=0.5, limit=limit)


def named(pairs: Candidates) -> dict[tuple[int, int], tuple[int, float]]:
    ends = zip(pairs.first.tolist(), pairs.second.tolist(), strict=True)
    what = zip(pairs.turn.tolist(), pairs.scale.round(4).tolist(), strict=True)
    return dict(zip(ends, what, strict=True))


@pytest.mark.parametrize("among_themselves", [True, False])
def test_with_all_cells_open_the_pairs_are_those_of_the_product(
    among_themselves: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cells, "PROBES", 10_000)
    views = smooth(60)
    described, made = describe(views), describe(copies(views))
    if among_themselves:
        described, against = describe(np.concatenate([views, copies(views)])), None
    else:
        against = made
    exact = named(search(described, against, by_cells=False, nearest=500))
    assert len(exact) > 200
    assert named(search(described, against, by_cells=True, nearest=500)) == exact


@pytest.mark.parametrize("among_themselves", [True, False])
def test_few_copies_are_lost(among_themselves: bool) -> None:
    views = smooth(3000)
    described, made = describe(views), describe(copies(views))
    wanted = {(row, row) for row in range(3000)}
    if among_themselves:
        described, made = describe(np.concatenate([views, copies(views)])), None
        wanted = {(row, row + 3000) for row in range(3000)}
    exact, quick = (named(search(described, made, by_cells=by_cells)) for by_cells in (False, True))
    findable = wanted & exact.keys()
    assert len(findable) >= 0.95 * len(wanted)
    assert len(findable & quick.keys()) >= 0.995 * len(findable)
    assert np.mean([quick[pair] == exact[pair] for pair in findable & quick.keys()]) == 1
    assert max(np.bincount([first for first, _ in quick])) <= 8


def test_blank_images_lie_in_no_cell() -> None:
    views = smooth(40)
    views[::2] = 90
    found = search(describe(np.concatenate([views, views])), None, by_cells=True)
    assert {first % 2 for first, _ in named(found)} == {1}
    assert {(row, row + 40) for row in range(1, 40, 2)} <= named(found).keys()
    blank = describe(np.full((5, 64, 64), 7, np.uint8))
    assert (
        len(search(blank, None, by_cells=True).first) == len(search(blank, describe(views), by_cells=True).first) == 0
    )


def test_many_equal_images_get_no_more_candidates_than_others() -> None:
    found = search(describe(np.repeat(smooth(1), 400, 0)), None, by_cells=True)
    assert 0 < len(found.first) <= 8 * 400
    assert (found.first < found.second).all()


def test_a_query_finds_the_likest_descriptors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cells, "PROBES", 10_000)
    monkeypatch.setattr(cells, "_OF_ONE", 1)
    vectors = torch.nn.functional.normalize(torch.randn(50, 3, 16, generator=torch.Generator().manual_seed(0)), dim=2)
    queries = vectors[:20, 0] + 0.1
    image, query = search_cells(build_cells(vectors), queries, nearest=6, likeness=-1)
    cosines = queries @ vectors.flatten(0, 1).T
    for row in range(20):
        likest = cosines[row].argsort(descending=True)[:6] // 3
        assert sorted(image[query == row].tolist()) == sorted(set(likest.tolist()))


def test_the_search_by_cells_repeats_itself() -> None:
    described = describe(smooth(500))
    one, two = (search(described, None, by_cells=True) for _ in range(2))
    assert all(np.array_equal(vars(one)[name], vars(two)[name]) for name in vars(one))
