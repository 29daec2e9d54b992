"""What a policy refuses: where in which file, what was written, and what images and boxes must be."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from torchvision.transforms import v2

from tenfold.augment.ops import OPS
from tenfold.augment.policy import Policy
from tenfold.augment.published import find_policy, named_policy
from tenfold.augment.torch_data import PolicyTransform
from tenfold.augment.tree import op
from tenfold.draws import draw_keys
from tenfold.errors import DataError, UsageError

DOCUMENT = Path(__file__).parents[1] / "docs" / "policies.md"
MIRROR = Policy("mirror", (op("flip", "horizontal"),), interpolation="nearest")
PHOTO = np.arange(20 * 30 * 3, dtype=np.uint8).reshape(20, 30, 3)
KEYS = draw_keys(0, 0, np.arange(2, dtype=np.uint64))


# Files

FILES = {
    "an op": ("[[op]]\nrotate = 5\n[[op]]\nshear = 900", "Op 2: shear's x must lie from -89 to 89, "),
    "an unknown op": ("[[op]]\nrotat = 5", "Op 1: An op of the policy must be one of "),
    "an op inside": (
        "[[op]]\nrotate = 5\n[[op]]\nchoose = 1\nof = [{ equalize = true }, { chain = [{ flip = 'up' }] }]",
        "Op 2: its op 2: its op 1: flip's direction must be one of horizontal, vertical, not 'up'",
    ),
    "a setting": ("visible = 2", "A policy's visible must be from 0 to 1, not 2."),
    "mixing": ("[mix]\nshare = 2", "mix.share must be from 0 to 1, not 2."),
}


@pytest.mark.parametrize("case", FILES)
def test_an_error_names_the_file_and_the_number_of_the_op(case: str, tmp_path: Path) -> None:
    text, sentence = FILES[case]
    file = tmp_path / "mine.toml"
    file.write_text(text, encoding="utf-8")
    for read in (Policy.from_toml, lambda path: find_policy(str(path))):
        with pytest.raises(UsageError) as caught:
            read(file)
        assert str(caught.value).startswith(f"The policy {file} cannot be used: {sentence}")
    with pytest.raises(UsageError, match="^" + re.escape(sentence)):
        Policy.from_toml(text)


@pytest.mark.parametrize("text", ["", "# rotate = 20\n"])
def test_an_empty_file_is_no_policy(text: str, tmp_path: Path) -> None:
    file = tmp_path / "empty.toml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=r"^The policy .*empty\.toml is empty; write an \[\[op\]\] into it"):
        Policy.from_toml(file)
    named_policy("none").write(file)
    assert Policy.from_toml(file) == named_policy("none")


def test_a_file_that_is_not_there_is_named_once(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        Policy.from_toml(tmp_path / "missing.toml")
    assert str(caught.value) == f"The policy {tmp_path / 'missing.toml'} cannot be read: No such file or directory."
    with pytest.raises(DataError, match=r"^The policy cannot be read: "):
        Policy.from_toml("[[op]\nrotate = 3")


WRITTEN = {
    "brightness = 40": "brightness's change must lie from -1 to 10, the lower number first, not from -40 to 40, "
    "which 40 means here.",
    "rotate = -20": "not from 20 to -20, which -20 means here.",
    "cutout = 3": "cutout's size must lie from 0 to 2, not 3.",
    "rotate = [400, 400]": "rotate's degrees must lie from -360 to 360, not 400.",
    "posterize = [2.5, 3]": "posterize's bits must be whole numbers, not from 2.5 to 3.",
    "choose = 3": "choose needs a list of ops, as of = [{ rotate = 20 }], and has none.",
    "chain = 3": "chain needs a list of ops, as chain = [{ rotate = 20 }], not 3.",
}


@pytest.mark.parametrize("line", WRITTEN)
def test_an_error_speaks_of_what_was_written(line: str) -> None:
    with pytest.raises(UsageError, match=re.escape(WRITTEN[line]) + "$"):
        Policy.from_toml(f"[[op]]\n{line}")


def test_the_list_of_ops_has_ops_only() -> None:
    with pytest.raises(UsageError) as caught:
        Policy.from_toml("[[op]]\nwobble = 3")
    listed = re.split(r"must be one of |, not ", str(caught.value))[1].split(", ")
    assert listed == [*OPS, "choose", "chain", "blend"]


def test_files_are_not_names_and_all_is_for_safety() -> None:
    with pytest.raises(UsageError, match=r"not 'mine.toml'; Policy.from_toml\(Path\('mine.toml'\)\) reads a file\.$"):
        named_policy("mine.toml")
    with pytest.raises(UsageError, match=r"not 'all', which is every op and needs --safety\.$"):
        find_policy("all")


def names_elsewhere() -> list[tuple[str, list[str], list[str]]]:
    """The cells of the documentation's table: a library, its names, ours."""
    text = DOCUMENT.read_text(encoding="utf-8").split("| Albumentations | torchvision | here |")[1]
    rows = [line.strip("|").split("|") for line in text.split("\n\n")[0].splitlines()[2:]]
    found = []
    for albumentations, torchvision, here, _ in rows:
        ours = [name for name in re.findall(r"`([a-z_0-9]+)", here) if name in {*OPS, "choose", "chain"}]
        for library, cell in (("Albumentations", albumentations), ("torchvision", torchvision)):
            found.append((library, re.findall(r"`(\w+)`", cell), ours))
    return found


