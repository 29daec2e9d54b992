"""The gallery against slow loops and galleries made anew; its folder; its command, with a network that is a toy."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from tenfold.__main__ import COMMANDS, main
from tenfold.errors import DataError, UsageError
from tenfold.images.content import hashed
from tenfold.images.preprocess import Preprocessing
from tenfold.images.readers import read_images, read_table
from tenfold.metrics.open_set import Comparisons, fit_threshold
from tenfold.models.views import find_views
from tenfold.models.weights import Origin
from tenfold.transfer import embed, gallery_folder, thresholds
from tenfold.transfer.embed import Embedder, EmbeddingOrigin, embed_table, mean_direction, unit_rows
from tenfold.transfer.features import Extractor
from tenfold.transfer.gallery import Gallery, new_gallery
from tenfold.transfer.gallery_folder import is_free, load_gallery, replace_gallery, save_gallery
from tenfold.transfer.templates import fold_of, placed, whitening_of, whitenings_without
from tenfold.transfer.thresholds import Enrolled, own_and_other
from tests.toys import save, scene

Capture = pytest.CaptureFixture[str]
Vectors = NDArray[np.float32]

PREPROCESSING = Preprocessing("rgb", 24, 24, "squash", "triangle", 255, (0.5,) * 3, (0.25,) * 3)
WEIGHTS = Origin("toy", source="drawn in a test", sha256="ab" * 32, licence="Apache-2.0")
ORIGIN = EmbeddingOrigin("toy", "", WEIGHTS, "flip", PREPROCESSING.to_json())


class Toy(nn.Module):
    """A backbone whose features are the image, made small."""

    name, width, preprocessing = "toy", 108, PREPROCESSING

    def features(self, images: Tensor) -> Tensor:
        return nn.functional.adaptive_avg_pool2d(images, 6).flatten(1)


def crowd(people: int, images: int, width: int = 8, noise: float = 0.5, seed: int = 0) -> tuple[Vectors, list[str]]:
    """Embeddings [people x images, width] and the names of whose they are."""
    rng = np.random.default_rng(seed)
    centers = unit_rows(rng.standard_normal((people, width)))
    vectors = np.repeat(centers, images, 0) + noise / np.sqrt(width) * rng.standard_normal((people * images, width))
    return unit_rows(vectors), [f"p{number}" for number in range(people) for _ in range(images)]


def names_of(count: int, start: int = 0) -> list[str]:
    """Hashes, in another order than that of the images."""
    return [f"{(number * 7919) % 99_991:032x}" for number in range(start, start + count)]


def filled(people: int, images: int, **options: Any) -> Gallery:
    vectors, labels = crowd(people, images, **options)
    return new_gallery(ORIGIN, 0.05).enroll(vectors, labels, names_of(len(labels)))


def same(one: Gallery, other: Gallery) -> bool:
    plain = ("origin", "labels", "hashes", "false_accept", "points")
    arrays = ("embeddings", "whitening")
    return all(getattr(one, name) == getattr(other, name) for name in plain) and all(
        getattr(one, name).tobytes() == getattr(other, name).tobytes() for name in arrays
    )


def slow_scatter(embeddings: Vectors, numbers: NDArray[np.int64]) -> NDArray[np.float64]:
    """The covariance within identities, image by image, with as many images more as features that scatter evenly; and
    along the mean of all as much again as in all directions, times the share of it that is not chance.
    """
    width, names = embeddings.shape[1], sorted(set(numbers.tolist()))
    means = {name: embeddings[numbers == name].astype(np.float64).mean(0) for name in names}
    scatter, freedom = np.zeros((width, width)), len(numbers) - len(names)
    for vector, number in zip(embeddings.astype(np.float64), numbers.tolist(), strict=True):
        scatter += np.outer(vector - means[number], vector - means[number])
    within = np.eye(width)
    if freedom:
        covariance = scatter / freedom
        within = (freedom * covariance + width * np.trace(covariance) / width * np.eye(width)) / (freedom + width)
    middle = np.mean(list(means.values()), 0)
    chance = sum((mean - middle) @ (mean - middle) for mean in means.values()) / len(names) / (len(names) - 1)
    share = max(0.0, 1 - chance / (middle @ middle))
    return within + share * np.trace(within) * np.outer(middle, middle) / (middle @ middle)


def slow_score(one: NDArray[np.floating], other: NDArray[np.floating], scatter: NDArray[np.float64]) -> float:
    """The cosine of two vectors where that scatter is divided out."""
    inverse = np.linalg.inv(scatter)
    return float(one @ inverse @ other / np.sqrt((one @ inverse @ one) * (other @ inverse @ other)))


def enrolled_of(gallery: Gallery) -> Enrolled:
    count = len(gallery.identities)
    whitenings = whitenings_without(gallery.embeddings, gallery.numbers)
    return Enrolled(gallery.embeddings, gallery.numbers, fold_of(gallery.numbers, count), whitenings)


# What it answers


def test_a_search_is_what_a_loop_over_identities_finds() -> None:
    gallery = filled(9, 3)
    probes, _ = crowd(9, 2, seed=1)
    places, scores = gallery.search(probes, 4)
    scatter = slow_scatter(gallery.embeddings, gallery.numbers)
    for probe, row, values in zip(probes, places, scores, strict=True):
        slow = {}
        for name in gallery.identities:
            mine = gallery.embeddings[[label == name for label in gallery.labels]].astype(np.float64)
            slow[name] = slow_score(probe, mine.mean(0), scatter)
        ranked = sorted(slow, key=lambda name: -slow[name])[:4]
        assert [gallery.identities[place] for place in row] == ranked
        assert values == pytest.approx([slow[name] for name in ranked], abs=1e-5)
    best, _ = gallery.search(probes)
    assert best[:, 0].tolist() == places[:, 0].tolist()
    assert gallery.search(probes, 100)[0].shape == (18, 9)


def test_of_equal_scores_the_earlier_identity_comes_first() -> None:
    vectors = np.float32([[1, 0], [1, 0], [-1, 0], [-1, 0]])
    gallery = new_gallery(ORIGIN).enroll(vectors, ["p10", "p2", "b", "c"], names_of(4))
    assert gallery.identities == ("b", "c", "p2", "p10")
    assert [gallery.identities[place] for place in gallery.search(vectors[:1], 4)[0][0]] == ["p2", "p10", "b", "c"]
    assert gallery.search(vectors[:1])[0].tolist() == [[2]]


def test_one_image_at_a_time_is_found_as_many_are() -> None:
    gallery = filled(40, 3, width=32)
    probes, _ = crowd(400, 2, width=32, seed=1)  # more than are searched for at once
    together = gallery.identify(probes, 3)
    for probe, found in zip(probes, together, strict=True):
        [alone] = gallery.identify(probe[None], 3)
        assert alone.identity == found.identity
        assert [name for name, _ in alone.top] == [name for name, _ in found.top]
        assert [score for _, score in alone.top] == pytest.approx([score for _, score in found.top], abs=1e-6)


def test_those_who_are_enrolled_are_named_and_strangers_are_not() -> None:
    vectors, labels = crowd(60, 12, width=32, noise=1.0)
    known = np.array([int(label[1:]) < 40 and place % 12 < 8 for place, label in enumerate(labels)])
    mated = np.array([int(label[1:]) < 40 for label in labels]) & ~known
    gallery = new_gallery(ORIGIN, 0.05)
    gallery = gallery.enroll(vectors[known], np.array(labels)[known].tolist(), names_of(known.sum()))
    named = [found.identity for found in gallery.identify(vectors[mated])]
    right = np.mean([name == label for name, label in zip(named, np.array(labels)[mated], strict=True)])
    strangers = np.mean([found.identity is not None for found in gallery.identify(vectors[~known & ~mated])])
    figures = gallery.points["identify"].figures
    assert right == pytest.approx(figures["dir"].value, abs=0.08)
    assert strangers == pytest.approx(figures["far"].value, abs=0.05)
    assert right > 0.6
    assert strangers < 0.1


def test_verification_is_a_product_against_its_threshold() -> None:
    gallery = filled(20, 5, width=16)
    for question, verdict in (
        ("verify_images", gallery.verify_images(gallery.embeddings[0], gallery.embeddings[1])),
        ("verify_identity", gallery.verify_identity(gallery.embeddings[0], gallery.labels[0])),
    ):
        assert verdict.same
        assert verdict.point is gallery.points[question]
        assert verdict.score >= verdict.point.threshold
    pair = gallery.verify_images(gallery.embeddings[0], gallery.embeddings[-1])
    assert not pair.same
    scatter = slow_scatter(gallery.embeddings, gallery.numbers)
    assert pair.score == pytest.approx(slow_score(gallery.embeddings[0], gallery.embeddings[-1], scatter), abs=1e-5)
    assert pair.nearest is None
    other = gallery.verify_identity(gallery.embeddings[0], gallery.labels[-1])
    assert not other.same
    scores = {name: gallery.verify_identity(gallery.embeddings[0], name).score for name in gallery.identities}
    assert other.nearest == max(scores.items(), key=lambda each: each[1])
    assert other.nearest[0] == gallery.labels[0]


def test_of_two_that_are_equally_alike_none_is_nearer_than_the_other() -> None:
    one, third = unit_rows(np.eye(8)[:1]), unit_rows(np.eye(8)[2:3])
    vectors = np.concatenate([one, one, third])
    gallery = new_gallery(ORIGIN).enroll(vectors, ["a", "b", "c"], names_of(3))
    for name in "ab":
        nearest = gallery.verify_identity(gallery.embeddings[0], name).nearest
        assert nearest is not None
        assert nearest[0] == name


# What its thresholds are worth


@pytest.mark.parametrize(("people", "images"), [(5, 4), (3, 2), (4, 1), (13, 3)])
def test_own_and_other_scores_are_those_of_what_an_image_has_no_part_in(people: int, images: int) -> None:
    gallery = filled(people, images)
    embeddings, numbers = gallery.embeddings.astype(np.float64), gallery.numbers
    own, other = own_and_other(enrolled_of(gallery))
    for row, mine in enumerate(numbers):
        outside = numbers % min(people, 10) != mine % min(people, 10)
        scatter = slow_scatter(gallery.embeddings[outside], numbers[outside])
        others = [embeddings[numbers == number].mean(0) for number in range(people) if number != mine]
        assert other[row] == pytest.approx(max(slow_score(embeddings[row], mean, scatter) for mean in others), abs=1e-5)
        rest = (numbers == mine) & (np.arange(len(numbers)) != row)
        if rest.any():
            score = slow_score(embeddings[row], embeddings[rest].mean(0), scatter)
            assert own[row] == pytest.approx(score, abs=1e-5)
        else:
            assert own[row] == -np.inf


def test_the_threshold_and_its_figures_are_what_leaving_out_finds() -> None:
    gallery, rate = filled(12, 4, width=16, noise=1.0).refit(0.3), 0.3
    point, numbers = gallery.points["identify"], gallery.numbers
    own, other = own_and_other(enrolled_of(gallery))
    assert point.false_accept == rate
    assert point.threshold == fit_threshold(Comparisons(other, numbers, numbers), rate)
    hits, alarms = [], []
    for row, mine in enumerate(numbers):
        outside = numbers != mine
        limit = fit_threshold(Comparisons(other[outside], numbers[outside], numbers[outside]), rate)
        hits.append(own[row] > other[row] and own[row] >= limit)
        alarms.append(other[row] >= limit)
    figures = point.figures
    assert figures["dir"].value == pytest.approx(np.mean(hits))
    assert figures["rank_1"].value == pytest.approx(np.mean(own > other))
    assert figures["far"].value == pytest.approx(np.mean(alarms))
    assert 0 < figures["dir"].value < figures["rank_1"].value < 1  # so hard that each can be told from the other
    assert 0 < figures["far"].value <= rate
    assert figures["dir"].method == figures["far"].method == "Wilson over 12 identities"


def test_verification_thresholds_are_fitted_to_all_comparisons_of_two_identities() -> None:
    gallery = filled(10, 4, width=6, noise=0.8)
    embeddings, numbers = gallery.embeddings.astype(np.float64), gallery.numbers
    images, identities = [], []
    for row, mine in enumerate(numbers):
        scatter = slow_scatter(gallery.embeddings[numbers != mine], numbers[numbers != mine])  # ten folds of one
        for number in range(10):
            if number != mine:
                score = slow_score(embeddings[row], embeddings[numbers == number].mean(0), scatter)
                identities.append((score, mine, number))
        for later in range(row + 1, 40):
            if numbers[later] != mine:
                images.append((slow_score(embeddings[row], embeddings[later], scatter), mine, numbers[later]))
    for question, rows, genuine in (("verify_images", images, 10 * 6), ("verify_identity", identities, 40)):
        score, first, second = (np.array(column) for column in zip(*rows, strict=True))
        point = gallery.points[question]
        assert point.threshold == pytest.approx(fit_threshold(Comparisons(score, first, second), 0.05), abs=1e-5)
        assert point.figures.keys() == {"fnmr", "fmr"}
        assert point.figures["fnmr"].n == genuine
        assert point.figures["fmr"].n == len(rows)
        assert point.figures["fmr"].value == pytest.approx(0.05, abs=0.03)


def test_single_images_of_identities_give_false_accepts_alone() -> None:
    gallery = filled(30, 1)
    assert gallery.points["identify"].figures.keys() == {"far"}
    assert gallery.points["verify_identity"].figures.keys() == {"fmr"}
    assert gallery.points["verify_images"].figures.keys() == {"fmr"}


def test_so_few_identities_give_the_lowest_rate_that_they_support() -> None:
    gallery = filled(4, 3).refit(0.001)
    assert gallery.false_accept == 0.001
    # Without one of them, three strangers are left, and three pairs.
    assert [point.false_accept for point in gallery.points.values()] == [pytest.approx(1 / 4)] * 3
    many = filled(25, 2).refit(0.001)
    assert many.points["identify"].false_accept == pytest.approx(1 / 25)
    assert many.points["verify_images"].false_accept == pytest.approx(1 / (24 * 23 / 2 + 1))


def test_so_many_identities_and_no_fewer_support_a_rate() -> None:
    for count in range(3, 9):
        points = filled(count, 2).refit(1e-6).points
        assert thresholds.least_rate(count) == pytest.approx(max(point.false_accept for point in points.values()))
    for rate, count in ((0.5, 3), (0.4, 4), (0.25, 4), (0.2, 5), (0.1, 10), (0.01, 100), (0.0007, 1429)):
        assert thresholds.identities_needed(rate) == count
        assert thresholds.least_rate(count) <= rate < thresholds.least_rate(count - 1)
    for rate, count in ((0.5, 3), (0.26, 4), (0.05, 8), (0.01, 16), (0.001, 47)):
        assert thresholds.identities_paired(rate) == count
        assert 1 / ((count - 1) * (count - 2) / 2 + 1) <= rate
        assert count == 3 or 1 / ((count - 2) * (count - 3) / 2 + 1) > rate


def test_two_identities_cannot_be_told_from_strangers() -> None:
    gallery = filled(2, 5)
    assert gallery.points == {}
    with pytest.raises(UsageError, match="at least 3 identities must be, not 2; enroll more"):
        gallery.identify(gallery.embeddings[:1])
    with pytest.raises(UsageError, match="Nobody is enrolled"):
        new_gallery(ORIGIN).search(gallery.embeddings[:1])


def test_of_many_images_whole_identities_are_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(thresholds, "MOST_COMPARED", 30)
    gallery = filled(20, 5)
    rows = thresholds._some_rows(gallery.numbers, gallery.hashes)
    assert len(rows) == 30
    assert np.bincount(gallery.numbers[rows]).tolist().count(5) == 6
    assert gallery.refit(0.1).points["verify_images"].figures["fnmr"].n == 6 * 10
    many = gallery.refit(0.02).points["verify_images"]  # its pairs need 12 identities, so that each gives fewer images
    assert many.figures["fnmr"].n == 15 * 1
    assert many.false_accept == 0.02
    uneven = thresholds._some_rows(np.repeat(np.arange(3), 500), names_of(1500))
    assert np.bincount(np.repeat(np.arange(3), 500)[uneven]).tolist() == [10, 10, 10]


# Who is in it


def test_the_order_of_enrolling_changes_nothing(tmp_path: Path) -> None:
    vectors, labels = crowd(6, 4)
    hashes = names_of(24)
    once = new_gallery(ORIGIN).enroll(vectors, labels, hashes)
    order = np.random.default_rng(1).permutation(24)
    bit = new_gallery(ORIGIN)
    for rows in np.split(order, 4):
        bit = bit.enroll(vectors[rows], [labels[row] for row in rows], [hashes[row] for row in rows])
    assert same(once, bit)
    save_gallery(once, tmp_path / "once")
    save_gallery(bit, tmp_path / "bit")
    written = [{file.name: file.read_bytes() for file in (tmp_path / name).iterdir()} for name in ("once", "bit")]
    assert written[0] == written[1]


def test_who_is_removed_was_never_there() -> None:
    gallery = filled(6, 4)
    kept = [
        row for row, label in enumerate(gallery.labels) if label != "p2" and gallery.hashes[row] != gallery.hashes[0]
    ]
    never = new_gallery(ORIGIN, 0.05).enroll(
        gallery.embeddings[kept], [gallery.labels[row] for row in kept], [gallery.hashes[row] for row in kept]
    )
    assert same(gallery.remove(["p2"], [gallery.hashes[0]]), never)
    assert gallery.remove(gallery.identities).labels == ()
    again = gallery.remove(gallery.identities).enroll(gallery.embeddings, gallery.labels, gallery.hashes)
    assert same(again, gallery)
    with pytest.raises(UsageError, match="'p22' is not enrolled in the gallery; its `identities` are all who are"):
        gallery.remove(["p22"])
    with pytest.raises(UsageError, match="No image of hash ff is enrolled"):
        gallery.remove(hashes=["ff"])


def test_what_cannot_be_enrolled_is_refused_in_one_sentence() -> None:
    gallery = filled(3, 2)
    one = gallery.embeddings[:1]
    with pytest.raises(UsageError, match="is enrolled already or given twice; an image counts once"):
        gallery.enroll(one, ["p0"], gallery.hashes[:1])
    with pytest.raises(UsageError, match="is enrolled already or given twice"):
        gallery.enroll(gallery.embeddings[:2], ["p0", "p0"], ["aa", "aa"])
    with pytest.raises(UsageError, match="An identity must have a name"):
        gallery.enroll(one, [" "], ["aa"])
    with pytest.raises(UsageError, match="one label and one hash for each vector, not 2 and 1 for 1"):
        gallery.enroll(one, ["p0", "p1"], ["aa"])
    with pytest.raises(UsageError, match=r"must be \[M, 8\], at least one, not \[1, 5\]"):
        gallery.enroll(np.ones((1, 5)), ["p0"], ["aa"])
    with pytest.raises(UsageError, match="finite and not all zeros"):
        gallery.enroll(np.zeros((1, 8)), ["p0"], ["aa"])
    with pytest.raises(UsageError, match="finite and not all zeros"):
        gallery.enroll(np.full((1, 8), np.nan), ["p0"], ["aa"])
    with pytest.raises(UsageError, match="must be above 0 and below 1, not 2"):
        gallery.refit(2)
    with pytest.raises(UsageError, match="top_k must be at least 1, not 0"):
        gallery.search(one, 0)


@pytest.mark.parametrize(
    "other",
    [
        {"weights": replace(WEIGHTS, sha256="cd" * 32)},
        {"views": "center"},
        {"preprocessing": replace(PREPROCESSING, fit="pad").to_json()},
    ],
)
def test_embeddings_of_another_network_are_refused(other: dict[str, Any]) -> None:
    gallery = filled(3, 2)
    with pytest.raises(UsageError, match="cannot be compared with those of toy"):
        gallery.refuse_other(replace(ORIGIN, **other))
    gallery.refuse_other(replace(ORIGIN, file="/elsewhere/toy.safetensors", weights=replace(WEIGHTS, source="a copy")))


# How directions count


def test_what_varies_within_identities_counts_less_and_between_them_more() -> None:
    rng = np.random.default_rng(2)
    centers = rng.standard_normal((30, 1, 8)) * ([0.3] * 4 + [0.0] * 4)
    images = unit_rows(1 + centers + rng.standard_normal((30, 12, 8)) * ([0.05] * 4 + [0.6] * 4))
    numbers = np.repeat(np.arange(30), 6)
    seen, new = images[:, :6].reshape(-1, 8), images[:, 6:].reshape(-1, 8)
    gallery = new_gallery(ORIGIN).enroll(seen, [f"{number:02}" for number in numbers], names_of(180))
    plain = replace(gallery, whitening=np.eye(8, dtype=np.float32))
    right = [np.mean(each.search(new)[0][:, 0] == numbers) for each in (plain, gallery)]
    assert right[1] > right[0] + 0.2
    assert gallery.points["identify"].figures["rank_1"].value == pytest.approx(right[1], abs=0.1)


def test_few_images_and_single_ones_leave_directions_as_they_are() -> None:
    vectors = np.repeat(np.eye(64, dtype=np.float32)[:3], 2, 0) * np.float32([1, -1] * 3)[:, None]  # of mean 0
    assert np.array_equal(whitening_of(vectors, np.arange(6)), np.eye(64))
    assert np.array_equal(whitening_of(np.repeat(vectors, 2, 0), np.repeat(np.arange(6), 2)), np.eye(64))
    noisy = unit_rows(np.repeat(vectors, 2, 0) + 0.05 * np.random.default_rng(0).standard_normal((12, 64)))
    assert np.linalg.cond(whitening_of(noisy, np.repeat(np.arange(6), 2))) < 2


def test_what_all_have_in_common_tells_none_from_another() -> None:
    vectors, _ = crowd(20, 1, width=64)
    common = np.full(64, 1 / 8, np.float32)
    images = unit_rows(vectors + 3 * common)
    whitening = whitening_of(images, np.arange(20))
    plain, moved = images @ images.T, placed(images, whitening) @ placed(images, whitening).T
    apart = ~np.eye(20, dtype=bool)
    assert plain[apart].min() > 0.7
    assert abs(moved[apart].mean()) < 0.1


def test_whitenings_of_folds_are_those_of_the_other_identities() -> None:
    vectors, _ = crowd(23, 3)
    numbers = np.repeat(np.arange(23), 3)
    found = whitenings_without(vectors, numbers)
    assert len(found) == 10
    for fold, whitening in enumerate(found):
        outside = numbers % 10 != fold
        assert whitening == pytest.approx(whitening_of(vectors[outside], numbers[outside]), abs=1e-5)


# Its folder


def test_a_saved_gallery_is_the_same_and_may_be_moved(tmp_path: Path) -> None:
    gallery = filled(5, 3)
    save_gallery(gallery, tmp_path / "one")
    save_gallery(gallery.remove(["p1"]), tmp_path / "one")
    assert len(list((tmp_path / "one").iterdir())) == 2
    shutil.move(tmp_path / "one", tmp_path / "other")
    loaded = load_gallery(tmp_path / "other")
    assert same(loaded, gallery.remove(["p1"]))
    content = json.loads((tmp_path / "other" / "gallery.json").read_text("utf-8"))
    assert content["network"]["weights"]["licence"] == "Apache-2.0"
    assert content["network"]["weights"]["sha256"] == WEIGHTS.sha256
    assert sorted(content["images"]) == ["p0", "p2", "p3", "p4"]
    empty = gallery.remove(gallery.identities)
    save_gallery(empty, tmp_path / "other")
    assert load_gallery(tmp_path / "other").labels == ()


@pytest.mark.parametrize("fails", ["embeddings-", "gallery.json"])
def test_a_gallery_that_cannot_be_written_leaves_the_old_one(
    fails: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = filled(4, 3)
    save_gallery(old, tmp_path / "g")
    write = gallery_folder.write_file

    def full(path: Path, content: bytes | str) -> None:
        if path.name.startswith(fails):
            raise OSError(28, "No space left on device", str(path))
        write(path, content)

    monkeypatch.setattr(gallery_folder, "write_file", full)
    with pytest.raises(OSError, match="No space left"):
        save_gallery(old.remove(["p0"]), tmp_path / "g")
    assert same(load_gallery(tmp_path / "g"), old)
    monkeypatch.undo()
    save_gallery(old.remove(["p0"]), tmp_path / "g")
    assert same(load_gallery(tmp_path / "g"), old.remove(["p0"]))


def test_a_gallery_that_another_process_changed_meanwhile_is_left_as_it_is(tmp_path: Path) -> None:
    first, folder = filled(4, 3), tmp_path / "g"
    replace_gallery(None, first, folder)
    (folder / "embeddings-0123456789abcdef.safetensors").write_bytes(b"what a kill left of somebody who was removed")
    other = first.remove(["p0"])
    replace_gallery(load_gallery(folder), other, folder)
    assert sorted(path.name.partition("-")[0] for path in folder.iterdir()) == ["embeddings", "gallery.json"]
    for before in (first, None):
        with pytest.raises(DataError, match=r"was changed by another process meanwhile, so nothing was written; try"):
            replace_gallery(before, first.remove(["p1"]), folder)
    assert same(load_gallery(folder), other)


def test_what_a_kill_left_of_the_first_gallery_is_in_nobodys_way(tmp_path: Path) -> None:
    assert is_free(tmp_path / "new")
    (tmp_path / "embeddings-0123456789abcdef.safetensors").write_bytes(b"")
    (tmp_path / "gallery.lock").touch()
    assert is_free(tmp_path)
    (tmp_path / "notes.txt").touch()
    assert not is_free(tmp_path)
    assert not is_free(tmp_path / "notes.txt")


def test_a_gallery_that_is_replaced_while_it_is_read_is_read_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_gallery(filled(4, 3), tmp_path)
    after, read = filled(5, 3), Path.read_text

    def replaced_after(path: Path, *words: Any) -> str:
        content = read(path, *words)
        monkeypatch.setattr(Path, "read_text", read)
        save_gallery(after, tmp_path)
        return content

    monkeypatch.setattr(Path, "read_text", replaced_after)
    assert same(load_gallery(tmp_path), after)


def change(path: Path, **values: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text("utf-8")) | values), "utf-8")


def test_a_damaged_gallery_is_refused_in_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"is not a gallery: it has no gallery\.json"):
        load_gallery(tmp_path)
    gallery, folder = filled(4, 3), tmp_path / "g"
    path = folder / "gallery.json"

    def refused(match: str) -> None:
        with pytest.raises(DataError, match=match) as caught:
            load_gallery(folder)
        assert "\n" not in str(caught.value)
        save_gallery(gallery, folder)

    save_gallery(gallery, folder)
    [file] = folder.glob("*.safetensors")
    file.write_bytes(file.read_bytes()[:-4] + b"\0\0\0\0")
    refused("its bytes are not those")
    file.unlink()
    refused("is missing, so the gallery cannot be read")
    path.write_text("{", "utf-8")
    refused("is damaged")
    change(path, format=2)
    refused("format 2, not 1: another version")
    change(path, images={"p0": ["aa"]})
    refused("1 images for embeddings")
    change(path, embeddings={"file": "../embeddings-x.safetensors", "sha256": ""})
    refused("it names the file")
    change(path, network={"backbone": "toy"})
    refused("is damaged: 'file'")
    change(path, thresholds={"identify": {}})
    refused("is damaged: 'threshold'")
    assert same(load_gallery(folder), gallery)


# Embeddings


def people_folder(root: Path, people: int = 6, images: int = 4) -> Path:
    """A folder a person; images of one differ by noise."""
    for number in range(people):
        photos_of(number, root / f"p{number}", images)
    return root


def photos_of(person: int, folder: Path, images: int) -> Path:
    rng, face = np.random.default_rng(person), scene(person, 48, 36)
    for index in range(images):
        save(folder / f"{index}.png", (face + rng.normal(0, 25, face.shape)).clip(0, 255).astype(np.uint8))
    return folder


def test_an_embedding_is_the_mean_direction_of_its_views(tmp_path: Path) -> None:
    table = hashed(read_table(people_folder(tmp_path, 2, 20)))
    found = embed_table(table, Extractor(Toy(), "ab", PREPROCESSING, find_views("flip")))
    assert found.unreadable == ()
    assert found.vectors.shape == (40, 108)
    assert np.linalg.norm(found.vectors, axis=1) == pytest.approx(1, abs=1e-6)
    for row in (0, 33):
        image = read_image(table.samples["source"].iat[row])
        both = []
        for pixels in (image, image[:, ::-1]):
            flat = Toy().features(torch.from_numpy(((pixels / 255 - 0.5) / 0.25).transpose(2, 0, 1)[None]).float())[0]
            both.append(flat.numpy() / np.linalg.norm(flat.numpy()))
        mean = np.mean(both, 0)
        assert found.vectors[row] == pytest.approx(mean / np.linalg.norm(mean), abs=1e-5)


def read_image(path: str) -> NDArray[np.uint8]:
    from tenfold.images.content import read_bytes
    from tenfold.images.decode import decode_image

    return PREPROCESSING.prepare(decode_image(read_bytes(path), channels="rgb"))[0]


def test_images_that_cannot_be_read_are_named_and_left_out(tmp_path: Path) -> None:
    folder = people_folder(tmp_path, 2, 2)
    (folder / "p0" / "0.png").write_bytes(b"no image")
    extractor = Extractor(Toy(), "ab", PREPROCESSING, find_views("center"))
    found = embed_table(read_images([folder, folder / "gone.png"]), extractor)
    assert len(found.table) == len(found.vectors) == 3
    gone, broken = found.unreadable
    assert gone.startswith(str(folder / "gone.png"))
    assert "0.png: it is no image" in broken
    with pytest.raises(DataError, match="None of the 1 images can be read; the first: Cannot decode"):
        embed_table(read_images(folder / "p0" / "0.png"), extractor)


def test_views_count_equally_however_long_their_features() -> None:
    features = np.array([[[3.0, 0.0], [0.0, 0.5]]], np.float32)
    assert mean_direction(features)[0] == pytest.approx([np.sqrt(0.5)] * 2)


# The command


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> None:
    """The command, with a toy for a network; its "other" has other weights."""

    def load(backbone: str, file: str = "") -> Embedder:
        digest = ("cd" if backbone == "other" else "ab") * 32
        extractor = Extractor(Toy(), digest, PREPROCESSING, find_views("flip"))
        origin = replace(ORIGIN, backbone=backbone, file=file, weights=replace(WEIGHTS, sha256=digest))
        return Embedder(origin, lambda table: embed_table(table, extractor))

    monkeypatch.setattr(embed, "load_embedder", load)
    monkeypatch.setitem(COMMANDS, "gallery", ("tenfold.commands.gallery:gallery", "Find who is enrolled."))


def run(capture: Capture, *words: object) -> tuple[int, str, str]:
    code = main(["gallery", *map(str, words)])
    return code, *capture.readouterr()


@pytest.mark.usefixtures("toy")
def test_the_whole_path(tmp_path: Path, capsys: Capture) -> None:
    folder, people = tmp_path / "team", people_folder(tmp_path / "people", 6, 5)
    photos_of(11, tmp_path / "new", 5)  # one of the most who are like none of the six
    photo = tmp_path / "photo.png"
    shutil.move(people / "p3" / "4.png", photo)
    code, out, err = run(capsys, "enroll", folder, people)
    assert code == 0
    assert "Enrolled 29 images." in out
    assert "6 identities and 29 images" in out
    assert "toy: drawn in a test, sha256 abababab, licence Apache-2.0" in out
    assert "Next: tenfold gallery identify" in out
    assert "6 identities support a false accept rate of 16.7 % at best for all three questions, not the 1 %" in err
    assert "that was asked for; 100 identities would." in err

    code, out, _ = run(capsys, "identify", folder, photo, tmp_path / "new", "--top-k", "2", "--json")
    found = json.loads(out)
    assert code == 0
    assert [image["identity"] for image in found["images"]] == ["p3", *[None] * 5]
    assert found["images"][0]["path"] == str(photo)
    assert all(len(image["top"]) == 2 for image in found["images"])
    assert found["images"][0]["top"][0]["score"] >= found["threshold"]
    code, out, _ = run(capsys, "identify", folder, photo, tmp_path / "new")
    assert code == 0
    assert out.count("none of these") == 5

    others = ["p0", "p1", "p2", "p4", "p5"]
    assert run(capsys, "verify", folder, photo, "--as", "p3")[0] == 0
    claims = [run(capsys, "verify", folder, photo, "--as", name) for name in others]
    assert sum(code == 0 for code, _, _ in claims) <= 1  # of six, one pair may be rather like each other
    assert all(
        (code == 1) == (f"{photo} does not pass as {name}, and p3 is more alike (" in out)
        for name, (code, out, _) in zip(others, claims, strict=True)
    )
    assert run(capsys, "verify", folder, photo, people / "p3" / "0.png")[0] == 0
    code, out, _ = run(capsys, "verify", folder, photo, photo, "--json")
    assert (code, json.loads(out)["score"]) == (0, pytest.approx(1))
    pairs = [run(capsys, "verify", folder, photo, people / name / "0.png", "--json") for name in others]
    assert sum(code == 0 for code, _, _ in pairs) <= 1
    assert all(json.loads(out)["same"] == (code == 0) for code, out, _ in pairs)

    code, out, _ = run(capsys, "enroll", folder, tmp_path / "new", "--as", "Zoë", "--false-accept", "10%", "--json")
    assert (code, json.loads(out)["enrolled"], json.loads(out)["false_accept"]) == (0, 5, 0.1)
    code, out, _ = run(capsys, "identify", folder, tmp_path / "new", "--json")
    assert {image["identity"] for image in json.loads(out)["images"]} == {"Zoë"}

    code, out, _ = run(capsys, "remove", folder, "p0", "--image", people / "p1" / "0.png", "--json")
    assert (code, json.loads(out)["removed"], json.loads(out)["gone"]) == (0, 6, ["p0"])
    code, out, _ = run(capsys, "show", folder, "--json")
    shown = json.loads(out)
    assert shown["identities"] == {"p1": 4, "p2": 5, "p3": 4, "p4": 5, "p5": 5, "Zoë": 5}
    assert shown["thresholds"]["identify"]["figures"]["dir"].keys() >= {"value", "low", "high", "n", "method"}
    code, out, _ = run(capsys, "show", folder)
    assert (code, "p5" in out, "6 identities and 28 images" in out) == (0, True, True)
    code, out, _ = run(capsys, "enroll", folder, "--false-accept", "20%", "--json")
    assert (code, json.loads(out)["false_accept"], json.loads(out)["enrolled"]) == (0, 0.2, 0)


@pytest.mark.usefixtures("toy")
def test_who_passes_as_somebody_may_be_more_like_another_and_that_is_said(tmp_path: Path, capsys: Capture) -> None:
    """At a threshold for nine of ten strangers many pass; `identify` then names another one."""
    people, folder = people_folder(tmp_path / "people", 6, 3), tmp_path / "loose"
    assert run(capsys, "enroll", folder, people, "--false-accept", "90%")[0] == 0
    photo = people / "p0" / "0.png"
    extractor = Extractor(Toy(), "ab" * 32, PREPROCESSING, find_views("flip"))
    known, [vector] = load_gallery(folder), embed_table(hashed(read_images([photo])), extractor).vectors
    [(name, score)] = known.identify(vector[None])[0].top
    assert name == "p0"
    passed = []
    for other in known.identities[1:]:
        code, out, _ = run(capsys, "verify", folder, photo, "--as", other)
        found = known.verify_identity(vector, other)
        assert code == int(not found.same)
        if found.same:
            passed.append(other)
            share = "which at most about 90 % of comparisons of an image with another identity than its own are"
            assert out == (
                f"{photo} passes as {other}, but p0 is more alike ({score:.3f}): score {found.score:.3f}, yes from "
                f"{found.point.threshold:.3f} on, {share} expected to reach.\n"
            )
        answer = json.loads(run(capsys, "verify", folder, photo, "--as", other, "--json")[1])
        assert answer["nearest"] == {"identity": "p0", "score": pytest.approx(score, abs=1e-5)}
    assert passed
    out = run(capsys, "verify", folder, photo, "--as", "p0")[1]
    assert f"{photo} passes as p0, the most alike of all enrolled: score {score:.3f}, yes from" in out
    pair = run(capsys, "verify", folder, photo, people / "p0" / "1.png", "--json")[1]
    assert json.loads(pair)["nearest"] is None


@pytest.mark.usefixtures("toy")
def test_a_share_that_is_promised_is_never_less_than_what_holds(tmp_path: Path, capsys: Capture) -> None:
    """Eight identities support 1 / 8, 12.5 %, and seven 1 / 7: 14.29 % is said to be 14.3 %, not 14 %."""
    code, out, err = run(capsys, "enroll", tmp_path / "g", people_folder(tmp_path / "people", 7, 2))
    assert code == 0
    assert "7 identities support a false accept rate of 14.3 % at best for all three questions, not the 1 %" in err
    threshold = load_gallery(tmp_path / "g").points["identify"].threshold
    share = "which at most about 14.3 % of strangers' images are expected to reach"
    assert f"Is it anyone enrolled: yes from {threshold:.3f} on, {share}\n" in out
    assert "over 7 identities" in out
    assert "group" not in out
    out = run(capsys, "identify", tmp_path / "g", tmp_path / "people" / "p0")[1]
    assert f"A name is given from a score of {threshold:.3f} on, {share}.\n" in out


@pytest.mark.usefixtures("toy")
def test_what_so_few_support_is_said_before_an_image_is_looked_at(
    tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    people, real, said = people_folder(tmp_path / "people", 3, 2), embed.load_embedder, list[str]()

    def load(*given: str) -> Embedder:
        loaded = real(*given)
        return Embedder(loaded.origin, lambda table: said.append(capsys.readouterr().err) or loaded.embed(table))

    monkeypatch.setattr(embed, "load_embedder", load)
    code, out, err = run(capsys, "enroll", tmp_path / "g", people, "--false-accept", "40%")
    best = "3 identities support a false accept rate of 50 % at best for all three questions"
    best = f"{best}, not the 40 % that was asked for; 4 identities would."
    assert (code, said.pop(), best in err, best in out) == (0, f"{best}\n", False, False)
    asked = "identities support no false accept rate (3 are the least), and 1 % was asked for; 100 identities would."
    shutil.rmtree(people / "p2")
    assert run(capsys, "enroll", tmp_path / "h", people, "--false-accept", "1%")[0] == 0
    assert said.pop() == f"2 {asked}\n"
    assert run(capsys, "enroll", tmp_path / "i", people)[0] == 0  # one may be the first of many
    assert said.pop() == ""
    assert run(capsys, "show", tmp_path / "g")[2] == f"{best}\n"
    assert run(capsys, "enroll", tmp_path / "g", "--false-accept", "20%")[2].endswith(
        "20 % that was asked for; 5 identities would.\n"
    )


@pytest.mark.usefixtures("toy")
def test_images_twice_unreadable_and_of_nobody(tmp_path: Path, capsys: Capture) -> None:
    folder, people = tmp_path / "team", people_folder(tmp_path / "people", 3, 3)
    shutil.copy(people / "p0" / "0.png", people / "p0" / "copy.png")
    (people / "p3").mkdir()
    (people / "p4").mkdir()
    (people / "p4" / "broken.png").write_bytes(b"no image")
    code, out, err = run(capsys, "enroll", folder, people, "--json")
    assert code == 1
    assert json.loads(out)["enrolled"] == 9
    [reason] = json.loads(out)["unreadable"]
    assert "broken.png: it is no image" in reason
    assert "class folders without an image (1): p3" in err
    assert re.search(r"enrolled already or given twice: \S*p0/(0|copy)\.png\.\n", err)
    assert "No image of p4 can be read, so p4 is not enrolled." in err
    code, out, err = run(capsys, "enroll", folder, people / "p1", "--as", "p1", "--json")
    assert (code, json.loads(out)["enrolled"]) == (0, 0)
    assert re.search(r"given twice: \S*p1/0\.png, \S*p1/1\.png, \S*p1/2\.png\.\n", err)
    code, _, err = run(capsys, "enroll", folder, people / "p1" / "0.png", "--as", "p2")
    assert code == 3
    assert "is to be enrolled as p2, but the same image is one of p1" in err
    code, out, err = run(capsys, "identify", folder, people / "p1" / "0.png", people / "p4" / "broken.png", "--json")
    assert code == 1
    assert len(json.loads(out)["images"]) == len(json.loads(out)["unreadable"]) == 1
    assert run(capsys, "identify", folder, people / "p4" / "broken.png")[0] == 3
    assert run(capsys, "verify", folder, people / "p0" / "0.png", people / "p4" / "broken.png")[0] == 3


@pytest.mark.usefixtures("toy")
@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (("enrol", "{g}", "x"), 2, "did you mean 'enroll'?"),
        (("enroll", "{g}"), 2, "Say whom to enroll"),
        (("enroll", "{g}", "a", "b"), 2, "Enroll one folder or listing at a time"),
        (("enroll", "{people}", "{people}"), 2, "is there and is no gallery"),
        (("enroll", "{g}", "{people}", "--backbone", "other"), 2, "cannot be compared with those of other"),
        (("enroll", "{g}", "{people}", "--top-k", "3"), 2, "takes no --top-k; it is for identify."),
        (("enroll", "{g}", "{people}", "--false-accept", "0"), 2, "must be above 0 and below 1, not 0"),
        (("enroll", "{g}", "{people}", "--as", "x", "--reader", "folder"), 2, "need no --reader"),
        (("enroll", "{g}", "{people}/nowhere"), 3, "There is no file or folder"),
        (("enroll", "{g}", "{people}/p0"), 3, "The images in {people}/p0 lie in no class folders; make a folder for"),
        (("enroll", "{g}", "{people}/p0"), 3, "path,label. Images of one identity are read with --as NAME."),
        (("enroll", "{g}", "{people}/p0/0.png"), 3, ". Images of one identity are read with --as NAME."),
        (("enroll", "{g}", "{people}/p0/0.png", "--as", "p1"), 3, "is to be enrolled as p1, but the same image is one"),
        (("enroll", "{people}/p0/0.png/in", "{people}"), 2, "as {people}/p0/0.png is a file; give a gallery, or a new"),
        (("identify", "{g}"), 2, "Say what to identify"),
        (("identify", "{people}", "{people}"), 3, "is not a gallery"),
        (("identify", "{g}", "{people}", "--top-k", "0"), 2, "--top-k must be at least 1"),
        (("verify", "{g}", "{people}/p0/0.png"), 2, "two images, or one image and --as"),
        (("verify", "{g}", "{people}/p0", "{people}/p1"), 2, "single images, and {people}/p0 is a folder; name the i"),
        (("verify", "{g}", "{people}/p0/0.png", "{people}/p0/none.png"), 3, "none.png cannot be read: No such file"),
        (("verify", "{g}", "{people}/p0/0.png", "--as", "p9"), 2, "'p9' is not enrolled in {g}; did you mean 'p"),
        (("verify", "{g}", "{people}/p0/0.png", "--as", "Zoë"), 2, "; tenfold gallery show {g} lists who is."),
        (("remove", "{g}"), 2, "Say whom to remove"),
        (("remove", "{g}", "p9"), 2, "'p9' is not enrolled in {g}; tenfold gallery show {g} lists who is."),
        (("remove", "{g}", "--image", "{people}/p0/none.png"), 3, "cannot be read"),
        (
            ("remove", "{g}", "--image", "{g}/gallery.json"),
            2,
            "is not enrolled in {g}, so it cannot be removed; an image",
        ),
        (("remove", "{g}", "--as", "p0"), 2, "takes no --as; it is for enroll and verify."),
        (("show", "{g}", "p0"), 2, "takes the gallery alone"),
    ],
)
def test_what_is_not_allowed_is_said_in_one_sentence(
    words: tuple[str, ...], code: int, sentence: str, small: Path, capsys: Capture
) -> None:
    before = {file.name: file.read_bytes() for file in (small / "g").iterdir()}
    found, out, err = run(capsys, *(word.format(g=small / "g", people=small / "people") for word in words))
    assert (found, out) == (code, "")
    assert sentence.format(g=small / "g", people=small / "people") in err
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert {file.name: file.read_bytes() for file in (small / "g").iterdir()} == before


@pytest.mark.usefixtures("toy")
def test_what_is_wrong_with_a_file_beside_flat_images_is_said(small: Path, tmp_path: Path, capsys: Capture) -> None:
    flat = tmp_path / "p0"
    shutil.copytree(small / "people" / "p0", flat)
    annotations = flat / "_annotations.coco.json"
    annotations.write_text('{"images": [{"id": 1, "file_na', "utf-8")
    hint = " Images of one identity are read with --as NAME.\n"
    for words, told in (((), True), (("--reader", "coco"), False)):
        code, _, err = run(capsys, "enroll", small / "g", flat, *words)
        assert (code, err.endswith(hint)) == (3, told)
        assert err.startswith(f"error: {annotations}, line 1 is damaged")


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three people's folders, and a gallery of them."""
    root = tmp_path_factory.mktemp("small")
    table = hashed(read_table(people_folder(root / "people", 3, 2)))
    found = embed_table(table, Extractor(Toy(), "ab" * 32, PREPROCESSING, find_views("flip")))
    labels, hashes = (table.samples[name].tolist() for name in ("label", "hash"))
    save_gallery(new_gallery(ORIGIN).enroll(found.vectors, labels, hashes), root / "g")
    return root


