"""The figures of a detector, held against pycocotools, a slow VOC, and matching anew what a resample holds."""

import contextlib
import io
import re

import numpy as np
import pytest

from tenfold.errors import UsageError
from tenfold.estimate import units_of
from tenfold.metrics.detection import detection_findings, match_part
from tenfold.metrics.detection_areas import COCO_RECALLS, Draws, as_they_are, average_precisions, recalls_within
from tenfold.metrics.detection_errors import KINDS, confusion_at, error_counts, mend
from tenfold.metrics.detection_estimates import compare_detectors, measure, over_classes
from tenfold.metrics.detection_matching import FALSE, FOUND, Detections, Objects, match_coco, match_voc
from tenfold.metrics.detection_scores import (
    best_f1,
    choose_score,
    detection_units,
    fit_score_temperature,
    score_reliability,
    score_steps,
)

SIZES = ("small", "medium", "large")
COCO_NAMES = ("ap", "ap50", "ap75", *(f"ap_{name}" for name in SIZES), "ar_1", "ar_10", "ar_100")
COCO_NAMES += tuple(f"ar_{name}" for name in SIZES)


def objects_of(rows):
    """(image, x1, y1, x2, y2, label, ignore) each."""
    table = np.array(rows, np.float64).reshape(-1, 7)
    return Objects(table[:, 0].astype(int), table[:, 1:5], table[:, 5].astype(int), table[:, 6].astype(bool))


def detections_of(rows):
    """(image, x1, y1, x2, y2, label, score) each."""
    table = np.array(rows, np.float64).reshape(-1, 7)
    return Detections(table[:, 0].astype(int), table[:, 1:5], table[:, 5].astype(int), table[:, 6])


def scene(seed, images=12, classes=3, crowds=0.15, decimals=2, most=8, span=200):
    """Crowded images: objects to find and to ignore, and detections near them, of other classes, twice, and nowhere."""
    draw = np.random.default_rng(seed)
    objects, found = [], []
    for image in range(images):
        for _ in range(draw.integers(0, most)):
            at, side = (
                draw.uniform(0, span, 2),
                draw.choice([12.0, 32.0, 60.0, 96.0, 150.0]) * draw.uniform(0.8, 1.2, 2),
            )
            label = int(draw.integers(classes))
            objects.append((image, *at, *(at + side), label, draw.random() < crowds))
            for _ in range(draw.integers(0, 3)):
                shift = draw.normal(0, 0.1, 4) * np.tile(side, 2)
                box = np.array([*at, *(at + side)]) + shift
                other = int(draw.integers(classes)) if draw.random() < 0.2 else label
                found.append((image, *np.minimum(box[:2], box[2:] - 1), *box[2:], other, draw.random() ** 0.5))
        for _ in range(draw.integers(0, 4)):
            at, side = draw.uniform(0, span, 2), draw.uniform(5, 120, 2)
            found.append((image, *at, *(at + side), int(draw.integers(classes)), draw.random() ** 2))
    detections = detections_of(found)
    return objects_of(objects), detections._replace(score=detections.score.round(decimals))


