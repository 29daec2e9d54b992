"""Copies are found and named, different images are not called copies, and bursts hang together."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from sklearn.datasets import load_digits, load_sample_images

from tenfold.check.bursts import ALIKE, SECONDS, find_shots
from tenfold.check.candidates import all_turns, describe, find_candidates, turn_views
from tenfold.check.duplicates import SAME_PIXELS, Duplicate, find_duplicates
from tenfold.check.signature import COLORS, VIEW, Signatures, sign_image, stack_signatures
from tenfold.errors import DataError, UsageError

Pixels = NDArray[np.uint8]


@pytest.fixture(scope="module")
def photos() -> list[Pixels]:
    """Seven different photos, 160 x 200: tiles of the two that scikit-learn brings, without plain sky and blur."""
    tiles = []
    for image in load_sample_images().images:
        tiles += [image[y : y + 160, x : x + 200] for y in (0, 160) for x in (0, 200, 400)]
    return [np.ascontiguousarray(tiles[place]) for place in (0, 1, 3, 4, 5, 7, 10)]


def sign(images: list[Pixels]) -> Signatures:
    return stack_signatures([sign_image(image) for image in images])


def jpeg(image: Image.Image, quality: int) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return Image.open(buffer).convert("RGB")


def marked(image: Image.Image) -> Image.Image:
    image = image.copy()
    ImageDraw.Draw(image).rectangle((120, 20, 165, 55), fill=(250, 240, 40))
    return image


CHANGES = {
    "turned by 90°": lambda image: image.transpose(Image.Transpose.ROTATE_270),
    "turned by 180°": lambda image: image.transpose(Image.Transpose.ROTATE_180),
    "turned by 270°": lambda image: image.transpose(Image.Transpose.ROTATE_90),
    "mirrored": lambda image: image.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
    "mirrored upside down": lambda image: image.transpose(Image.Transpose.FLIP_TOP_BOTTOM),
    "mirrored and turned by 90°": lambda image: image.transpose(Image.Transpose.FLIP_LEFT_RIGHT).transpose(
        Image.Transpose.ROTATE_270
    ),
    "mirrored and turned by 270°": lambda image: image.transpose(Image.Transpose.FLIP_LEFT_RIGHT).transpose(
        Image.Transpose.ROTATE_90
    ),
    "cropped": lambda image: image.crop((20, 0, 200, 144)),
    "with a mark": marked,
    "turned grey": lambda image: image.convert("L").convert("RGB"),
    "brighter": lambda image: image.point(lambda value: min(round(value * 1.3), 255)),
    "darker": lambda image: image.point(lambda value: round(value * 0.7)),
    "resized": lambda image: image.resize((100, 80), Image.Resampling.BICUBIC),
    "recompressed": lambda image: jpeg(image, 30),
}


@pytest.mark.parametrize("relation", CHANGES)
@pytest.mark.parametrize("looking", [True, False], ids=["with pixels", "signatures only"])
def test_every_change_is_found_and_named(photos: list[Pixels], relation: str, looking: bool):
    copies = [np.asarray(CHANGES[relation](Image.fromarray(photo))) for photo in photos]
    pixels = (copies.__getitem__, photos.__getitem__) if looking else (None, None)
    found = find_duplicates(sign(photos), sign(copies), pixels=pixels[1], against_pixels=pixels[0])
    assert [(pair.first, pair.second) for pair in found] == [(row, row) for row in range(len(photos))]
    assert sum(pair.relation == relation for pair in found) >= 0.8 * len(found), {pair.relation for pair in found}


def test_different_photos_are_no_copies(photos: list[Pixels]):
    assert find_duplicates(sign(photos), pixels=photos.__getitem__) == []


def test_two_shots_of_one_scene_are_no_copies(photos: list[Pixels]):
    """The same large shapes, other leaves: what is small is drawn anew."""
    draw = np.random.default_rng(0)
    shots = []
    for photo in photos:
        large = (
            Image.fromarray(photo).resize((12, 10), Image.Resampling.BOX).resize((200, 160), Image.Resampling.BICUBIC)
        )
        leaves = Image.fromarray(draw.integers(0, 256, (40, 50, 3), dtype=np.uint8)).resize((200, 160))
        shots.append(np.asarray(Image.blend(large, leaves, 0.3)))
    again = [
        np.asarray(
            Image.blend(
                Image.fromarray(shot),
                Image.fromarray(draw.integers(0, 256, (40, 50, 3), np.uint8)).resize((200, 160)),
                0.3,
            )
        )
        for shot in shots
    ]
    assert find_duplicates(sign(shots), sign(again)) == []


def test_handwritten_digits_are_no_copies_of_each_other():
    digits = (load_digits().images[:400] * 15.9).astype(np.uint8)
    images = [np.repeat(digit[..., None], 3, 2) for digit in digits]
    larger = [np.asarray(Image.fromarray(image).resize((28, 28), Image.Resampling.BICUBIC)) for image in images]
    for drawn in (images, larger):
        assert len(find_duplicates(sign(drawn))) <= 1


def test_pairs_come_once_in_order(photos: list[Pixels]):
    turned = [np.ascontiguousarray(photo[::-1, ::-1]) for photo in photos]
    found = find_duplicates(sign(turned + photos))
    count = len(photos)
    assert [(pair.first, pair.second) for pair in found] == [(row, row + count) for row in range(count)]
    assert {pair.relation for pair in found} == {"turned by 180°"}


def test_equal_pixels_hang_on_the_first(photos: list[Pixels]):
    mirrored = np.ascontiguousarray(photos[0][:, ::-1])
    found = find_duplicates(sign([photos[0], photos[1], photos[0], mirrored, photos[0]]))
    assert [(pair.first, pair.second, pair.relation) for pair in found] == [
        (0, 2, SAME_PIXELS),
        (0, 3, "mirrored"),
        (0, 4, SAME_PIXELS),
    ]
    assert [pair.distance for pair in found][::2] == [0, 0]


def test_every_image_with_a_copy_elsewhere_is_named(photos: list[Pixels]):
    mirrored = np.ascontiguousarray(photos[0][:, ::-1])
    found = find_duplicates(sign([photos[0], photos[1], photos[0]]), sign([photos[2], mirrored, photos[0]]))
    assert [(pair.first, pair.second, pair.relation) for pair in found] == [
        (0, 1, "mirrored"),
        (0, 2, SAME_PIXELS),
        (2, 1, "mirrored"),
        (2, 2, SAME_PIXELS),
    ]


def test_blank_images_are_copies_only_where_every_pixel_is_equal():
    white, grey = np.full((40, 40, 3), 255, np.uint8), np.full((40, 40, 3), 90, np.uint8)
    images = [white, np.full((50, 40, 3), 255, np.uint8), white.copy(), grey, np.zeros((1, 1, 3), np.uint8)]
    assert find_duplicates(sign(images)) == [Duplicate(0, 2, SAME_PIXELS, 0.0)]


def test_tiny_and_grey_images_can_be_signed_and_found():
    tiny = np.random.default_rng(3).integers(0, 256, (6, 8, 8, 1), dtype=np.uint8).repeat(3, 3)
    mirrored = [np.ascontiguousarray(image[:, ::-1]) for image in tiny]
    found = find_duplicates(sign([*tiny]), sign(mirrored))
    assert [(pair.first, pair.second, pair.relation) for pair in found] == [(row, row, "mirrored") for row in range(6)]


def test_the_search_repeats_itself(photos: list[Pixels]):
    copies = [np.asarray(CHANGES["cropped"](Image.fromarray(photo))) for photo in photos]
    assert find_duplicates(sign(photos + copies)) == find_duplicates(sign(photos + copies))


def test_nothing_gives_nothing(photos: list[Pixels]):
    empty = stack_signatures([])
    assert len(empty) == 0
    assert find_duplicates(empty) == []
    assert find_duplicates(empty, sign(photos)) == find_duplicates(sign(photos), empty) == []
    assert find_shots([], empty, np.zeros(0), []) == ([], [])


def test_signatures_survive_a_file(photos: list[Pixels], tmp_path):
    signatures = sign(photos)
    np.savez(tmp_path / "signatures.npz", **signatures.to_arrays())
    with np.load(tmp_path / "signatures.npz", allow_pickle=False) as arrays:
        loaded = Signatures.from_arrays(arrays)
    for name, array in signatures.to_arrays().items():
        assert np.array_equal(loaded.to_arrays()[name], array)
    taken = loaded.take([3, 1])
    assert np.array_equal(taken.view, signatures.view[[3, 1]])
    assert sum(array.nbytes for array in taken.to_arrays().values()) <= 2 * 6 * 1024


def test_damaged_signatures_are_refused(photos: list[Pixels]):
    arrays = sign(photos).to_arrays()
    for wrong in ({"view": arrays["view"][:-1]}, {"view": arrays["view"].astype(np.int16)}, {"size": arrays["digest"]}):
        with pytest.raises(DataError, match="compute them anew"):
            Signatures.from_arrays({**arrays, **wrong})
    with pytest.raises(DataError, match="digest"):
        Signatures.from_arrays({})


def test_a_signature_shows_the_image(photos: list[Pixels]):
    signature = sign_image(photos[0])
    small = Image.fromarray(photos[0]).resize((VIEW, VIEW), Image.Resampling.BILINEAR)
    assert np.abs(signature.view.astype(int) - np.asarray(small.convert("L"))).max() <= 2
    boxed = small.resize((COLORS, COLORS), Image.Resampling.BOX)
    assert np.abs(signature.colors.astype(int) - np.asarray(boxed)).max() <= 2
    assert signature.size.tolist() == [160, 200]
    for wrong in (photos[0][..., :1], photos[0].astype(float), photos[0][:0]):
        with pytest.raises(UsageError, match="sign_image needs an image"):
            sign_image(wrong)


def test_turned_descriptors_are_descriptors_of_turned_views(photos: list[Pixels]):
    views = sign(photos).view
    turns = all_turns(describe(views).whole)
    for turn in range(8):
        assert np.allclose(turns[:, turn], describe(turn_views(views, turn)).whole, atol=1e-4)


def test_candidates_are_the_nearest_by_a_slow_search(photos: list[Pixels]):
    described = describe(sign(photos).view)
    turns = all_turns(described.whole)
    cosines = np.full((len(photos), len(photos)), -1.0)
    for one in range(len(photos)):
        for other in range(one + 1, len(photos)):
            best = max(float(turn @ described.whole[other]) for turn in turns[one])
            best = max(best, *(float(described.whole[one] @ part) for part in described.parts[other]))
            cosines[one, other] = max(best, *(float(part @ described.whole[other]) for part in described.parts[one]))
    found = find_candidates(described, None, nearest=2, likeness=0.2)
    wanted = {
        (one, other)
        for one in range(len(photos))
        for other in np.argsort(-cosines[one])[:2]
        if cosines[one, other] >= 0.2
    }
    assert set(zip(found.first.tolist(), found.second.tolist(), strict=True)) == wanted
    assert np.allclose(found.likeness, cosines[found.first, found.second], atol=1e-4)


def test_bursts_by_the_clock(photos: list[Pixels]):
    times = np.array([100, 100 + SECONDS, 100 + 2 * SECONDS, 100 + 3 * SECONDS + 0.1, 100, np.nan])
    cameras = ["a", "a", "a", "a", "b", "a"]
    names = [f"{letter}.jpg" for letter in "pqrstu"]
    assert find_shots(names, sign(photos[:6]), times, cameras).bursts == [(0, 1, 2)]
    assert find_shots(names, sign(photos[:6]), times, [None] * 6) == ([], [])


def test_bursts_by_number_need_to_be_alike(photos: list[Pixels]):
    shifted = [photos[0][:, start : start + 190] for start in (0, 4, 8)]
    signatures = sign([*shifted, *photos[3:6], shifted[0]])
    unknown, nobody = np.full(7, np.nan), [None] * 7
    row = [*(f"x/IMG_{number:02}.jpg" for number in range(9, 15)), "y/IMG_10.jpg"]
    assert find_shots(row, signatures, unknown, nobody).bursts == [(0, 1, 2)]
    gap = [*(f"x/IMG_{number:02}.jp2" for number in (9, 11, 12, 13, 14, 15)), "x/img.jp2"]
    assert find_shots(gap, signatures, unknown, nobody) == ([(1, 2)], [])
    two = find_shots(["x/1.jpg", "x/2.jpg"], signatures.take([0, 1]), unknown[:2], nobody[:2])
    assert two == ([(0, 1)], [])
    with pytest.raises(UsageError, match="not 6, 7, 7 and 7"):
        find_shots(row[:6], signatures, unknown, nobody)


def test_numbers_say_nothing_where_all_images_are_alike(photos: list[Pixels]):
    fixed = [photos[0][start : start + 150, start : start + 180] for start in (5, 2, 0, 6, 3, 1, 4, 2)]
    moved = [photo[:, start : start + 180] for photo in photos[1:6] for start in (0, 4, 8)]
    signatures = sign([*fixed, *moved])
    names = [*(f"fixed/{number}.jpg" for number in range(8)), *(f"moved/{number}.jpg" for number in range(15))]
    whole = describe(signatures.view).whole
    assert min(float(whole[one] @ whole[two]) for one in range(8) for two in range(8)) > ALIKE
    found = find_shots(names, signatures, np.full(23, np.nan), [None] * 23)
    assert found.bursts == [(start, start + 1, start + 2) for start in range(8, 23, 3)]
    assert found.scenes == [tuple(range(8))]  # which may be a video of a camera that stands still, and is told


@pytest.mark.parametrize(("numbers", "bursts"), [(range(0, 60, 10), [(0, 1, 2)]), ((0, 10, 20, 31, 43, 56), [])])
def test_every_tenth_frame_of_a_video_follows_the_one_before(
    photos: list[Pixels], numbers: Sequence[int], bursts: list[tuple[int, ...]]
):
    signatures = sign([*(photos[0][:, start : start + 190] for start in (0, 4, 8)), *photos[3:6]])
    names = [f"x/frame_{number:05}.jpg" for number in numbers]
    assert find_shots(names, signatures, np.full(6, np.nan), [None] * 6) == (bursts, [])


def test_two_versions_of_each_number_do_not_hide_the_row(photos: list[Pixels]):
    signatures = sign([photos[3], photos[0][:, :190], photos[0][:, 4:194], photos[4], photos[5], photos[6]])
    names = [f"x/{number}.{ending}" for number in (1, 2, 3) for ending in ("jpg", "png")]
    assert find_shots(names, signatures, np.full(6, np.nan), [None] * 6) == ([(1, 2)], [])