@pytest.mark.usefixtures("toy")
def test_too_few_identities_are_said_to_be(tmp_path: Path, capsys: Capture) -> None:
    people = people_folder(tmp_path / "people", 2, 2)
    code, out, _ = run(capsys, "enroll", tmp_path / "g", people)
    assert (code, "No threshold yet: at least 3 identities" in out) == (0, True)
    code, out, _ = run(capsys, "identify", tmp_path / "g", people / "p0", people / "p1", "--top-k", "2", "--json")
    found = json.loads(out)
    assert (code, found["threshold"], found["false_accept"]) == (0, None, None)
    assert [image["identity"] for image in found["images"]] == [None] * 4
    assert [image["top"][0]["identity"] for image in found["images"]] == ["p0"] * 2 + ["p1"] * 2
    assert all(one["top"][0]["score"] > one["top"][1]["score"] for one in found["images"])
    code, out, _ = run(capsys, "identify", tmp_path / "g", people / "p0")
    assert (code, out.count("no threshold yet"), "none of these" in out) == (0, 2, False)
    assert "so that some play strangers. Nobody is named: the nearest is shown, whoever it is." in out
    code, _, err = run(capsys, "verify", tmp_path / "g", people / "p0" / "0.png", "--as", "p0")
    assert (code, "enroll more" in err) == (2, True)
    assert run(capsys, "remove", tmp_path / "g", "p0", "p1")[0] == 0
    code, _, err = run(capsys, "identify", tmp_path / "g", people / "p0")
    assert (code, "Nobody is enrolled" in err) == (2, True)