def library(objects, detections, images, classes):
    """The twelve figures of pycocotools, -1 where there is no such object."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    def entry(place, box):
        x1, y1, x2, y2 = box.tolist()
        return {"id": place + 1, "bbox": [x1, y1, x2 - x1, y2 - y1], "area": (x2 - x1) * (y2 - y1)}

    areas = [{} for _ in objects.image] if objects.area is None else [{"area": area} for area in objects.area.tolist()]
    truth, found = COCO(), COCO()
    head = {"images": [{"id": n} for n in range(images)], "categories": [{"id": n} for n in range(classes)]}
    truth.dataset = head | {
        "annotations": [
            entry(place, box) | {"image_id": int(image), "category_id": int(label), "iscrowd": int(crowd)} | area
            for place, (image, box, label, crowd, area) in enumerate(zip(*objects[:4], areas, strict=True))
        ]
    }
    found.dataset = head | {
        "annotations": [
            entry(place, box) | {"image_id": int(image), "category_id": int(label), "score": float(score)}
            for place, (image, box, label, score) in enumerate(zip(*detections, strict=True))
        ]
    }
    with contextlib.redirect_stdout(io.StringIO()):
        truth.createIndex()
        found.createIndex()
        rule = COCOeval(truth, found, "bbox")
        rule.evaluate()
        rule.accumulate()
        rule.summarize()
    return dict(zip(COCO_NAMES, rule.stats, strict=True))


def measured(objects, detections, images, classes):
    part = match_part(objects, detections, [str(n) for n in range(classes)], images)
    return {name: float(over_classes(value)[0]) for name, value in measure(part.matches, as_they_are(images)).items()}


def nothing(kind):
    return objects_of([]) if kind is Objects else detections_of([])


ODD = {
    "no detections": (scene(1)[0], nothing(Detections), 12, 3),
    "no objects": (nothing(Objects), scene(1)[1], 12, 3),
    "nothing at all": (nothing(Objects), nothing(Detections), 3, 2),
    "only crowds": (scene(2)[0]._replace(ignore=np.ones(len(scene(2)[0].ignore), bool)), scene(2)[1], 12, 3),
    "images without objects": (*scene(3, images=5), 40, 3),
    "a class that is not there": (*scene(4), 12, 7),
    "one image": (*scene(5, images=1), 1, 3),
    "all scores alike": (scene(6)[0], scene(6)[1]._replace(score=np.full(len(scene(6)[1].score), 0.5)), 12, 3),
    "many ties": (*scene(7, decimals=1), 12, 3),
    "at the edges of the areas": (
        objects_of([(0, 0, 0, 32, 32, 0, 0), (0, 100, 0, 196, 96, 0, 0), (1, 0, 0, 10, 10, 0, 0)]),
        detections_of([(0, 0, 0, 32, 32, 0, 0.9), (0, 100, 0, 196, 96, 0, 0.8), (1, 50, 50, 146, 146, 0, 0.7)]),
        2,
        1,
    ),
    "an overlap of exactly a half": (
        objects_of([(0, 0, 0, 10, 10, 0, 0), (0, 40, 0, 50, 10, 0, 0)]),
        detections_of([(0, 0, 0, 10, 20, 0, 0.9), (0, 40, 0, 50, 10, 0, 0.9)]),
        1,
        1,
    ),
    "more than a hundred": (
        objects_of([(0, 20 * n, 0, 20 * n + 10, 10, 0, 0) for n in range(120)]),
        detections_of([(0, 20 * n, 0, 20 * n + 10, 10, 0, 0.5 + n / 1000) for n in range(120)]),
        1,
        1,
    ),
    "detections of no area": (
        objects_of([(0, 0, 0, 10, 10, 0, 1), (0, 40, 0, 50, 10, 0, 0)]),
        detections_of([(0, 5, 5, 5, 5, 0, 0.9), (0, 40, 0, 50, 10, 0, 0.8)]),
        1,
        1,
    ),
}


@pytest.mark.parametrize("seed", range(8))
def test_coco_figures_are_those_of_pycocotools(seed):
    same_as_library(*scene(seed, images=15, most=10), 15, 3)


@pytest.mark.parametrize("seed", range(6))
def test_objects_have_the_size_of_the_area_that_they_are_given(seed):
    """As of masks, crowds among them; pycocotools goes by these, and by the boxes of what was detected."""
    objects, found = scene(seed, images=20, crowds=0.25, most=10)
    draw, own = np.random.default_rng(seed), np.prod(objects.box[:, 2:] - objects.box[:, :2], 1)
    areas = np.where(draw.random(len(own)) < 0.8, own * draw.uniform(0.2, 1.1, len(own)), draw.choice([1024, 9216]))
    masked = objects._replace(area=areas)
    same_as_library(masked, found, 20, 3)
    by_mask, by_box = measured(masked, found, 20, 3), measured(objects, found, 20, 3)
    for name in SIZES:
        assert abs(by_mask[f"ap_{name}"] - by_box[f"ap_{name}"]) > 1e-3
    for name in ("ap", "ap50", "ap75", "ar_100"):
        assert by_mask[name] == by_box[name]
    some = masked.take(masked.image < 9)
    assert some.area.tolist() == areas[objects.image < 9].tolist()
    for odd in (np.nan, -1.0):
        with pytest.raises(UsageError, match=r"The areas of the objects must be finite numbers \[\d+\], 0 or more"):
            measured(masked._replace(area=np.full(len(areas), odd)), found, 20, 3)


@pytest.mark.parametrize("name", [name for name in ODD if name != "detections of no area"])
def test_coco_figures_are_those_of_pycocotools_in_odd_cases(name):
    same_as_library(*ODD[name])


def same_as_library(objects, detections, images, classes):
    ours, theirs = measured(objects, detections, images, classes), library(objects, detections, images, classes)
    for name in COCO_NAMES:
        if theirs[name] == -1:
            assert np.isnan(ours[name]), name
        else:
            assert ours[name] == pytest.approx(theirs[name], abs=1e-9), name


def test_a_detection_of_no_area_in_a_crowd_is_false_and_no_nan():
    figures = measured(*ODD["detections of no area"])
    assert figures["ap50"] == pytest.approx(0.5)


@pytest.mark.parametrize("area", [None, np.array([1e12, 100.0])])
def test_an_object_beyond_the_areas_of_coco_is_large_and_missed(area):
    """A slip in a coordinate; pycocotools counts it nowhere, and here nothing of its class is in its image besides."""
    objects = objects_of([(0, 0, 0, 2e5 if area is None else 10, 2e5, 0, 0), (1, 0, 0, 10, 10, 0, 0)])
    objects = objects._replace(area=area)
    detections = detections_of([(1, 0, 0, 10, 10, 0, 0.9)])
    figures = measured(objects, detections, 2, 1)
    assert (figures["ar_100"], figures["ar_large"], figures["ar_small"]) == (0.5, 0, 1)
    assert np.isnan(figures["ar_medium"])
    with_one_there = detections_of([(0, 0, 0, 3e5, 3e5, 0, 0.8), (1, 0, 0, 10, 10, 0, 0.9)])
    figures = measured(objects, with_one_there, 2, 1)
    assert (figures["ar_100"], figures["ap_small"]) == (0.5, pytest.approx(1))


# VOC, slowly.


def iou(one, other):
    wide = min(one[2], other[2]) - max(one[0], other[0])
    high = min(one[3], other[3]) - max(one[1], other[1])
    if wide <= 0 or high <= 0:
        return 0.0
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (one, other)]
    return wide * high / (sum(areas) - wide * high)


def slow_voc(objects, detections, name):
    """VOCevaldet.m, one detection after another: AP by 11 points and by area."""
    wanted = int(((objects.label == name) & ~objects.ignore).sum())
    if not wanted:
        return np.nan, np.nan
    rows = [place for place in range(len(detections.image)) if detections.label[place] == name]
    rows.sort(key=lambda place: (-detections.score[place], detections.image[place], place))
    taken, right, false = set(), [], []
    for row in rows:
        best, highest = None, 0.0
        for place in range(len(objects.image)):
            if objects.label[place] == name and objects.image[place] == detections.image[row]:
                overlap = iou(detections.box[row], objects.box[place])
                if overlap > highest:
                    best, highest = place, overlap
        if highest >= 0.5:
            if objects.ignore[best]:
                continue
            right.append(best not in taken)
            taken.add(best)
        else:
            right.append(False)
        false.append(not right[-1])
    hits, wrong = np.cumsum(right), np.cumsum(false)
    recall, precision = hits / wanted, hits / np.maximum(hits + wrong, 1)
    eleven = sum(max([p for p, r in zip(precision, recall, strict=True) if r >= n / 10], default=0) for n in range(11))
    area, before = 0.0, 0.0
    for place in range(len(recall)):
        area += (recall[place] - before) * max(precision[place:])
        before = recall[place]
    return eleven / 11, area


@pytest.mark.parametrize("case", [*range(6), *ODD])
def test_voc_figures_are_those_of_a_slow_one(case):
    objects, detections, images, classes = ODD[case] if case in ODD else (*scene(case, images=15, most=10), 15, 3)
    ours = measured(objects, detections, images, classes)
    slow = np.array([slow_voc(objects, detections, name) for name in range(classes)])
    for column, name in enumerate(("voc2007", "voc2010")):
        known = slow[np.isfinite(slow[:, column]), column]
        if not len(known):
            assert np.isnan(ours[name])
        else:
            assert ours[name] == pytest.approx(known.mean(), abs=1e-9)


def test_where_objects_overlap_the_two_rules_differ():
    objects = objects_of([(0, 0, 0, 10, 10, 0, 0), (0, 2, 0, 12, 10, 0, 0)])
    detections = detections_of([(0, 0, 0, 10, 10, 0, 0.9), (0, 0.5, 0, 10.5, 10, 0, 0.8)])
    [coco], [voc] = match_coco(objects, detections, 1, 1), match_voc(objects, detections, 1, 1)
    assert coco.verdict[0].tolist() == [FOUND, FOUND]  # the second has the neighbor
    assert voc.verdict[0].tolist() == [FOUND, FALSE]  # the second has found the first object again


# Resamples.


def copies(values, times):
    """Each image as often as `times` says, as images of their own."""
    starts = np.cumsum([0, *times])
    rows = [(row, starts[image] + copy) for row, image in enumerate(values.image) for copy in range(times[image])]
    rows.sort(key=lambda pair: pair[1])
    index = np.array([row for row, _ in rows], int)
    taken = type(values)(*(field if field is None else field[index] for field in values))
    return taken._replace(image=np.array([image for _, image in rows], int))


def test_a_resample_is_what_matching_its_images_anew_would_give():
    objects, detections = scene(11, images=10, decimals=9)
    times = np.random.default_rng(0).integers(0, 4, 10)
    part = match_part(objects, detections, "abc", 10)
    none = np.zeros((1, 10))
    quick = measure(part.matches, Draws(times[None].astype(float), none, none))
    anew = match_part(copies(objects, times), copies(detections, times), "abc", int(times.sum()))
    slow = measure(anew.matches, as_they_are(int(times.sum())))
    for name, value in slow.items():
        np.testing.assert_allclose(quick[name], value, atol=1e-9, err_msg=name)


def test_the_added_image_right_and_wrong():
    objects, detections = scene(12, images=6, crowds=0, decimals=9)
    [first, *_] = match_coco(objects, detections, 6, 3)
    image = int(first.image[first.verdict[0] == FOUND][0])
    own = first.image == image
    none, one = np.zeros((1, 6)), np.eye(6)[image][None]
    plain = np.ones((1, 6))

    def by_hand(keep, hits, wanted):
        """The ranking with the added image's detections right behind the ones that they copy."""
        verdict = np.concatenate([first.verdict[0], keep])
        place = np.concatenate([np.arange(len(first.image)), np.flatnonzero(hits)])
        order = np.argsort(place, kind="stable")
        found = np.cumsum(verdict[order] == FOUND)
        false = np.cumsum(verdict[order] == FALSE)
        total = first.wanted[0].sum() + wanted
        precision, recall = found / np.maximum(found + false, 1), found / total
        return np.mean([max(precision[recall >= mark], default=0) for mark in COCO_RECALLS])

    hits = own & (first.verdict[0] == FOUND)
    right = average_precisions(first, Draws(plain, one, none), COCO_RECALLS)[0, 0]
    assert right == pytest.approx(by_hand(np.full(hits.sum(), FOUND), hits, hits.sum()), abs=1e-9)
    wrong = average_precisions(first, Draws(plain, none, one), COCO_RECALLS)[0, 0]
    false = own & (first.verdict[0] == FALSE)
    assert wrong == pytest.approx(by_hand(np.full(false.sum(), FALSE), false, first.wanted[0, image]), abs=1e-9)
    recall = recalls_within(first, Draws(plain, one, none), 100)[0, 0]
    found = (first.verdict[0] == FOUND).sum()
    assert recall == pytest.approx((found + hits.sum()) / (first.wanted[0].sum() + hits.sum()))


