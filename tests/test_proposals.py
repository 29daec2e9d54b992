"""Proposals: the segmentation and the grouping held against slow, obvious ones, and what must hold for any image."""

from __future__ import annotations

import json
import math
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import pairwise
from pathlib import Path

import matplotlib.colors
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from tenfold.__main__ import main
from tenfold.boxes import CORNERS, box_iou
from tenfold.draws import draw_keys, uniforms
from tenfold.errors import DataError, UsageError
from tenfold.images.content import hashed
from tenfold.images.readers import read_table
from tenfold.metrics.proposals import best_overlaps, proposal_figures, size_names
from tenfold.proposals import (
    METHODS,
    VERSIONS,
    Proposer,
    SelectiveSearch,
    cover_objects,
    make_proposer,
    propose_table,
    random_boxes,
    selective_search,
    sliding_windows,
)
from tenfold.proposals.colors import SPACES, color_planes
from tenfold.proposals.features import BELL, SLOPE
from tenfold.proposals.segmentation import gaussian_taps, segment, sort_edges
from tests.detecting import iou

f32 = np.float32


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TENFOLD_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("TENFOLD_CACHE_GIB", raising=False)


def noise(height, width, seed=0, grain=3):
    """Soft spots of many colors, which no two borders have in common."""
    small = np.random.default_rng(seed).integers(0, 256, (height // grain + 2, width // grain + 2, 3), np.uint8)
    return np.asarray(Image.fromarray(small).resize((width, height), Image.Resampling.BILINEAR))


def blocks(height, width):
    """Flat rectangles, whose edges are nearly all of the same weight."""
    image = np.full((height, width, 3), 90, np.uint8)
    image[2 : height // 2, 3 : width // 2] = (200, 40, 40)
    image[height // 2 + 1 :, width // 3 :] = (40, 200, 60)
    image[1 : height // 3, width // 2 + 2 : width - 1] = (30, 60, 220)
    return image


IMAGES = {
    "noise": noise(15, 18),
    "fine noise": noise(13, 12, 1, 2),
    "blocks": blocks(15, 19),
    "slope": np.stack([np.add.outer(np.arange(16), 2 * np.arange(20)) + s for s in (0, 90, 150)], 2).astype(np.uint8),
    "flat": np.full((9, 11, 3), 77, np.uint8),
    "row": noise(1, 30, 2),
    "column": noise(30, 1, 3),
    "pixel": noise(1, 1),
}
SEARCHES = {
    "fast": SelectiveSearch(scales=(6, 15)),
    "other measures": SelectiveSearch(("rgi", "hue"), ("F", "S", "C", "T"), (8,)),
    "grey": SelectiveSearch(("grey",), ("CTSF", "TF"), (5,), sigma=0.0),
}


# The slow ones


def slow_smooth(plane, sigma):
    """float64 [H, W] of 65,536ths: whole numbers, so exact."""
    taps = gaussian_taps(sigma).astype(np.float64)
    taps = np.concatenate([taps[:0:-1], taps])
    return slow_filter(plane, taps, taps)


def slow_filter(plane, down, right):
    """Weights along the rows' and along the columns' direction, pixels at the border repeated."""
    reach = len(down) // 2
    H, W = plane.shape
    padded = np.pad(plane.astype(np.float64), reach, mode="edge")
    total = np.zeros((H, W))
    for i, a in enumerate(down):
        for j, b in enumerate(right):
            total += a * b * padded[i : i + H, j : j + W]
    return total


def slow_edges(planes, sigma):
    """(weight, number, pixel, neighbor) in the order in which they are taken; pixels are (y, x)."""
    smooth = [(slow_smooth(plane, sigma) / 1024).astype(f32) for plane in planes]
    H, W = planes.shape[1:]
    edges = []
    for y in range(H):
        for x in range(W):
            for d, (down, right) in enumerate([(0, 1), (1, 0), (1, 1), (1, -1)]):
                if y + down < H and 0 <= x + right < W:
                    total = f32(0)
                    for plane in smooth:
                        step = plane[y + down, x + right] - plane[y, x]
                        total += step * step
                    weight = int(np.sqrt(total * f32(3 / len(planes))) + f32(0.5))
                    edges.append((weight, 4 * (y * W + x) + d, (y, x), (y + down, x + right)))
    return sorted(edges)


def slow_segment(planes, sigma, k, smallest):
    """The published algorithm on sets of pixels: a label for every pixel, int [H, W]."""
    edges = slow_edges(planes, sigma)
    home = {pixel: {pixel} for pixel in np.ndindex(planes.shape[1:])}
    inside = {id(component): f32(64 * k) for component in home.values()}  # Int(C) + k / |C|
    for weight, _, p, q in edges:
        a, b = home[p], home[q]
        if a is not b and weight <= inside[id(a)] and weight <= inside[id(b)]:
            join(home, a, b)
            inside[id(home[p])] = f32(weight + 64 * k / len(home[p]))
    for *_, p, q in edges:
        if home[p] is not home[q] and min(len(home[p]), len(home[q])) < smallest:
            join(home, home[p], home[q])
    labels, numbers = np.empty(planes.shape[1:], np.int64), {}
    for pixel in np.ndindex(labels.shape):
        labels[pixel] = numbers.setdefault(id(home[pixel]), len(numbers))
    return labels


def join(home, a, b):
    a |= b  # in place: it keeps its name
    for pixel in b:
        home[pixel] = a


def slow_pixels(planes):
    """The 25 bins of color and 8 x 10 of texture of each pixel, one-hot: int [C, 105, H, W]."""
    bell, slope = BELL.astype(float), SLOPE.astype(float)
    bell, slope = np.concatenate([bell[:0:-1], bell]), np.concatenate([-slope[:0:-1], slope])
    result = np.zeros((len(planes), 105, *planes.shape[1:]), int)
    scale, tenth = f32(1 / 65536), f32(0.1)
    for c, plane in enumerate(planes):
        right, down = slow_filter(plane, bell, slope), slow_filter(plane, slope, bell)
        responses = [right, -right, down, -down, right + down, -right - down, down - right, right - down]
        for pixel in np.ndindex(plane.shape):
            result[(c, int(plane[pixel]) * 25 // 256, *pixel)] = 1
            for n, response in enumerate(responses):
                value = f32(max(response[pixel], 0)) * (scale if n < 4 else scale * f32(0.70710678))
                result[(c, 25 + 10 * n + int(min(value * tenth, 9)), *pixel)] = 1
    return result


def slow_groups(labels, pixels, measures):
    """The boxes of all regions, each looked at as a set of pixels: a list of x1, y1, x2, y2."""
    regions = [labels == label for label in range(labels.max() + 1)]
    alive = set(range(len(regions)))
    pairs = {}

    @cache
    def shares(i):
        return slow_shares(regions[i], pixels)

    def alike(i, j):
        return slow_alike(regions[i], regions[j], shares(i), shares(j), measures)

    for i, j in np.ndindex(len(regions), len(regions)):
        if i < j and touch(regions[i], regions[j]):
            pairs[i, j] = alike(i, j)
    while pairs:
        a, b = min(pairs, key=lambda pair: (-pairs[pair], pair))
        c = len(regions)
        regions.append(regions[a] | regions[b])
        near = {i + j - end for i, j in pairs for end in (a, b) if end in (i, j)} - {a, b}
        alive = alive - {a, b}
        pairs = {pair: value for pair, value in pairs.items() if set(pair) <= alive}
        pairs |= {(n, c): alike(n, c) for n in near}
        alive.add(c)
    return [slow_box(region) for region in regions]


def touch(first, second):
    down, up = first[:-1] & second[1:], first[1:] & second[:-1]
    right, left = first[:, :-1] & second[:, 1:], first[:, 1:] & second[:, :-1]
    return any(side.any() for side in (down, up, right, left))


def slow_box(region):
    y, x = np.nonzero(region)
    return [x.min(), y.min(), x.max() + 1, y.max() + 1]


def slow_shares(region, pixels):
    """What share of its pixels, in 65,535ths, each bin of color and of texture has, and what all make together."""
    counts = pixels[..., region].sum(-1)
    shares = [
        [math.floor(int(count) * (65535 / region.sum()) + 0.5) for count in part.ravel()]
        for part in (counts[:, :25], counts[:, 25:])
    ]
    return (shares[0], 65535 * len(pixels)), (shares[1], 65535 * len(pixels) * 8)


def slow_alike(first, second, of_first, of_second, measures):
    value, both = 0.0, int(first.sum() + second.sum())
    for letter, (one, full), (other, _) in zip("CT", of_first, of_second, strict=True):
        if letter in measures:
            value += sum(map(min, one, other)) / full
    if "S" in measures:
        value += 1 - both / first.size
    if "F" in measures:
        x1, y1, x2, y2 = slow_box(first | second)
        value += 1 - int((x2 - x1) * (y2 - y1) - both) / first.size
    return value


# Segmentation and grouping


@pytest.mark.parametrize("name", IMAGES)
@pytest.mark.parametrize(("sigma", "k", "smallest"), [(0.8, 20, 5), (0.0, 3, 1), (1.5, 200, 30)])
def test_segmentation_is_that_of_the_slow_one(name, sigma, k, smallest):
    planes = color_planes(IMAGES[name], "lab")
    labels, count = segment(sort_edges(planes, sigma), k, smallest)
    assert labels.dtype == np.int32
    assert count == labels.max() + 1
    np.testing.assert_array_equal(labels, slow_segment(planes, sigma, k, smallest))


@pytest.mark.parametrize("name", IMAGES)
@pytest.mark.parametrize("search", SEARCHES)
def test_every_hierarchy_is_that_of_the_slow_one(name, search):
    settings = SEARCHES[search]
    expected = []
    for space in settings.spaces:
        planes = color_planes(IMAGES[name], space)
        pixels = slow_pixels(planes)
        for scale in settings.scales:
            labels = slow_segment(planes, settings.sigma, scale, scale)
            expected += [slow_groups(labels, pixels, measures) for measures in settings.measures]
    found = list(settings.hierarchies(IMAGES[name]))
    assert len(found) == settings.strategies
    assert [boxes.tolist() for boxes in found] == [[list(map(int, box)) for box in boxes] for boxes in expected]


def test_larger_k_makes_larger_regions_and_all_have_the_fewest_pixels():
    edges = sort_edges(color_planes(noise(60, 80), "hsv"))
    found = [segment(edges, k, 20) for k in (20, 60, 200, 1000)]
    assert found[0][1] > 3 * found[-1][1]
    assert all(np.bincount(labels.reshape(-1)).min() >= 20 for labels, _ in found)


def test_flat_rectangles_are_found_exactly():
    labels, count = segment(sort_edges(color_planes(blocks(60, 80), "lab"), 0.0), 50, 20)
    assert count == 4
    for color in np.unique(blocks(60, 80).reshape(-1, 3), axis=0):
        assert len(np.unique(labels[(blocks(60, 80) == color).all(2)])) == 1


def test_errors_of_the_segmentation():
    edges = sort_edges(np.zeros((1, 3, 3), np.uint8))
    with pytest.raises(UsageError, match=r"segment needs k above 0 and smallest of at least 1, not 0 and 1\."):
        segment(edges, 0, 1)
    with pytest.raises(UsageError, match=r"sigma must be from 0 to 4 pixels, not 5\."):
        sort_edges(np.zeros((1, 3, 3), np.uint8), 5)
    with pytest.raises(UsageError, match=r"planes must be uint8 \[C, H, W\] of 1 to 2\*\*28 pixels, not float64"):
        sort_edges(np.zeros((1, 3, 3)))


# Color


def test_hue_saturation_and_value_are_those_of_matplotlib():
    image = np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8)
    image[:8] = image[:8, :, :1]  # grey
    theirs = matplotlib.colors.rgb_to_hsv(image / 255) * 255
    ours = color_planes(image, "hsv").transpose(1, 2, 0)
    assert np.abs(ours - theirs).max() <= 0.5 + 1e-9
    np.testing.assert_array_equal(color_planes(image, "hue")[0], ours[..., 0])


def test_lab_of_known_colors():
    known = {  # L*, a*, b* of sRGB under D65
        (255, 255, 255): (100, 0, 0),
        (0, 0, 0): (0, 0, 0),
        (255, 0, 0): (53.24, 80.09, 67.20),
        (0, 255, 0): (87.73, -86.18, 83.18),
        (0, 0, 255): (32.30, 79.19, -107.86),
        (128, 128, 128): (53.59, 0, 0),
        (3, 2, 1): (0.56, 0.18, 0.38),
    }
    planes = color_planes(np.array([list(known)], np.uint8), "lab")
    expected = np.array([[2.55 * L, a + 128, b + 128] for L, a, b in known.values()])
    assert np.abs(planes[:, 0].T - expected).max() < 0.55


def test_shares_of_red_and_green_and_grey():
    image = np.array([[[10, 30, 60], [0, 0, 0], [255, 255, 255]]], np.uint8)
    assert color_planes(image, "rgi")[:, 0].T.tolist() == [[26, 77, 27], [85, 85, 0], [85, 85, 255]]
    assert color_planes(image, "grey")[0, 0].tolist() == [27, 0, 255]
    luma = np.asarray(Image.fromarray(noise(20, 20)).convert("L"))
    np.testing.assert_array_equal(color_planes(noise(20, 20), "grey")[0], luma)


def test_another_color_space_is_refused():
    with pytest.raises(UsageError, match=r"The color space must be one of hsv, .*, not 'lav'; did you mean 'lab'\?"):
        color_planes(noise(4, 4), "lav")


# Selective Search


@pytest.mark.parametrize("version", VERSIONS)
def test_boxes_lie_in_the_image_and_each_is_there_once(version):
    image = noise(120, 160, 5, 12)
    boxes = selective_search(image, version, 7)
    assert boxes.dtype == np.float32
    assert (boxes[:, :2] >= 0).all()
    assert (boxes[:, 2:] <= [160, 120]).all()
    assert (boxes[:, :2] < boxes[:, 2:]).all()
    assert len(np.unique(boxes, axis=0)) == len(boxes)
    assert [0, 0, 160, 120] in boxes.tolist()


def test_versions_have_the_strategies_of_the_paper():
    assert {name: search.strategies for name, search in VERSIONS.items()} == {"single": 1, "fast": 8, "quality": 80}
    assert {space for search in VERSIONS.values() for space in search.spaces} == set(SPACES)


def test_the_same_image_has_the_same_boxes_and_another_number_another_order():
    image = noise(60, 90, 4, 8)
    first = selective_search(image, "fast", 1)
    with ThreadPoolExecutor(4) as pool:
        again = list(pool.map(lambda _: selective_search(image, "fast", 1), range(8)))
    assert all(np.array_equal(first, boxes) for boxes in again)
    other = selective_search(image, "fast", 2)
    assert not np.array_equal(first, other)
    assert sorted(first.tolist()) == sorted(other.tolist())


def test_order_is_position_times_a_random_number():
    image = noise(30, 40, 6)
    number = 2**63 + 5
    ranks = {}
    for draw, boxes in enumerate(VERSIONS["fast"].hierarchies(image)):
        luck = uniforms(draw_keys(0, 0, np.array([number], np.uint64), draw), len(boxes))[0]
        for place, box in enumerate(map(tuple, boxes.tolist())):
            value = luck[place] * (len(boxes) - place)
            ranks[box] = min(value, ranks.get(box, np.inf))
    expected = [list(box) for box in sorted(ranks, key=ranks.__getitem__)]
    assert selective_search(image, "fast", number).tolist() == expected


def test_objects_that_stand_out_are_covered():
    image = noise(240, 320, 1, 40) // 4 + 90
    objects = np.array([[30, 40, 110, 120], [150, 20, 290, 90], [180, 130, 230, 220]], np.float32)
    colors = [(250, 30, 30), (20, 240, 60), (240, 240, 20)]
    for (x1, y1, x2, y2), color in zip(objects.astype(int), colors, strict=True):
        image[y1:y2, x1:x2] = color
    best = box_iou(objects, selective_search(image, "fast")).max(1)
    assert (best > 0.9).all()


def test_a_large_image_is_looked_at_small_and_its_boxes_are_in_its_own_pixels():
    image = np.repeat(np.repeat(blocks(60, 100), 10, 0), 10, 1)
    boxes = SelectiveSearch(side=500).boxes(image)
    assert [0, 0, 1000, 600] in boxes.tolist()
    assert box_iou(np.array([[30, 20, 500, 300]], np.float32), boxes).max() > 0.95
    small = SelectiveSearch(side=1000).boxes(image)
    assert box_iou(np.array([[30, 20, 500, 300]], np.float32), small).max() > 0.95


def test_an_image_of_one_color_has_one_box():
    assert selective_search(np.full((40, 30, 3), 9, np.uint8), "quality").tolist() == [[0, 0, 30, 40]]
    assert selective_search(np.zeros((1, 1, 3), np.uint8)).tolist() == [[0, 0, 1, 1]]


def test_a_view_of_an_image_will_do():
    image = noise(40, 50)
    np.testing.assert_array_equal(selective_search(image[::-1, ::2]), selective_search(image[::-1, ::2].copy()))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"spaces": ()}, "spaces of SelectiveSearch must name at least one."),
        ({"spaces": ("rgb",)}, "spaces of SelectiveSearch must be one of hsv, lab, rgi, hue, grey, not 'rgb'"),
        ({"measures": ("CC",)}, "measures of SelectiveSearch must be letters of CTSF, each once, not 'CC'."),
        ({"scales": (50, 0)}, "scales of SelectiveSearch must be at least 1, not 0."),
        ({"sigma": -1.0}, "sigma of SelectiveSearch must be from 0 to 4, not -1."),
        ({"side": 9000}, "side of SelectiveSearch must be from 1 to 4096, not 9000."),
    ],
)
def test_settings_that_are_not_allowed(settings, words):
    with pytest.raises(UsageError) as error:
        SelectiveSearch(**settings)
    assert str(error.value).startswith(words)


def test_images_and_versions_that_are_not_allowed():
    with pytest.raises(UsageError, match=r"Selective Search needs an image uint8 \[H, W, 3\], not uint8 \[4, 4\]\."):
        selective_search(np.zeros((4, 4), np.uint8))
    with pytest.raises(UsageError, match=r"version of Selective Search must be one of single, fast, quality, not 'f"):
        selective_search(noise(4, 4), "fats")


# Sliding windows and random boxes


@pytest.mark.parametrize("make", [sliding_windows, random_boxes])
@pytest.mark.parametrize("size", [(375, 500), (1, 1), (3, 900), (40, 30)])
def test_windows_lie_in_the_image(make, size):
    for count in (1, 10, 2000):
        boxes = make(size, count, 3)
        assert boxes.dtype == np.float32
        assert 1 <= len(boxes) <= count
        assert (boxes[:, :2] >= 0).all()
        assert (boxes[:, 2:] <= [size[1] + 1e-3, size[0] + 1e-3]).all()
        assert (boxes[:, :2] < boxes[:, 2:]).all()
    np.testing.assert_array_equal(make(size, 50, 3), make(size, 50, 3))
    with pytest.raises(UsageError, match=r"Boxes need a size of at least 1 x 1 pixel and a count of at least 1, not"):
        make(size, 0)


def test_windows_use_what_they_may_and_meet_any_object():
    boxes = sliding_windows((375, 500), 2000)
    assert len(boxes) > 1400
    anywhere = random_boxes((375, 500), 300, 5)
    best = box_iou(anywhere, boxes).max(1)
    assert best.mean() > 0.7
    assert (best > 0.5).mean() > 0.9
    assert not np.array_equal(random_boxes((375, 500), 300, 6), anywhere)


# Figures


def test_best_overlaps_are_those_of_the_first_boxes():
    objects, boxes = random_boxes((100, 100), 7, 1), random_boxes((100, 100), 60, 2)
    counts = (1, 5, 60, 900)
    best, nearest = best_overlaps(objects, boxes, counts)
    for q, one in enumerate(objects):
        overlaps = [slow_iou(one, box) for box in boxes]
        assert best[q] == pytest.approx([max(overlaps[:count]) for count in counts])
        assert nearest[q] == np.argmax(overlaps)
    assert (np.diff(best) >= 0).all()
    far = np.array([[500, 500, 510, 510]], np.float32)
    assert [values.tolist() for values in best_overlaps(far, boxes, (3,))] == [[[0]], [-1]]
    assert best_overlaps(objects, boxes[:0], (3,))[1].tolist() == [-1] * 7
    with pytest.raises(UsageError, match=r"counts must be numbers of boxes of at least 1, not \[0\]\."):
        best_overlaps(objects, boxes, (0,))


def slow_iou(a, b):
    a, b = [float(side) for side in a], [float(side) for side in b]
    common = max(min(a[2], b[2]) - max(a[0], b[0]), 0) * max(min(a[3], b[3]) - max(a[1], b[1]), 0)
    return common / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - common)


def test_figures_are_what_their_names_say():
    draw = np.random.default_rng(3)
    overlaps, images = draw.random(300), draw.integers(0, 40, 300)
    labels = draw.choice(3, 300, p=[0.8, 0.15, 0.05])
    figures = proposal_figures(overlaps, images, labels)
    for threshold in (0.5, 0.7, 0.8):
        assert figures[f"recall_{round(100 * threshold)}"].value == pytest.approx((overlaps >= threshold).mean())
    steps = np.linspace(0.5, 1, 20001)
    average = np.mean([(overlaps >= step).mean() for step in steps])
    assert figures["average_recall"].value == pytest.approx(average, abs=1e-3)
    assert figures["mabo"].value == pytest.approx(np.mean([overlaps[labels == k].mean() for k in range(3)]))
    alike = proposal_figures(overlaps, images)
    assert alike["abo"].value == pytest.approx(overlaps.mean())
    assert {**alike, "mabo": figures["mabo"]} == {**figures, "abo": alike["abo"]}
    for figure in (*figures.values(), alike["abo"]):
        assert 0 <= figure.low < figure.value < figure.high <= 1
        assert figure.n == 300
        assert figure.method.endswith("over 40 images")


def test_intervals_are_as_wide_as_images_differ():
    draw = np.random.default_rng(0)
    images = np.repeat(np.arange(30), 10)
    alike = np.repeat(draw.random(30), 10)  # all objects of an image have one overlap
    widths = {}
    for name, overlaps in {"alike": alike, "mixed": draw.permutation(alike)}.items():
        figures = proposal_figures(overlaps, images, np.zeros(300, np.int64))
        widths[name] = {key: figure.high - figure.low for key, figure in figures.items()}
        resamples = [overlaps.reshape(30, 10)[draw.integers(0, 30, 30)].mean() for _ in range(4000)]
        assert widths[name]["mabo"] == pytest.approx(2 * 1.96 * np.std(resamples), rel=0.25)
    assert all(widths["alike"][key] > 1.8 * width for key, width in widths["mixed"].items())


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_nothing_or_everything_covered_has_an_interval_all_the_same(value):
    for count in (1, 2, 12):
        figures = proposal_figures(np.full(count, value), np.arange(count), np.zeros(count, np.int64))
        assert all(figure.value == value and 0.05 < figure.high - figure.low < 1 for figure in figures.values())


def test_figures_need_objects():
    with pytest.raises(UsageError, match=r"proposal_figures needs an overlap and an image, and a label if any, for"):
        proposal_figures(np.zeros(0), np.zeros(0, np.int64), np.zeros(0, np.int64))


def test_sizes_are_those_of_coco():
    assert size_names(np.array([1, 1023.9, 1024, 9215, 9216, 1e6])).tolist() == [
        *("small", "small", "medium", "medium", "large", "large")
    ]


# A Table


def write_voc(folder: Path, images: int = 3) -> Path:
    """Pascal VOC: images with an object each, the last of which is too small to be found."""
    for name in ("Annotations", "JPEGImages"):
        (folder / name).mkdir(parents=True)
    for n in range(images):
        image = noise(90, 120, n, 30) // 4 + 90
        boxes = {"cell": (20 + 5 * n, 15, 60 + 5 * n, 70), "<speck>": (100, 80, 102, 82)}
        for (x1, y1, x2, y2), color in zip(boxes.values(), [(240, 20, 20), (150, 150, 150)], strict=True):
            image[y1:y2, x1:x2] = color
        Image.fromarray(image).save(folder / "JPEGImages" / f"{n}.png")
        objects = "".join(
            f"<object><name>{name.replace('<', '&lt;').replace('>', '&gt;')}</name><difficult>0</difficult><bndbox>"
            f"<xmin>{x1 + 1}</xmin><ymin>{y1 + 1}</ymin><xmax>{x2}</xmax><ymax>{y2}</ymax></bndbox></object>"
            for name, (x1, y1, x2, y2) in boxes.items()
        )
        size = "<size><width>120</width><height>90</height><depth>3</depth></size>"
        text = f"<annotation><filename>{n}.png</filename>{size}{objects}</annotation>"
        (folder / "Annotations" / f"{n}.xml").write_text(text)
    return folder


def counting(proposer: Proposer) -> tuple[Proposer, list[int]]:
    """The same proposer, and the numbers of the images it was asked for."""
    asked: list[int] = []

    def propose(image, number):
        asked.append(number)
        return proposer.propose(image, number)

    return Proposer(proposer.name, proposer.settings, propose), asked


@pytest.mark.parametrize("method", METHODS)
def test_proposals_are_made_once(method, tmp_path):
    table = read_table(write_voc(tmp_path / "cells"))
    proposer, asked = counting(make_proposer(method, "single", 100))
    first = propose_table(table, proposer, workers=2)
    assert len(asked) == 3
    assert len(set(asked)) == 3
    again = propose_table(table.take([2, 0]), proposer, workers=1)
    assert len(asked) == 3
    np.testing.assert_array_equal(first.boxes[2], again.boxes[0])
    pixels = np.asarray(Image.open(tmp_path / "cells" / "JPEGImages" / "1.png"))
    number = int(hashed(table).samples["hash"].iloc[1][:16], 16)
    np.testing.assert_array_equal(first.boxes[1], make_proposer(method, "single", 100).propose(pixels, number))


def test_other_settings_are_other_proposals(tmp_path):
    keys = {make_proposer(method, version, 100).key for method in METHODS for version in ("single", "fast")}
    assert len(keys) == 4
    assert len({make_proposer("random", count=count).key for count in (1, 2)}) == 2
    assert len({make_proposer(count=count).key for count in (1, 2)}) == 1


def test_without_a_cache_and_with_images_that_cannot_be_read(tmp_path, monkeypatch):
    table = read_table(write_voc(tmp_path / "cells", 4))
    content = (tmp_path / "cells" / "JPEGImages" / "1.png").read_bytes()
    (tmp_path / "cells" / "JPEGImages" / "1.png").write_bytes(content[:300])
    (tmp_path / "cells" / "JPEGImages" / "2.png").unlink()
    done = []
    cached = propose_table(table, make_proposer(version="single"), watch=lambda *place: done.append(place))
    assert done[-1] == (3, 3)
    monkeypatch.setenv("TENFOLD_CACHE_GIB", "0")
    for proposed in (cached, propose_table(table, make_proposer(version="single"))):
        assert [Path(source).name for source in proposed.table.samples["source"]] == ["0.png", "3.png"]
        assert len(proposed.unreadable) == 2
        assert "2.png cannot be read" in proposed.unreadable[0]
        assert "1.png" in proposed.unreadable[1]
        assert [len(boxes) > 0 for boxes in proposed.boxes] == [True, True]
    for name in ("0.png", "3.png"):
        (tmp_path / "cells" / "JPEGImages" / name).write_bytes(b"no image")
    with pytest.raises(DataError, match=r"^None of the 2 images can be read; the first: Cannot decode .*0\.png"):
        propose_table(table.take([0, 3]), make_proposer())


def test_coverage_counts_what_is_to_be_found(tmp_path):
    table = read_table(write_voc(tmp_path / "cells"))
    proposed = propose_table(table, make_proposer())
    frame = proposed.table.boxes
    extra = frame.iloc[[0, 0]].assign(x2=frame["x1"].iloc[0], ignore=[False, True])
    coverage = cover_objects(
        type(table)(proposed.table.samples, table.classes, pd.concat([frame, extra], ignore_index=True)),
        proposed.boxes,
        200,
    )
    assert coverage.left_out == 2
    assert coverage.counts == (10, 30, 100, 200)
    assert coverage.overlaps.shape == (6, 4)
    assert set(coverage.by_class()) == {"cell", "<speck>"}
    assert set(coverage.by_size()) == {"small", "medium"}
    assert coverage.by_class()["cell"]["recall_70"].value == 1
    assert {coverage.classes[coverage.labels[place]] for place in coverage.worst()} == {"<speck>"}
    for place, nearest in enumerate(coverage.nearest):
        if nearest >= 0:
            box = proposed.boxes[coverage.images[place]][nearest]
            assert slow_iou(box, coverage.objects[place]) == pytest.approx(coverage.best[place])
    values = [figures["average_recall"].value for _, figures in coverage.by_count()]
    assert all(low <= high for low, high in pairwise(values))


def test_coverage_needs_boxes(tmp_path):
    table = read_table(write_voc(tmp_path / "cells"))
    proposed = propose_table(table, make_proposer("random", count=5))
    bare = type(table)(proposed.table.samples)
    with pytest.raises(DataError, match=r"The images have no boxes, so there is nothing to measure proposals by; give"):
        cover_objects(bare, proposed.boxes, 5)
    ignored = type(table)(proposed.table.samples, table.classes, proposed.table.boxes.assign(ignore=True))
    with pytest.raises(DataError, match=r"None of the 6 boxes has an area and is to be found; check the annotations\."):
        cover_objects(ignored, proposed.boxes, 5)


def test_proposers_that_are_not_there():
    with pytest.raises(UsageError, match=r"method must be one of selective-search, windows, random, not 'window'; did"):
        make_proposer("window")
    with pytest.raises(UsageError, match=r"version must be one of single, fast, quality, not 'slow'"):
        make_proposer(version="slow")
    with pytest.raises(UsageError, match=r"count must be at least 1, not 0\."):
        make_proposer(count=0)


# The command


def test_command_prints_writes_and_shows(tmp_path, capsys):
    cells = write_voc(tmp_path / "cells")
    assert main(["proposals", str(cells), "--out", str(tmp_path / "out"), "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["images"] == 3
    assert result["objects"] == 6
    assert result["by_class"]["cell"]["recall_50"]["value"] == 1
    assert set(result["by_count"]) == {"10", "30", "100", "300", "1000", "2000"}
    stored = json.loads((tmp_path / "out" / "proposals.json").read_text())
    assert stored == {key: value for key, value in result.items() if key != "out"}
    page = (tmp_path / "out" / "proposals.html").read_text()
    assert "<speck>" not in page
    assert "&lt;speck&gt;" in page
    assert "3 of 6 objects are covered" in page
    assert page.count("data:image/") == 3 + 3  # images, and the specks
    assert "://" not in page.replace("http://www.w3.org", "")
    boxes = pd.read_parquet(tmp_path / "out" / "proposals.parquet")
    assert len(boxes["hash"].unique()) == 3
    objects = pd.read_csv(tmp_path / "out" / "objects.csv")
    assert objects.groupby("path").size().tolist() == [2, 2, 2]
    assert (objects["iou"] >= 0.5).sum() == 3
    for line in objects.dropna().to_dict("records"):  # the highest IoU with any of the image's boxes, by another way
        own = boxes[[Path(line["path"]).name == Path(path).name for path in boxes["image"]]][[*CORNERS]].to_numpy(float)
        corners = [line[name] for name in CORNERS]
        overlaps = [iou(corners, box) for box in own]
        assert line["iou"] == pytest.approx(max(overlaps), abs=1e-4)
        assert iou(corners, [line[f"box_{name}"] for name in CORNERS]) == pytest.approx(line["iou"], abs=1e-2)
    assert main(["proposals", str(cells), "--method", "windows", "--count", "50", "--out", str(tmp_path / "out")]) == 0
    text = capsys.readouterr().out
    assert "6 objects, " in text
    assert "windows: " in text


def test_command_on_images_without_boxes(tmp_path, capsys):
    for name in ("a", "b"):
        (tmp_path / "plain" / name).mkdir(parents=True)
        Image.fromarray(noise(30, 40)).save(tmp_path / "plain" / name / "1.png")
    plain = str(tmp_path / "plain")
    assert main(["proposals", plain]) == 2
    assert capsys.readouterr().err.startswith(f"error: {plain} has no boxes to measure proposals by; give --save or")
    assert main(["proposals", plain, "--version", "single", "--out", str(tmp_path / "out")]) == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["proposals.json", "proposals.parquet"]
    assert main(["proposals", plain, "--out", str(tmp_path / "plain")]) == 2
    assert "--out must be a new or empty folder, or one of proposals, and" in capsys.readouterr().err


@pytest.mark.parametrize(("boxes", "why"), [("none", ""), ("ignored", ", as none has an area and is to be found")])
def test_command_on_annotated_images_without_an_object(boxes, why, tmp_path, capsys):
    cells = write_voc(tmp_path / "cells", 2)
    for file in (cells / "Annotations").iterdir():
        text = file.read_text()
        start, end = text.index("<object>"), text.rindex("</object>") + len("</object>")
        ignored = text.replace("<difficult>0", "<difficult>1")
        file.write_text(text[:start] + text[end:] if boxes == "none" else ignored)
    command = ["proposals", str(cells), "--method", "random", "--count", "5"]
    assert main([*command, "--out", str(tmp_path / "out"), "--json"]) == 0
    printed = capsys.readouterr()
    assert json.loads(printed.out)["boxes"] == {"mean": 5, "least": 5, "most": 5}
    assert "There are no figures of the boxes of these images, as none has an area and is to be found." in printed.err
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["proposals.json", "proposals.parquet"]
    assert main([*command, "--save", str(tmp_path / "saved.csv")]) == 0
    assert len(pd.read_csv(tmp_path / "saved.csv")) == 10
    capsys.readouterr()
    assert main(command) == 2
    sentence = f"error: {cells} has no boxes to measure proposals by{why}; give --save or --out to write proposals all "
    assert capsys.readouterr().err.endswith(f"{sentence}the same.\n")


def test_cells_of_bccd_are_covered(shared_data):
    folder = shared_data / "bccd"
    if not folder.is_dir():
        pytest.skip("needs the BCCD images")
    table = read_table(folder).take(range(0, 364, 60))
    proposed = propose_table(table, make_proposer())
    figures = cover_objects(proposed.table, proposed.boxes, 2000).by_count()[-1][1]
    assert figures["recall_50"].value > 0.8
    assert figures["mabo"].value > 0.65
