"""tenfold augment: the sheet, the files that it saves, what it refuses; and the report's section on the same."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tenfold.__main__ import main
from tenfold.augment.feed import PlainInput, PolicyInput
from tenfold.augment.policy import Mix, Policy
from tenfold.augment.published import named_policy
from tenfold.augment.save import Saving, save_augmented
from tenfold.augment.tree import op
from tenfold.check import check_table
from tenfold.check.repair import write_repaired
from tenfold.draws import draw_keys, hash_numbers
from tenfold.errors import DataError, UsageError
from tenfold.images.content import hashed
from tenfold.images.preprocess import Preprocessing
from tenfold.images.readers import read_table
from tenfold.images.table import Table
from tenfold.report.policy_sheet import draw_sheet, fed, sheet_page, write_sheet
from tenfold.split import apply_split, fold_tables, split_path, split_table, write_split
from tenfold.transfer import fold_numbers
from tests.report_run import make_run
from tests.test_report import Page

Capture = pytest.CaptureFixture[str]

MADE = Preprocessing("rgb", 24, 28, "crop", "triangle", 255, (0.5, 0.4, 0.3), (0.2, 0.25, 0.3))
TURN = Policy("turned", (op("rotate", 20), op("flip", "horizontal", 0.5)))


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TENFOLD_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def flowers(tmp_path: Path) -> Path:
    """Three classes whose files have the same names in each, 8 images a class, not square."""
    generator = np.random.default_rng(0)
    for number, name in enumerate(("daisy", "rose", "tulip")):
        (tmp_path / "flowers" / name).mkdir(parents=True)
        for index in range(8):
            pixels = generator.integers(60 * number, 60 * number + 120, (30, 40, 3)).astype(np.uint8)
            Image.fromarray(pixels).save(tmp_path / "flowers" / name / f"{index}.png")
    return tmp_path / "flowers"


def table_of(folder: Path) -> Table:
    return hashed(read_table(folder))


def feed_of(policy: Policy, made: Preprocessing = MADE) -> PolicyInput:
    return PolicyInput(policy, made, lambda _: made.size, ("label",))


def listed(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def size_of(path: Path) -> tuple[int, int]:
    """Width and height."""
    with Image.open(path) as image:
        return image.size


# The sheet


def test_the_sheet_takes_classes_in_turns_and_another_seed_other_images(flowers: Path) -> None:
    strips = draw_sheet(table_of(flowers), feed_of(TURN), images=5, draws=2)
    assert sorted(Counter(strip.label for strip in strips).values()) == [1, 2, 2]
    assert [strip.label for strip in strips] == sorted(strip.label for strip in strips)
    again = draw_sheet(table_of(flowers), feed_of(TURN), images=5, draws=2)
    other = draw_sheet(table_of(flowers), feed_of(TURN), images=5, draws=2, seed=1)
    assert [strip.draws[0].trace for strip in again] == [strip.draws[0].trace for strip in strips]
    assert [strip.draws[0].trace for strip in other] != [strip.draws[0].trace for strip in strips]


@pytest.mark.parametrize("channels", ["rgb", "bgr", "grey"])
def test_a_draw_is_what_the_policy_makes_of_the_canvas(flowers: Path, channels: Any) -> None:
    """The oracle goes another way: uint8 pixels, one image at a time, not normalized."""
    count = 1 if channels == "grey" else 3
    made = Preprocessing(channels, 24, 28, "crop", "triangle", 255, MADE.mean[:count], MADE.std[:count])
    policy = Policy("cut", (op("crop", {"scale": [0.5, 1], "aspect": 1.2}), op("rotate", 20), op("brightness", 0.3)))
    strips = draw_sheet(table_of(flowers), feed_of(policy, made), images=3, draws=2, seed=5)
    for strip in strips:
        image = np.asarray(Image.open(flowers / strip.label / strip.name).convert("L" if count == 1 else "RGB"))
        canvas, _ = made.prepare(np.atleast_3d(image)[..., :: -1 if channels == "bgr" else 1].copy())
        row = table_of(flowers).samples
        row = row[row["source"].str.endswith(f"{strip.label}/{strip.name}")]
        for epoch, draw in enumerate(strip.draws):
            key = int(draw_keys(5, epoch, hash_numbers(row["hash"].tolist()))[0])
            order = canvas[..., ::-1] if channels == "bgr" else canvas
            expected = policy(np.ascontiguousarray(order), key=key, size=(24, 24))
            assert draw.trace == expected.trace
            assert np.abs(draw.pixels.astype(int) - expected.image).max() <= 2
        center = order[2:26, 2:26]
        assert np.array_equal(strip.plain, np.broadcast_to(center, strip.plain.shape))


def test_what_is_added_on_canvases_is_no_op_of_the_policy(flowers: Path) -> None:
    strips = draw_sheet(table_of(flowers), feed_of(Policy("none")), images=2, draws=1)
    assert [strip.draws[0].words for strip in strips] == [[], []]
    for strip in strips:
        assert np.abs(strip.draws[0].pixels.astype(int) - strip.plain).max() <= 1
    turned = draw_sheet(table_of(flowers), feed_of(TURN), images=4, draws=4)
    names = {name for strip in turned for draw in strip.draws for name, _ in draw.trace}
    assert names == {"rotate", "flip"}


def test_mixing_is_shown_with_its_share(flowers: Path) -> None:
    policy = Policy("mixed", (), Mix(mixup=1.0, share=1.0))
    strips = draw_sheet(table_of(flowers), feed_of(policy), images=3, draws=3)
    for place, strip in enumerate(strips):
        other = strips[(place + 1) % 3]
        for draw in strip.draws:
            if draw.mixed:
                share = int(draw.mixed.removeprefix("mixed: ").split(" %")[0]) / 100
                assert draw.mixed.endswith(other.label)
                mean = (1 - share) * strip.plain.astype(float) + share * other.plain
                assert np.abs(draw.pixels - mean).max() < 3
    assert sum(bool(draw.mixed) for strip in strips for draw in strip.draws) >= 7


def test_an_unreadable_image_is_passed_over(flowers: Path) -> None:
    (flowers / "rose" / "3.png").write_bytes(b"\x89PNG no image")
    strips = draw_sheet(table_of(flowers), feed_of(TURN), images=24, draws=1)
    assert len(strips) == 23
    for file in flowers.rglob("*.png"):
        file.write_bytes(b"\x89PNG no image")
    with pytest.raises(DataError):
        draw_sheet(table_of(flowers), feed_of(TURN), images=3, draws=1)


def test_the_page_is_quiet_and_says_everything(flowers: Path) -> None:
    strips = draw_sheet(table_of(flowers), feed_of(TURN), images=3, draws=2)
    html = sheet_page("<b>flowers</b>", TURN, strips, ["About."])
    page = Page(html)
    assert len(page.all("img")) == 9
    assert all(image["src"].startswith("data:image/") and image["alt"] for image in page.all("img"))
    assert not page.all("script")
    assert "http" not in html.replace("http-equiv", "")
    for strip in strips:
        for word in (strip.label, *strip.draws[0].words):
            assert word in page.text
    assert "<b>flowers</b>" in page.text
    assert "rotate: -20 to 20°" in page.text


def test_the_picture_has_a_row_an_image(flowers: Path, tmp_path: Path) -> None:
    strips = draw_sheet(table_of(flowers), feed_of(TURN), images=3, draws=2)
    strips = [strip._replace(label="花 $x") for strip in strips]  # a script that the font lacks, and no formula
    write_sheet(tmp_path / "sheet.png", "flowers", TURN, strips, [])
    pixels = np.asarray(Image.open(tmp_path / "sheet.png").convert("RGB")).astype(int)
    height, width = pixels.shape[:2]
    assert 1.15 < height / width < 1.4
    colored = (pixels.max(2) - pixels.min(2) > 30).mean(1) > 0.05
    assert np.count_nonzero(np.diff(colored.astype(int)) == 1) >= 3


# Saved images


def test_copies_are_saved_of_the_training_part_alone(flowers: Path, tmp_path: Path) -> None:
    table = split_table(table_of(flowers), validation=0.25, test=0.25)
    saved = save_augmented(table, TURN, MADE, tmp_path / "out", Saving(count=3, seed=2))
    rows = listed(saved.listing)
    copies = [row for row in rows if row["ops"]]
    originals = [row for row in rows if row["path"] == row["source"]]
    training = set(table.part("train").samples["source"])
    assert (saved.sources, saved.copies, saved.originals) == (len(training), 3 * len(training), len(table))
    assert len(rows) == saved.copies + saved.originals
    assert Counter(row["source"] for row in copies) == dict.fromkeys(training, 3)
    assert {row["part"] for row in copies} == {"train"}
    assert Counter(row["part"] for row in originals) == Counter(table.samples["part"])
    assert {row["path"] for row in copies} == {path.name for path in (tmp_path / "out").glob("*.png")}
    assert all(Path(row["source"]).stem == row["path"].split("-")[0] for row in copies)
    groups = {row["source"]: row["group"] for row in originals}
    assert all(groups[row["source"]] == row["group"] for row in copies)
    assert len(set(groups.values())) == len(table)


def test_a_copy_is_the_draw_that_its_ops_say(flowers: Path, tmp_path: Path) -> None:
    table = table_of(flowers)
    saved = save_augmented(table, TURN, MADE, tmp_path / "out", Saving(count=2, seed=4, include_originals=False))
    rows = listed(saved.listing)
    assert len(rows) == 2 * len(table)
    keys = dict(zip(table.samples["source"], hash_numbers(table.samples["hash"].tolist()), strict=True))
    for row in rows[:6]:
        number = int(row["path"].removesuffix(".png").split("copy")[1]) - 1
        image = np.asarray(Image.open(row["source"]))
        expected = TURN(image, key=int(draw_keys(4, number, np.array([keys[row["source"]]]))[0]))
        assert np.array_equal(np.asarray(Image.open(tmp_path / "out" / row["path"])), expected.image)
        assert row["ops"] == "; ".join(f"{name} {magnitude}" for name, magnitude in expected.trace)


def test_sizes_are_those_of_the_source_or_of_training(flowers: Path, tmp_path: Path) -> None:
    table = table_of(flowers)
    for resize, size in ((False, (40, 30)), (True, (24, 24))):
        save_augmented(table, TURN, MADE, tmp_path / str(resize), Saving(resize=resize))
        assert {size_of(path) for path in (tmp_path / str(resize)).glob("*.png")} == {size}
        rows = listed(tmp_path / str(resize) / "augmented.csv")
        assert {done.split()[0] for row in rows if row["ops"] for done in row["ops"].split("; ")} == {"rotate", "flip"}


def test_images_that_are_no_files_are_written_and_regions_are_listed(flowers: Path, tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (4, 9, 11, 3), np.uint8)
    table = hashed(read_table(pixels, labels=list("abab")))
    saved = save_augmented(table, TURN, MADE, tmp_path / "arrays")
    assert saved.originals == 4
    again = read_table(saved.listing)
    assert len(again) == 8
    assert again.classes == ("a", "b")
    whole = hashed(read_table(flowers)).take([0, 1])
    cut = hashed(whole.assign(x1=[3.0, None], y1=[2.0, None], x2=[20.0, None], y2=[12.0, None], hash=[None, None]))
    saved = save_augmented(cut, Policy("none"), MADE, tmp_path / "regions")
    assert size_of(tmp_path / "regions" / "0-copy1.png") == (17, 10)
    again = hashed(read_table(saved.listing))
    assert again.samples["hash"][:2].tolist() == cut.samples["hash"].tolist()


def test_a_folder_that_is_not_empty_is_refused_and_left_alone(flowers: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"--save must be a new or an empty folder, and .*flowers is not empty"):
        save_augmented(table_of(flowers), TURN, MADE, flowers)
    assert not list(flowers.glob("*.csv"))


def test_what_cannot_be_read_is_named_and_not_listed(flowers: Path, tmp_path: Path) -> None:
    (flowers / "rose" / "3.png").write_bytes(b"\x89PNG no image")
    saved = save_augmented(table_of(flowers), TURN, MADE, tmp_path / "out")
    assert (saved.sources, saved.originals) == (23, 23)
    assert len(saved.unreadable) == 1
    assert "3.png" in saved.unreadable[0]


# The command


def test_the_sheet_is_written_as_asked(flowers: Path, tmp_path: Path, monkeypatch: Any, capsys: Capture) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["augment", "flowers", "--policy", "light", "--images", "2", "--draws", "2"]) == 0
    out = capsys.readouterr().out
    assert "Policy light" in out
    assert "Sheet: augment.html" in out
    assert "Next: tenfold train flowers --model residual --policy light\n" in out
    assert len(Page(Path("augment.html").read_text("utf-8")).all("img")) == 6
    asked = ["augment", "flowers", "--policy", "light", "--images", "2", "--out", "s.png", "--size", "20", "--json"]
    assert main(asked) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["size"], found["width"], found["height"]) == (20, 20, 20)
    assert found["policy"] == named_policy("light").to_dict()
    assert len(found["images"]) == 2
    assert Path("s.png").read_bytes().startswith(b"\x89PNG")


def test_the_sheet_names_the_training_that_it_shows_and_the_command_that_does_it(
    flowers: Path, monkeypatch: Any, capsys: Capture
) -> None:
    """`tenfold train` alone may choose a pretrained network, at another size and without a policy."""
    monkeypatch.chdir(flowers.parent)
    few = ["--images", "1", "--draws", "1"]
    assert main(["augment", "flowers", "--size", "20", "--reader", "folder", *few]) == 0
    out = capsys.readouterr().out
    assert "prepared as training with --model residual prepares them, at 20 x 20 pixels." in out
    assert "Without --model, tenfold train may take a pretrained network, with another size and policy." in out
    typed = "--model residual --size 20 --data.reader folder"
    assert out.endswith(f"Next: tenfold train flowers {typed}\n")
    assert "--model residual" in Path("augment.html").read_text("utf-8")
    assert main(["train", "flowers", *typed.split(), "--epochs", "1", "--out", "flowers"]) == 2  # each option is known
    assert "flowers" in capsys.readouterr().err
    Path("mine.toml").write_text('[data]\npath = "flowers"\n[model]\nname = "plain"\n', "utf-8")
    assert main(["augment", "mine.toml", *few]) == 0
    out = capsys.readouterr().out
    assert "as training with --model plain prepares them" in out
    assert "pretrained" not in out
    assert out.endswith("Next: tenfold train mine.toml\n")


def test_copies_read_back_as_a_table_that_training_takes(flowers: Path, tmp_path: Path, capsys: Capture) -> None:
    table = split_table(table_of(flowers), validation=0.25, test=0.25)
    write_split(table, split_path(flowers))
    out = tmp_path / "copies"
    assert main(["augment", str(flowers), "--policy", "light", "--save", str(out), "--count", "2"]) == 0
    printed = capsys.readouterr().out
    assert "of the training part alone, so that no copy of a validation or test image exists" in printed
    again = split_table(read_table(out / "augmented.csv"))
    assert len(again) == len(table) + 2 * len(table.part("train"))
    for part in ("validation", "test"):
        assert set(again.part(part).samples["source"]) == set(table.part(part).samples["source"])
    run = tmp_path / "run"
    quick = "--epochs 1 --model plain --model.width 8 --size 16 --train.precision float32 --train.grow off".split()
    assert main(["train", str(out / "augmented.csv"), "--policy", "none", "--out", str(run), *quick]) == 0
    capsys.readouterr()
    assert main(["augment", str(run), "--out", str(tmp_path / "run.html"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["policy"]["name"] == "none"
    assert main(["augment", str(run / "recipe.toml"), "--out", str(tmp_path / "recipe.html"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["size"] == 16


def test_without_a_split_it_says_what_that_means(flowers: Path, tmp_path: Path, capsys: Capture) -> None:
    assert main(["augment", str(flowers), "--save", str(tmp_path / "out"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["split"] is False
    assert (
        main(["augment", str(flowers), "--save", str(tmp_path / "more"), "--no-originals", "--policy", "standard"]) == 0
    )
    printed = capsys.readouterr()
    assert "A split of the listing keeps copies with their image, and leaves out those of validation" in printed.out
    assert "(originals: 0)" in printed.out
    assert "It holds copies alone, which nothing can be judged by, so tenfold train refuses it." in printed.out
    assert "Next:" not in printed.out
    assert "Mixing (mixup, CutMix) is left to training" in printed.err
    assert "mixed" not in printed.out  # the policy in words: that is not done to files


def test_without_a_split_training_alone_gets_copies(flowers: Path, tmp_path: Path) -> None:
    table = table_of(flowers)
    listing = save_augmented(table, TURN, MADE, tmp_path / "out", Saving(count=3)).listing
    read = hashed(read_table(listing))
    assert len(read) == 4 * len(table)
    split = split_table(read, validation=0.25, test=0.25, seed=1)
    rows = {row["path"]: row["source"] for row in listed(listing)}
    sources = split.samples["source"].tolist()
    part_of = dict(zip(sources, split.samples["part"].astype(object).where(split.samples["part"].notna()), strict=True))
    originals = set(table.samples["source"])
    assert Counter(part_of[source] for source in originals) == {"train": 12, "validation": 6, "test": 6}
    copies = [source for source in sources if source not in originals]
    assert len(copies) == 3 * 24
    for copy in copies:
        own = part_of[rows[Path(copy).name]]
        assert part_of[copy] == "train" if own == "train" else part_of[copy] != part_of[copy]  # NaN: left out
    said = "Left out, augmented copies of images that are not in the training part (36): "
    assert any(note.startswith(said) for note in split.notes)
    # What is placed later is, too.
    write_split(split, tmp_path / "out.split.csv")
    again = apply_split(read, tmp_path / "out.split.csv")
    assert again.samples["part"].equals(split.samples["part"])


def test_folds_judge_images_and_never_learn_from_copies_of_them(flowers: Path, tmp_path: Path) -> None:
    table = table_of(flowers)
    read = hashed(read_table(save_augmented(table, TURN, MADE, tmp_path / "out", Saving(count=2)).listing))
    origins = read.samples["origin"].where(read.samples["origin"].notna(), read.samples["hash"])
    judged: Counter[str] = Counter()
    for fold in fold_tables(read, 4):
        held = set(origins[fold.samples["part"] == "validation"])
        assert not held & set(origins[fold.samples["part"] == "train"])
        assert (fold.samples["part"] == "train").sum() == 3 * (24 - len(held))
        judged.update(fold.part("validation").samples["source"])
    assert judged == Counter(dict.fromkeys(table.samples["source"], 1))
    [numbers] = fold_numbers(read, 4, 1)
    assert all(len(set(numbers[origins == origin])) == 1 for origin in set(origins))
    assert sorted(np.bincount(numbers)) == [18] * 4


def test_copies_alone_have_no_validation_part(flowers: Path, tmp_path: Path, capsys: Capture) -> None:
    saving = Saving(include_originals=False)
    read = read_table(save_augmented(table_of(flowers), TURN, MADE, tmp_path / "out", saving).listing)
    with pytest.raises(
        DataError, match=r"All 24 images are augmented copies .* none for validation and test; list the"
    ):
        split_table(read)
    assert set(split_table(read, validation=0, test=0).samples["part"]) == {"train"}
    assert main(["train", str(tmp_path / "out" / "augmented.csv"), "--out", str(tmp_path / "run")]) == 3
    assert "All 24 images are augmented copies" in capsys.readouterr().err


def test_a_repaired_listing_still_knows_the_copies(flowers: Path, tmp_path: Path) -> None:
    read = hashed(read_table(save_augmented(table_of(flowers), TURN, MADE, tmp_path / "out", Saving(count=1)).listing))
    write_repaired(read, check_table(read), tmp_path / "repaired.csv")
    again = hashed(read_table(tmp_path / "repaired.csv"))
    own = dict(zip(read.samples["source"], read.samples["origin"], strict=True))
    kept = again.samples[again.samples["copy"]]
    assert 0 < len(kept) <= read.samples["copy"].sum()
    assert [own[source] for source in kept["source"]] == kept["origin"].tolist()


def test_copies_with_boxes_are_known_as_such(flowers: Path, tmp_path: Path) -> None:
    digest = table_of(flowers).samples["hash"][0]
    lines = [
        f"{flowers / 'daisy' / '0.png'},1,2,9,9,a,0,g,,,,",
        f"{flowers / 'daisy' / '1.png'},1,2,9,9,a,0,g,,flip horizontal,x,{digest}",
        f"{flowers / 'daisy' / '1.png'},3,2,9,9,a,0,g,,flip horizontal,x,{digest}",
    ]
    file = tmp_path / "boxes.csv"
    file.write_text("\n".join(["path,x1,y1,x2,y2,label,ignore,group,part,ops,source,copy_of", *lines]))
    table = read_table(file)
    assert table.samples["copy"].tolist() == [False, True]
    assert table.samples["origin"].fillna("").tolist() == ["", digest]


def test_a_copy_of_what_is_no_hash_is_refused(flowers: Path, tmp_path: Path) -> None:
    file = tmp_path / "listing.csv"
    file.write_text(f"path,label,copy_of\n{flowers / 'daisy' / '0.png'},daisy,0.png\n")
    with pytest.raises(DataError, match=r"Row 2 of .* has copy_of '0.png'; it must be the content hash of an image"):
        read_table(file)


@pytest.mark.parametrize(
    ("typed", "code", "sentence"),
    [
        ("", 2, "Say what to augment: a folder of images"),
        ("flowers --policy strnog", 2, "did you mean 'strong'?"),
        ("flowers --policy mine.toml", 3, "The policy mine.toml cannot be read"),
        ("flowers --out sheet.jpg", 2, "--out must end in .html or .png, not sheet.jpg."),
        ("flowers --images 0", 2, "--images must be at least 1, not 0."),
        ("flowers --save x --safety y", 2, "Give either --save or --safety, not both."),
        ("flowers --save flowers", 2, "is not empty; name another."),
        ("nothing", 3, "There is no file or folder nothing"),
        ("--safety flowers", 3, "flowers is not a run"),
        ("flowers --save q --out q.png", 2, "--out is for the sheet, not for --save; leave it out."),
        ("flowers --save q --images 3", 2, "--images is for the sheet, not for --save; leave it out."),
        ("flowers --save q --draws 6", 2, "--draws is for the sheet, not for --save; leave it out."),
        ("flowers --count 3", 2, "--count is for --save, not for the sheet; leave it out."),
        ("flowers --no-originals", 2, "--no-originals is for --save, not for the sheet; leave it out."),
        ("flowers --include-originals", 2, "--include-originals is for --save, not for the sheet; leave it out."),
        ("flowers --safety r --out q.png", 2, "--out is for the sheet, not for --safety; leave it out."),
        ("flowers --safety r --count 1", 2, "--count is for --save, not for --safety; leave it out."),
        ("--safety r --size 9", 2, "--size is for the sheet and --save, not for --safety; leave it out."),
        ("--safety r --no-originals", 2, "--no-originals is for --save, not for --safety; leave it out."),
        ("--safety r --reader folder", 2, "--reader says how to read the data; give the data too, or leave it out."),
        ("flowers --policy all", 2, "--policy all is for --safety; name one policy or a TOML file."),
    ],
)
def test_a_wrong_wish_is_a_sentence(
    typed: str, code: int, sentence: str, flowers: Path, monkeypatch: Any, capsys: Capture
) -> None:
    monkeypatch.chdir(flowers.parent)
    assert main(["augment", *typed.split()]) == code
    out, err = capsys.readouterr()
    assert sentence in err
    assert out == ""
    assert {path.name for path in Path().iterdir()} <= {"flowers", "cache"}


def test_a_wrong_policy_is_told_before_anything_large_is_loaded(flowers: Path) -> None:
    typed = ["flowers --policy strnog", "flowers --policy none.toml", "--safety run --policy strnog"]
    code = (
        "import sys; from tenfold.__main__ import main;"
        f"print(*[main(['augment', *typed.split()]) for typed in {typed}]);"
        "print(*sorted({'torch', 'pandas'} & set(sys.modules)))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=flowers.parent)
    assert ran.stdout == "2 3 2\n\n"
    assert ran.stderr.count("did you mean 'strong'?") == 2
    assert ran.stderr.count("none.toml cannot be read") == 1


# The report


def test_the_report_shows_what_the_model_was_fed(tmp_path: Path) -> None:
    run: Any = make_run(tmp_path, ("roses", "tulips"), each=4, evaluated=())
    strong = named_policy("strong").to_dict()
    run.recipe = run.recipe.change(augment={"policy": strong, "mix_share": 0.5})
    section = fed(run)
    page = Page(str(section.html))
    assert section.title == "What the model was fed"
    assert len(page.all("img")) == 4 * 6
    assert "Policy strong" in page.text
    training = {Path(source).name for source in run.table.part("train").samples["source"]}
    shown = {image["title"].split(", draw")[0] for image in page.all("img")}
    assert len(shown) == 4
    assert shown <= training
    run.recipe = run.recipe.change(augment={"policy": "none"})
    assert "the policy none changes nothing" in fed(run).html
    run.history["step"] = 0
    assert fed(run) is None


def test_the_report_does_without_images_that_are_gone(tmp_path: Path) -> None:
    run: Any = make_run(tmp_path, ("roses", "tulips"), each=2, evaluated=())
    for file in (tmp_path / "images").iterdir():
        file.unlink()
    assert "The training images cannot be shown" in fed(run).html


def test_plain_input_is_what_the_first_column_shows(flowers: Path) -> None:
    """The first column is what evaluation sees, to the pixel."""
    import torch

    from tenfold.images.loader import Drawn

    table = table_of(flowers)
    strips = draw_sheet(table, feed_of(TURN), images=1, draws=1)
    image = np.asarray(Image.open(flowers / strips[0].label / strips[0].name))
    canvas, affine = MADE.prepare(image)
    seen, _, _ = PlainInput(MADE)(Drawn(np.stack([canvas] * 2), {}, np.zeros(2, np.uint64), np.stack([affine] * 2)), 0)
    pixels = seen[0].permute(1, 2, 0) * torch.tensor(MADE.std) + torch.tensor(MADE.mean)
    assert np.array_equal((255 * pixels).round().numpy().astype(np.uint8), strips[0].plain)


@pytest.mark.parametrize("policy", [named_policy("light"), Policy("turned", (op("rotate", 20),))])
@pytest.mark.parametrize("resize", [False, True])
def test_clicks_are_in_no_copy(flowers: Path, tmp_path: Path, policy: Policy, resize: bool) -> None:
    """Policies widen boxes: a click that is moved would be learned from."""
    first, other = flowers / "daisy" / "0.png", flowers / "rose" / "0.png"
    lines = [
        f"{first},10,10,30,25,wide,0",
        *(f"{first},{box},click,0" for box in ("5,5,6,6", "20,2,20.5,28", "2,14,38,15", "9,9,3,3")),
        f"{other},5,5,6,6,click,1",
    ]
    file = tmp_path / "boxes.csv"
    file.write_text("\n".join(["path,x1,y1,x2,y2,label,ignore", *lines]))
    table = hashed(read_table(file))
    saved = save_augmented(table, policy, MADE, tmp_path / "out", Saving(count=4, resize=resize))
    rows = [row for row in listed(saved.listing) if row["copy_of"]]
    assert {row["label"] for row in rows} <= {"wide", ""}
    assert sum(row["label"] == "wide" for row in rows) >= 3
    assert sum(row["label"] == "" for row in rows) >= 4
    assert len(rows) == 8, "a click alone leaves an image with nothing in it, as training has it"
    originals = [row for row in listed(saved.listing) if not row["copy_of"]]
    assert [",".join(row[name] for name in ("x1", "y1", "x2", "y2")) for row in originals] == [
        line.split(",", 1)[1].rsplit(",", 2)[0] for line in lines
    ]
    said = "Boxes at most 1 pixel wide or high, which copies do not have, as nothing is learned of them: 5."
    assert saved.notes == [said]
    assert save_augmented(table_of(flowers), policy, MADE, tmp_path / "none").notes == []