def findings(seed=13, images=20, **options):
    return detection_findings(*scene(seed, images=images), "abc", images, **{"draws": 100, **options})


def test_every_figure_has_an_interval_and_the_headline_is_ap50():
    figures, details = findings()
    assert next(iter(figures)) == "ap50"
    assert {*COCO_NAMES, "voc2007", "voc2010"} == {*figures}
    for estimate in figures.values():
        assert 0 <= estimate.low < estimate.high <= 1
        assert estimate.low <= estimate.value <= estimate.high
        assert (estimate.n, estimate.method) == (20, "bootstrap over images")
    assert [line["class"] for line in details["per_class"]] == ["a", "b", "c"]
    mean = np.mean([line["ap50"].value for line in details["per_class"]])
    assert figures["ap50"].value == pytest.approx(mean)
    assert findings()[0] == figures  # the same draws
    groups = np.array([f"g{row % 7}" for row in range(20)], object)
    assert findings(groups=groups)[0]["ap50"].method == "bootstrap over 7 groups"
    wider = findings(looks=5)[0]["ap50"]
    assert wider.high - wider.low > figures["ap50"].high - figures["ap50"].low


def test_a_perfect_detector_has_an_interval_too():
    objects, _ = scene(14, crowds=0)
    detections = Detections(objects.image, objects.box, objects.label, np.full(len(objects.image), 0.9))
    figures, details = detection_findings(objects, detections, "abc", 12, draws=100)
    assert figures["ap50"].value == pytest.approx(1)
    assert 0.5 < figures["ap50"].low < 0.99
    assert sum(line["count"] for line in details["errors"]) == 0
    nothing_found, details = detection_findings(objects, nothing(Detections), "abc", 12, draws=100)
    assert (nothing_found["ap50"].value, details["best_f1"], details["reliability"]) == (0, None, None)