def test_names_of_other_libraries_lead_to_ours() -> None:
    tried = 0
    for library, names, ours in names_elsewhere():
        for name in names:
            assert library != "torchvision" or hasattr(v2, name), name
            with pytest.raises(UsageError) as caught:
                Policy.from_toml(f"[[op]]\n{name} = 1")
            said = re.findall(r"'(\w+)'", str(caught.value).partition("; here it is called ")[2])
            assert set(said) == set(ours), name
            tried += 1
    assert tried > 40


# Images and boxes

IMAGES: dict[str, tuple[Any, str]] = {
    "PIL": (Image.fromarray(PHOTO), r"array uint8 \[H, W, C\] with 1 or 3 channels, not Image; np.asarray makes one"),
    "flat": (PHOTO[..., 0], r"not uint8 \[20, 30\]; .* image\[..., None\] of one \[H, W\]"),
    "floats": (PHOTO / 255, r"not float64 \[20, 30, 3\]"),
    "16 bit": (PHOTO.astype(np.uint16), r"not uint16 \[20, 30, 3\]"),
    "alpha": (PHOTO[..., [0, 1, 2, 0]], r"not uint8 \[20, 30, 4\]"),
    "list": (PHOTO.tolist(), "not list"),
}


@pytest.mark.parametrize("case", IMAGES)
def test_an_image_of_another_form_is_refused_in_a_sentence(case: str) -> None:
    image, sentence = IMAGES[case]
    with pytest.raises(UsageError, match="^The image must be an .*" + sentence):
        MIRROR(image, key=1)


@pytest.mark.parametrize("images", [[PHOTO, PHOTO], PHOTO, np.stack([PHOTO, PHOTO]) / 255, Image.fromarray(PHOTO)])
def test_images_of_another_form_are_refused_in_a_sentence(images: Any) -> None:
    came = f"{images.dtype} {list(images.shape)}" if isinstance(images, np.ndarray) else type(images).__name__
    sentence = re.escape(f"The images must be one array uint8 [N, H, W, C] with 1 or 3 channels, not {came};")
    with pytest.raises(UsageError, match=f"^{sentence}"):
        MIRROR.batch(images, KEYS)
    with pytest.raises(UsageError, match=f"^{sentence}"):
        MIRROR.batch_normalized(images, KEYS, mean=[0.5] * 3, std=[0.2] * 3)


def test_boxes_and_points_may_be_lists() -> None:
    boxes, points = [[1, 2, 9, 8], [4.5, 3, 6, 7]], [[1, 2], [30, 0.5]]
    listed = MIRROR(PHOTO, boxes, key=1, points=points)
    arrays = MIRROR(PHOTO, np.array(boxes, np.float32), key=1, points=np.array(points, np.float32))
    assert listed.boxes.tolist() == arrays.boxes.tolist() == [[21, 2, 29, 8], [24, 3, 25.5, 7]]
    assert listed.points.tolist() == arrays.points.tolist() == [[29, 2], [0, 0.5]]
    assert MIRROR(PHOTO, [], key=1, points=[]).boxes.shape == (0, 4)
    many = MIRROR.batch(np.stack([PHOTO, PHOTO]), KEYS, boxes=[boxes, []], points=[[], points])
    assert [own.shape for own in (*many.boxes, *many.points)] == [(2, 4), (0, 4), (0, 2), (2, 2)]


BOXES: dict[str, tuple[Any, str]] = {
    "empty": ([[1, 2, 9, 9], [5, 5, 5, 9]], r"boxes\[1\] is \[5, 5, 5, 9\]; leave out what has no area\.$"),
    "sides": ([[20, 10, 8, 9]], r"boxes\[0\] is \[20, 10, 8, 9\]; convert them from width and height first\.$"),
    "one": ([1, 2, 9, 9], r"numbers \[B, 4\] \(x1, y1, x2, y2\), not \[4\]\.$"),
    "lengths": ([[1, 2, 9, 9], [1, 2]], r"numbers \[B, 4\] \(x1, y1, x2, y2\), not rows of several lengths\.$"),
    "words": ([["a", "b", "c", "d"]], r"numbers \[B, 4\] \(x1, y1, x2, y2\), not text\.$"),
    "endless": ([[1, 2, np.inf, 9]], r"numbers \[B, 4\] \(x1, y1, x2, y2\), not \[1, 4\] with NaN or infinity\.$"),
}


@pytest.mark.parametrize("case", BOXES)
def test_boxes_of_another_form_are_refused_in_a_sentence(case: str) -> None:
    boxes, sentence = BOXES[case]
    with pytest.raises(UsageError, match=sentence):
        MIRROR(PHOTO, boxes, key=1)


def test_a_transform_of_nothing_is_refused_in_a_sentence() -> None:
    with pytest.raises(UsageError, match=r"^The sample must hold an image: .*; it has none"):
        PolicyTransform(MIRROR)()
