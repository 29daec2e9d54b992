"""The decoded cache: keyed by content and preparation, capped, safe under two builders, damage noticed."""

import json
import os
import re
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from tenfold.__main__ import main
from tenfold.errors import UsageError
from tenfold.images import cache, prepared
from tenfold.images.cache import cache_entries, clear_cache, open_cache
from tenfold.images.content import hashed
from tenfold.images.prepared import prepare_table
from tenfold.images.preprocess import Preprocessing
from tenfold.images.readers import read_table
from tests.toys import write_shapes


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TENFOLD_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("TENFOLD_CACHE_GIB", raising=False)


class Images:
    """Images of differing size, and a count of how often each was prepared."""

    def __init__(self, names):
        self.names = names
        self.made = []

    def prepare(self, row):
        self.made.append(self.names[row])
        seed = int(self.names[row], 16)
        pixels = np.random.default_rng(seed).integers(0, 256, (seed % 5 + 2, seed % 3 + 1, 3), np.uint8)
        return pixels, np.array([[1, 0, seed], [0, 1, 2]], np.float32)

    def prepare_many(self, rows):
        return (None if self.names[row] == "ff" else self.prepare(row) for row in rows)

    def open(self, name="a"):
        return open_cache(name, self.names, self.prepare, self.prepare_many)


def check(images, canvases):
    for row in range(len(images.names)):
        pixels, affine = canvases.image(row)
        expected, map_ = Images(images.names).prepare(row)
        assert np.array_equal(pixels, expected)
        assert np.array_equal(affine, map_)


def test_images_are_prepared_once_and_shared():
    first = Images(["0a", "0b", "0c", "0a"])
    check(first, first.open())
    assert first.made == ["0a", "0b", "0c"]
    second = Images(["0c", "0d", "0a"])
    canvases = second.open()
    assert second.made == ["0d"]
    check(second, canvases)
    assert sum(entry.images for entry in cache_entries()) == 4


def test_another_preparation_has_its_own_images():
    images = Images(["0a"])
    images.open("a")
    images.open("b")
    assert images.made == ["0a", "0a"]


def test_unreadable_images_stay_out():
    images = Images(["0a", "ff", "0b"])
    canvases = images.open()
    assert [place is None for place in canvases.places] == [False, True, False]
    images.open()
    assert images.made == ["0a", "0b"]


@pytest.mark.parametrize("suffix", [".npy", ".npz"])
def test_a_damaged_shard_is_made_again(suffix):
    images = Images(["0a", "0b"])
    images.open()
    path = cache_entries()[0].path.with_suffix(suffix)
    content = bytearray(path.read_bytes())
    content[-1] ^= 0xFF
    path.write_bytes(content[: len(content) - (suffix == ".npz") * 30])
    check(images, images.open())
    assert images.made == ["0a", "0b"] * 2


def damage(path: Path, place: int) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 0xFF
    path.write_bytes(content)


@pytest.mark.parametrize("place", range(0, 130, 7))
def test_a_damaged_header_does_no_harm(place):
    images = Images(["0a", "0b"])
    images.open()
    damage(cache_entries()[0].path.with_suffix(".npy"), place)
    check(images, images.open())


def test_an_index_without_its_pixels_is_made_again():
    images = Images(["0a", "0b"])
    images.open()
    cache_entries()[0].path.with_suffix(".npy").unlink()
    check(images, images.open())
    assert images.made == ["0a", "0b"] * 2


def test_only_shards_with_wanted_images_are_read_and_used():
    """Else each start reads the whole cache, and nothing in it is older than anything else."""
    Images(["0a"]).open()
    [wanted] = [entry.path for entry in cache_entries()]
    Images(["0b"]).open()
    [other] = [entry.path for entry in cache_entries() if entry.path != wanted]
    for path in (wanted, other):
        os.utime(path, (1000, 1000))
    damage(other.with_suffix(".npy"), -1)
    images = Images(["0a"])
    check(images, images.open())
    assert images.made == []
    assert {entry.path: entry.used > 1000 for entry in cache_entries()} == {wanted: True, other: False}


def test_what_an_entry_holds_stands_in_its_folder_s_name():
    kinds = ["pixels", "features", ""]
    for kind in kinds[:2]:
        images = Images(["0a"])
        open_cache(kind, images.names, images.prepare, images.prepare_many, kind)
    (folder,) = {entry.path.parent for entry in cache_entries() if entry.kind == "features"}
    folder.rename(folder.with_name(folder.name.removeprefix("features-")))  # as an earlier version named it
    images = Images(["0a"])
    images.prepare = images.prepare_many = None
    assert open_cache("features", images.names, images.prepare, images.prepare_many, "features").is_cached
    assert sorted(entry.kind for entry in cache_entries()) == ["", "pixels"]