def test_objects_beyond_a_hundred_of_a_class_in_an_image_are_counted():
    """Against a loop, and at their worst: every object is found, and the recall is what is not beyond."""
    rows = [(image, 20 * n, 0, 20 * n + 10, 10, kind, n == 0) for image, kind, count in CROWDED for n in range(count)]
    draw = np.random.default_rng(0)
    objects = objects_of(draw.permutation(rows))
    detections = Detections(objects.image, objects.box, objects.label, draw.random(len(rows)))
    figures, details = detection_findings(objects, detections, "abc", 4, draws=20)
    counts = [(image, count - 1) for image, _, count in CROWDED]  # the first one of each is to be ignored
    over = [(image, count) for image, count in counts if count > 100]
    assert details["crowded"] == {
        "images": len({image for image, _ in over}),
        "most": max(count for _, count in counts),
        "beyond": sum(count - 100 for _, count in over),
        "objects": sum(count for _, count in counts),
    }
    assert figures["voc2010"].value == pytest.approx(1)
    assert [line["objects"] for line in details["per_class"]] == [374, 120, 60]
    shares = [(374 - details["crowded"]["beyond"] + 20) / 374, 100 / 120, 1]
    assert figures["ar_100"].value == pytest.approx(np.mean(shares), abs=0.01)
    few = [row for row in rows if row[0] == 3]
    objects = objects_of(few)
    assert detection_findings(objects, nothing(Detections), "abc", 4, draws=20)[1]["crowded"] is None


CROWDED = [(0, 0, 151), (0, 1, 121), (1, 0, 126), (2, 0, 100), (3, 2, 61)]
"""(image, class, objects): two classes in one image, a crowd beside each, and one of which a hundred can be found."""


def test_undefined_figures_are_named():
    objects = objects_of([(0, 0, 0, 10, 10, 0, 0), (1, 0, 0, 12, 12, 0, 0)])
    figures, details = detection_findings(objects, nothing(Detections), ["a"], 3, draws=20)
    assert "ap_large" not in figures
    assert details["undefined"]["ap_large"] == "needs an object of that size"


def test_two_detectors_on_the_same_images():
    objects, _ = scene(15, images=30, crowds=0)
    good = Detections(objects.image, objects.box, objects.label, np.linspace(0.5, 0.9, len(objects.image)))
    worse = Detections(*(field[good.image % 2 == 0] for field in good))  # blind on every other image
    sides = [match_part(objects, side, "abc", 30).matches for side in (good, worse)]
    units = units_of(None, 30)
    found = compare_detectors(*sides, units, draws=200)["ap50"]
    assert found.difference.value == pytest.approx(found.first.value - found.second.value)
    assert found.difference.low > 0
    assert found.p < 0.05
    back = compare_detectors(sides[1], sides[0], units, draws=200)["ap50"]
    assert back.difference.value == -found.difference.value
    same = compare_detectors(sides[1], sides[1], units, draws=200)["ap50"]
    assert (same.difference.value, same.p) == (0, 1)
    assert same.difference.low < 0 < same.difference.high
    alone = same.first.high - same.first.low
    assert same.difference.high - same.difference.low < alone  # paired


# Errors.