def test_the_command_counts_each_kind_and_lists_the_entries_when_asked(capsys):
    for kind, name in (("pixels", "0a"), ("pixels", "0b"), ("check", "0c")):
        images = Images([name])
        open_cache(kind, images.names, images.prepare, images.prepare_many, kind)
    entries = cache_entries()
    for place, entry in enumerate(entries):
        os.utime(entry.path, (1e9 + place, 1e9 + place))
    assert main(["cache", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert [kind["kind"] for kind in shown["kinds"]] == ["pixels", "check"]
    for kind in shown["kinds"]:
        own = [entry for entry in shown["entries"] if entry["kind"] == kind["kind"]]
        assert (kind["entries"], kind["bytes"]) == (len(own), sum(entry["bytes"] for entry in own))
        assert kind["used"] == max(entry["used"] for entry in own)
        assert kind["oldest"] == min(entry["used"] for entry in own)
    assert sum(kind["entries"] for kind in shown["kinds"]) == len(shown["entries"]) == 3
    assert main(["cache"]) == 0
    out = capsys.readouterr().out
    assert re.search(r"Decoded images .* 2 ", out)
    assert re.search(r"What checks found .* 1 ", out)
    assert not any(entry.path.stem in out for entry in entries)
    assert main(["cache", "--all"]) == 0
    out = "".join(capsys.readouterr().out.split())
    assert all(entry.path.stem in out for entry in entries)


def test_a_cache_of_another_user_is_read_all_the_same(monkeypatch):
    images = Images(["0a", "0b"])
    images.open()
    monkeypatch.setattr(cache.os, "utime", refuse)
    check(images, images.open())
    assert images.made == ["0a", "0b"]
    assert sum(entry.images for entry in cache_entries()) == 2


def refuse(*words, **options):
    raise PermissionError(13, "Permission denied")


def test_what_cannot_be_read_now_is_not_deleted(monkeypatch):
    images = Images(["0a", "0b"])
    images.open()
    with monkeypatch.context() as patch:
        patch.setattr(cache.np, "load", refuse)
        patch.setenv("TENFOLD_CACHE_GIB", "0")
        assert images.open().places == [None, None]
    assert images.open().is_cached
    assert images.made == ["0a", "0b"]


def test_what_a_killed_process_left_is_counted_and_goes_after_a_day():
    Images(["0a"]).open()
    folder = cache_entries()[0].path.parent
    before = sum(entry.bytes for entry in cache_entries())
    names = (".0b.12.34.raw", ".0b.npy.ab12.npy", ".0b.npz.ab12.npz", "0b.npy")
    old, young = [folder / name for name in names], [folder / f"{name[:-4]}c{name[-4:]}" for name in names]
    for path in (*old, *young):
        path.write_bytes(bytes(100))
    for path in old:
        os.utime(path, (time.time() - 90_000,) * 2)
    assert sum(entry.bytes for entry in cache_entries()) == before + 800
    assert sum(entry.images for entry in cache_entries()) == 1
    Images(["0d"]).open()
    assert [path.exists() for path in (*old, *young)] == [False] * 4 + [True] * 4
    shown = sum(entry.bytes for entry in cache_entries())
    assert clear_cache() == shown


def test_the_pixels_are_written_once(monkeypatch):
    """A second copy, even for a moment, would need a disk of twice the size."""
    sizes = []
    sync = os.fsync

    def measure(handle):
        sizes.append(sum(file.stat().st_size for file in (cache.cache_folder() / "images").glob("*/*")))
        sync(handle)

    monkeypatch.setattr(os, "fsync", measure)
    images = Images([f"{number:02x}" for number in range(200)])
    check(images, images.open())
    pixels = np.load(cache_entries()[0].path.with_suffix(".npy"))
    assert pixels.shape == (sum(images.prepare(row)[0].size for row in range(200)),)
    assert pixels.nbytes < sizes[0] < 1.2 * pixels.nbytes


def test_what_does_not_fit_is_streamed(monkeypatch):
    monkeypatch.setenv("TENFOLD_CACHE_GIB", "0")
    images = Images(["0a", "0b"])
    check(images, images.open())
    assert images.made == ["0a", "0b"]
    assert not cache_entries()


def test_the_shard_used_longest_ago_goes_first(monkeypatch):
    for name in ("0a", "0b", "0c"):
        Images([name]).open(name)
        entry = cache_entries()[0]
        os.utime(entry.path, (entry.used, 1000 + int(name, 16)))
    sizes = sum(entry.bytes for entry in cache_entries())
    monkeypatch.setattr(cache, "cache_limit", lambda: sizes)
    Images(["0d"]).open("d")
    assert Images(["0b"]).open("b").places[0] is not None
    oldest = Images(["0a"])
    oldest.open("a")
    assert oldest.made == ["0a"]


def test_two_builders_at_once_end_with_one_good_cache():
    names = [f"{number:02x}" for number in range(40)]
    results = {}

    def build(place):
        results[place] = Images(names).open()

    threads = [threading.Thread(target=build, args=(place,)) for place in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for canvases in results.values():
        check(Images(names), canvases)
    assert sum(entry.images for entry in cache_entries()) == 40


def test_clearing_frees_what_was_shown():
    Images(["0a", "0b"]).open()
    shown = sum(entry.bytes for entry in cache_entries())
    assert clear_cache() == shown > 0
    assert not cache_entries()


def test_a_limit_that_is_no_number_is_refused(monkeypatch):
    monkeypatch.setenv("TENFOLD_CACHE_GIB", "lots")
    with pytest.raises(UsageError, match="TENFOLD_CACHE_GIB must be a number"):
        Images(["0a"]).open()


def test_what_another_decoder_made_is_not_used(tmp_path, monkeypatch):
    table = hashed(read_table(write_shapes(tmp_path / "data", 2)))
    preprocessing = Preprocessing("rgb", 16, 16, "squash", "triangle", 255, (0.0,) * 3, (1.0,) * 3)
    decoded = []
    real = prepared.decode_image
    monkeypatch.setattr(prepared, "decode_image", lambda *a, **k: decoded.append(k["name"]) or real(*a, **k))
    for _ in range(2):
        prepare_table(table, preprocessing)
        assert len(decoded) == len(table)  # the second time all come from the cache
    monkeypatch.setattr(prepared, "MADE", prepared.MADE + 1)
    prepare_table(table, preprocessing)
    assert len(decoded) == 2 * len(table)