APART = [
    (0, 0, 0, 40, 40, 0, 0),  # found
    (0, 100, 0, 140, 40, 0, 0),  # badly placed
    (0, 200, 0, 240, 40, 0, 0),  # taken for another class
    (0, 300, 0, 340, 40, 1, 0),  # missed
    (1, 0, 0, 40, 40, 1, 0),  # found twice
    (1, 100, 0, 140, 40, 1, 0),  # wrong class, badly placed
    (1, 200, 0, 240, 40, 1, 1),  # to ignore
]
SEEN = [
    (0, 0, 0, 40, 40, 0, 0.9),
    (0, 115, 0, 155, 40, 0, 0.8),
    (0, 201, 0, 241, 40, 1, 0.7),
    (1, 0, 0, 40, 40, 1, 0.95),
    (1, 1, 0, 41, 40, 1, 0.6),
    (1, 115, 0, 155, 40, 0, 0.5),
    (1, 300, 0, 340, 40, 0, 0.4),
    (1, 200, 0, 240, 40, 1, 0.3),
]


def test_each_kind_of_mistake():
    objects, detections = objects_of(APART), detections_of(SEEN)
    part = match_part(objects, detections, "ab", 2)
    names = [KINDS[kind] if kind >= 0 else None for kind in part.mistakes.kind]
    assert names == [None, "location", "class", None, "duplicate", "both", "background", None]
    counts = error_counts(objects, detections, part.mistakes, 0.0)
    assert counts == {"class": 1, "location": 1, "both": 1, "duplicate": 1, "background": 1, "missed": 2}
    assert error_counts(objects, detections, part.mistakes, 0.75)["missed"] == 3  # nothing is shown at the third
    confusion = confusion_at(objects, detections, part.mistakes, 0.0, 2)
    assert confusion.tolist() == [[1, 1, 1], [0, 1, 2], [3, 1, 0]]
    assert confusion_at(objects, detections, part.mistakes, 0.65, 2).tolist() == [[1, 1, 1], [0, 1, 2], [1, 0, 0]]


def mended_by_hand(kind):
    """The same images as they would be without one kind of mistake, to be matched anew."""
    objects, seen = [*APART], [*SEEN]
    if kind == "location":
        seen[1] = (0, 100, 0, 140, 40, 0, 0.8)
    elif kind == "class":
        seen[2] = (0, 201, 0, 241, 40, 0, 0.7)
    elif kind == "missed":
        del objects[5], objects[3]
    else:
        del seen[{"duplicate": 4, "both": 5, "background": 6}[kind]]
    return objects_of(objects), detections_of(seen)


@pytest.mark.parametrize("kind", KINDS)
def test_the_gain_of_a_kind_is_that_of_mending_it_by_hand(kind):
    objects, detections = objects_of(APART), detections_of(SEEN)
    part = match_part(objects, detections, "ab", 2)
    gain = mend(objects, detections, part.mistakes, 2, 2).gains(as_they_are(2))[kind][0, 0]
    before, after = measured(objects, detections, 2, 2)["ap50"], measured(*mended_by_hand(kind), 2, 2)["ap50"]
    assert gain == pytest.approx(after - before, abs=1e-9)


def test_of_two_badly_placed_the_better_is_mended_and_the_other_taken_away():
    objects = objects_of([(0, 0, 0, 40, 40, 0, 0), (0, 200, 0, 240, 40, 0, 0)])
    detections = detections_of([(0, 15, 0, 55, 40, 0, 0.9), (0, 16, 0, 56, 40, 0, 0.8), (0, 200, 0, 240, 40, 0, 0.7)])
    part = match_part(objects, detections, "a", 1)
    gains = mend(objects, detections, part.mistakes, 1, 1).gains(as_they_are(1))
    assert gains["location"][0, 0] == pytest.approx(1 - measured(objects, detections, 1, 1)["ap50"])


# Scores.


def test_the_best_f1_is_that_of_trying_every_score():
    draw = np.random.default_rng(3)
    score = draw.random(200).round(2)
    right = draw.random(200) < score
    best = best_f1(score, right, 150)
    tried = {}
    for cut in sorted({*score}):
        hits, shown = right[score >= cut].sum(), (score >= cut).sum()
        tried[cut] = 2 * hits / (shown + 150)
    assert best.f1 == pytest.approx(max(tried.values()))
    hits, shown = right[score >= best.score].sum(), (score >= best.score).sum()
    assert (best.precision, best.recall, best.f1) == pytest.approx((hits / shown, hits / 150, 2 * hits / (shown + 150)))
    assert best_f1(score, np.zeros(200, bool), 150) is None


def false_detections(seed, images=60, each=10):
    """Detections whose precision falls with the score, those of an image right or wrong together."""
    draw = np.random.default_rng(seed)
    image = np.repeat(np.arange(images), each)
    score = draw.random(len(image))
    hard = np.repeat(draw.normal(0, 0.5, images), each)
    right = draw.random(len(image)) < 1 / (1 + np.exp(-(2 + 3 * (score - 0.5) + hard)))
    return score, right, detection_units(image, units_of(None, images))


def test_a_stated_precision_is_kept_as_often_as_it_says():
    def truly(cut):
        draw = np.random.default_rng(99)
        score = draw.uniform(cut, 1, 20_000)
        return np.mean(1 / (1 + np.exp(-(2 + 3 * (score - 0.5) + draw.normal(0, 0.5, 20_000)))))

    kept = []
    for seed in range(60):
        step = choose_score(score_steps(*false_detections(seed)), 0.85, 0.9)
        kept.append(step is None or truly(step.score) >= 0.85)
    assert np.mean(kept) >= 0.9
    chosen = choose_score(score_steps(*false_detections(0)), 0.8)
    assert chosen is not None
    assert chosen.shown > 100
    assert choose_score(score_steps(*false_detections(0)), 0.999) is None
    assert score_steps(*(part[:5] for part in false_detections(0)[:2]), units_of(None, 5)) == []


def test_scores_are_told_how_often_they_are_right():
    score, right, units = false_detections(1)
    reliability = score_reliability(score, right, units)
    assert reliability["error"].n == 600
    assert re.fullmatch(r"Wilson over \d+ images", reliability["bins"][0]["right"].method)
    plants = detection_units(np.repeat(np.arange(60), 10), units_of(np.arange(60).astype(object) // 6, 60))
    assert score_reliability(score, right, plants)["bins"][0]["right"].method == "Wilson over 10 groups"
    assert fit_score_temperature(score, right, units) > 1.5  # they are far too sure, in both directions
    honest = np.random.default_rng(5).random(600)
    hit = np.random.default_rng(6).random(600) < honest
    assert abs(fit_score_temperature(honest, hit, units) - 1) < 0.2
    assert np.isfinite(fit_score_temperature(score, np.ones(600, bool), units))


# Words.


def test_what_is_said_of_arguments_that_cannot_be():
    objects, detections = scene(16)

    def refused(words, objects=objects, detections=detections, classes="abc", images=12, **options):
        with pytest.raises(UsageError, match=words):
            detection_findings(objects, detections, classes, images, draws=10, **options)

    refused(r"x1 < x2 and y1 < y2, and row 0 is \[.*\]; leave out", objects._replace(box=objects.box[:, [2, 1, 0, 3]]))
    refused("is it their width that came", detections=detections._replace(box=detections.box[:, [2, 1, 0, 3]]))
    refused("The label of the detections must lie from 0 to 1, not 0 to 2", classes="ab", objects=objects_of(APART))
    refused("The image of the objects must lie from 0 to 2", images=3)
    refused(
        r"boxes of the objects must be finite numbers .*, and row 0 is \[nan, nan",
        objects._replace(box=objects.box * np.nan),
    )
    refused(
        r"^detections\.score must lie from 0 to 1, not 2\.\S+ to [23]\S* hand in probabilities",
        detections=detections._replace(score=detections.score + 2),
    )
    refused("score must lie from 0 to 1, not 2", score=2.0)
    refused(
        "at least one object that is not to be ignored", objects._replace(ignore=np.ones(len(objects.ignore), bool))
    )
    with pytest.raises(UsageError, match=r"precision must lie between 0 and 1, for example 0\.95, not 95"):
        choose_score([], 95)
    with pytest.raises(UsageError, match="scores of the detections must be finite numbers, and row 0 is nan"):
        match_part(objects, detections._replace(score=detections.score * np.nan), "abc", 12)
    with pytest.raises(UsageError, match="at least one image and one class"):
        match_part(objects, detections, "", 12)
