"""Content: the bytes that are stored, and hashes that follow them and nothing else."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tenfold.errors import DataError
from tenfold.images import content
from tenfold.images.content import encoded, hashed, read_bytes
from tenfold.images.readers import read_table
from tenfold.images.table import Table, make_samples
from tenfold.looks import image_hashes
from tenfold.split.ties import bonds, join


def files_table(paths: list[Path], **columns: object) -> Table:
    return Table(make_samples({"source": [str(path) for path in paths], **columns}, len(paths)))


def write_shard(path: Path, images: list[bytes | None], group_rows: int = 3) -> Path:
    column = pa.array([{"bytes": image, "path": None} for image in images])
    pq.write_table(pa.table({"image": column, "label": list(range(len(images)))}), path, row_group_size=group_rows)
    return path


def digest(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def test_encoded_gives_the_bytes_of_a_file(tmp_path: Path):
    (tmp_path / "mèo 🐈.png").write_bytes(b"not decoded here")
    assert encoded(files_table([tmp_path / "mèo 🐈.png"]), 0) == b"not decoded here"


def test_encoded_gives_an_array_as_it_is():
    images = np.arange(2 * 3 * 4, dtype=np.uint8).reshape(2, 3, 4)
    np.testing.assert_array_equal(encoded(read_table(images), 1), images[1])


def test_encoded_gives_each_row_of_a_parquet_file(tmp_path: Path):
    images = [f"image {row}".encode() for row in range(10)]
    table = read_table(write_shard(tmp_path / "a.parquet", images))
    assert [encoded(table, row) for row in (9, 0, 3, 2, 5, 9)] == [images[row] for row in (9, 0, 3, 2, 5, 9)]


def test_one_row_of_a_parquet_file_does_not_read_the_other_groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    images = [bytes([row]) * 100 for row in range(12)]
    table = read_table(write_shard(tmp_path / "a.parquet", images))
    read: list[int] = []
    plain = content._Shard.read
    monkeypatch.setattr(content._Shard, "read", lambda shard, group: read.append(group) or plain(shard, group))
    assert [encoded(table, row) for row in (6, 7, 8, 6, 1)] == [images[row] for row in (6, 7, 8, 6, 1)]
    assert read == [2, 0]


def test_row_groups_in_memory_are_limited_by_their_bytes():
    recent = content._RecentGroups(limit=1000)
    for group in range(5):
        recent.put(("file", 0, group), pa.chunked_array([pa.array([b"x" * 400])]))
    assert [group for group in range(5) if recent.get(("file", 0, group)) is not None] == [3, 4]
    recent.get(("file", 0, 3))
    recent.put(("file", 0, 5), pa.chunked_array([pa.array([b"x" * 400])]))
    assert [group for group in range(6) if recent.get(("file", 0, group)) is not None] == [3, 5]
    recent.put(("file", 0, 6), pa.chunked_array([pa.array([b"x" * 5000])]))
    assert [group for group in range(7) if recent.get(("file", 0, group)) is not None] == [6]


def test_many_threads_read_the_right_rows_of_several_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(content, "_recent", content._RecentGroups(limit=3000))  # most groups are pushed out again
    images = [[bytes([file, row]) * 100 for row in range(60)] for file in range(3)]
    for file in range(3):
        write_shard(tmp_path / f"{file}.parquet", list(images[file]), group_rows=7)
    table = read_table(tmp_path)
    rows = np.random.default_rng(0).integers(0, len(table), 2000).tolist()
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda row: encoded(table, row), rows))
    assert found == [images[row // 60][row % 60] for row in rows]


def test_a_parquet_file_that_was_rewritten_is_read_anew(tmp_path: Path):
    path = write_shard(tmp_path / "a.parquet", [b"old"])
    table = read_table(path)
    assert encoded(table, 0) == b"old"
    write_shard(path, [b"new"])
    os.utime(path, ns=(1, 1))
    assert encoded(table, 0) == b"new"


def test_a_row_without_an_image_is_named(tmp_path: Path):
    table = read_table(write_shard(tmp_path / "a.parquet", [b"x", None]))
    with pytest.raises(DataError, match=r"a\.parquet, row 1 holds no image bytes\."):
        encoded(table, 1)
    write_shard(tmp_path / "a.parquet", [b"x"])
    os.utime(tmp_path / "a.parquet", ns=(1, 1))
    with pytest.raises(DataError, match=r"a\.parquet has 1 rows, so there is no row 1\."):
        encoded(table, 1)


def test_a_parquet_file_that_is_gone_or_broken_is_named(tmp_path: Path):
    table = read_table(write_shard(tmp_path / "a.parquet", [b"x"]))
    (tmp_path / "a.parquet").write_bytes(b"PAR1 but no more")
    with pytest.raises(DataError, match=r"a\.parquet cannot be read"):
        encoded(table, 0)
    (tmp_path / "a.parquet").unlink()
    with pytest.raises(DataError, match=r"a\.parquet cannot be read: No such file"):
        encoded(table, 0)


def test_arrays_that_were_not_stored_are_asked_for():
    table = read_table(np.zeros((1, 2, 2), np.uint8))
    with pytest.raises(DataError, match="images, row 0 was an array in memory, which is not stored"):
        encoded(Table(table.samples), 0)


def test_what_is_no_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(DataError, match=r"gone\.png cannot be read: No such file"):
        read_bytes(tmp_path / "gone.png")
    with pytest.raises(DataError, match="is not a file"):
        read_bytes(tmp_path)
    with pytest.raises(DataError, match="cannot be read"):
        read_bytes("a\0b.png")
    (tmp_path / "large.png").write_bytes(b"12345")
    monkeypatch.setattr(content, "LARGEST_FILE", 4)
    with pytest.raises(DataError, match=r"large\.png has 0\.0 GiB; an image file of more than 1 GiB is not read"):
        read_bytes(tmp_path / "large.png")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_named_pipe_is_refused_rather_than_waited_for(tmp_path: Path):
    os.mkfifo(tmp_path / "pipe.jpg")
    with pytest.raises(DataError, match="is not a file"):
        read_bytes(tmp_path / "pipe.jpg")


@pytest.mark.parametrize("threads", [0, 1, 3])
def test_hashes_are_blake2b_of_the_bytes(tmp_path: Path, threads: int):
    paths = [tmp_path / f"{index}.bin" for index in range(600)]
    for index, path in enumerate(paths):
        path.write_bytes(str(index // 2).encode())
    table = files_table(paths)
    filled = hashed(table, threads)
    assert filled.samples["hash"].tolist() == [digest(str(index // 2).encode()) for index in range(600)]
    assert filled.samples["hash"].dtype == table.samples["hash"].dtype
    assert table.samples["hash"].isna().all(), "the table that came in is as it was"


def test_the_hash_is_the_same_in_a_file_and_in_parquet(tmp_path: Path):
    (tmp_path / "a.png").write_bytes(b"image")
    stored = read_table(write_shard(tmp_path / "a.parquet", [b"image"]))
    assert hashed(stored).samples["hash"].tolist() == hashed(files_table([tmp_path / "a.png"])).samples["hash"].tolist()


def test_a_region_has_a_hash_of_its_own(tmp_path: Path):
    (tmp_path / "a.png").write_bytes(b"image")
    region = {"x1": [None, 0, 0], "y1": [None, 0, 0], "x2": [None, 4, 5], "y2": [None, 4, 4]}
    hashes = hashed(files_table([tmp_path / "a.png"] * 3, **region)).samples["hash"]
    assert hashes[0] == digest(b"image")
    assert hashes.nunique() == 3


def test_a_region_is_known_by_its_image_too(tmp_path: Path):
    """A region of the whole image, or one of another pixel, is no new image to the ledger of looks or to a split."""
    (tmp_path / "a.png").write_bytes(b"image")
    (tmp_path / "copy.png").write_bytes(b"image")
    region = {"x1": [None, 0, 0, 1], "y1": [None, 0, 0, 1], "x2": [None, 4, 5, 2], "y2": [None, 4, 4, 2]}
    paths = [*[tmp_path / "a.png"] * 3, tmp_path / "copy.png"]
    table = hashed(files_table(paths, origin=[None, None, "f" * 32, None], **region))
    whole = digest(b"image")
    assert table.samples["origin"].fillna("").tolist() == ["", whole, "f" * 32, whole]
    crops, images = table.take([1]), table.take([0])
    assert set(image_hashes(crops)) & set(image_hashes(images)) == {whole}
    assert join(bonds(table.take([1, 3]))).tolist() == [0, 0]
    again = hashed(table)
    assert again is table
    stored = read_table(np.zeros((1, 6, 6), np.uint8))
    part = stored.assign(x1=[0], y1=[0], x2=[6], y2=[6])
    assert hashed(part).samples["origin"].tolist() == hashed(stored).samples["hash"].tolist()


def test_the_hash_of_an_array_follows_shape_and_values():
    flat = np.arange(12, dtype=np.uint8)
    images = [
        flat.reshape(3, 4),
        flat.reshape(4, 3),
        flat.reshape(4, 3, 1),
        flat.reshape(4, 3).T,
        flat.reshape(3, 4) + 1,
    ]
    hashes = hashed(read_table([*images, np.ascontiguousarray(images[3])])).samples["hash"].tolist()
    assert len(set(hashes[:5])) == 5
    assert hashes[5] == hashes[3], "the layout in memory does not matter"


def test_known_hashes_are_kept(tmp_path: Path):
    (tmp_path / "a.png").write_bytes(b"image")
    table = files_table([tmp_path / "a.png", tmp_path / "gone.png"], hash=[None, "f" * 32])
    assert hashed(table).samples["hash"].tolist() == [digest(b"image"), "f" * 32]


def test_a_file_that_cannot_be_hashed_is_left_out_and_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    paths = [tmp_path / name for name in ("gone.png", "a.png", "large.png", "b.png")]
    for path, size in zip(paths[1:], (3, 9, 4), strict=True):
        path.write_bytes(b"x" * size)
    monkeypatch.setattr(content, "LARGEST_FILE", 8)
    table = replace(files_table(paths, label=["g", "a", "l", "b"]), notes=("noted before",))
    kept = hashed(table)
    assert kept.samples["hash"].tolist() == [digest(b"xxx"), digest(b"xxxx")]
    assert kept.samples["label"].tolist() == ["a", "b"]
    assert kept.notes[0] == "noted before"
    assert kept.notes[1].startswith(f"Left out: {paths[0]} cannot be read: No such file")
    assert kept.notes[2].startswith(f"Left out: {paths[2]} has 0.0 GiB; an image file of more than 1 GiB")
    assert len(kept.notes) == 3
    assert hashed(kept).notes == kept.notes


def test_unreadable_files_are_refused_where_that_is_asked_or_nothing_is_left(tmp_path: Path):
    (tmp_path / "a.png").write_bytes(b"image")
    table = files_table([tmp_path / "a.png", tmp_path / "gone.png", tmp_path / "lost.png"])
    with pytest.raises(
        DataError, match=r"^2 of 3 images cannot be read; the first: .*gone\.png cannot be read: No such"
    ):
        hashed(table, unreadable="refuse")
    with pytest.raises(
        DataError, match=r"^2 of 2 images cannot be read; the first: .*gone\.png cannot be read: No such"
    ):
        hashed(table.take([1, 2]))
    assert len(hashed(table.take([0]), unreadable="refuse")) == 1


def test_a_parquet_file_that_is_lost_is_one_note(tmp_path: Path):
    for name in ("a", "b"):
        write_shard(tmp_path / f"{name}.parquet", [f"{name} {row}".encode() for row in range(300)], group_rows=100)
    table = read_table(tmp_path)
    (tmp_path / "a.parquet").unlink()
    kept = hashed(table)
    assert kept.samples["hash"].tolist() == [digest(f"b {row}".encode()) for row in range(300)]
    [note] = kept.notes[len(table.notes) :]
    assert note.startswith("Left out (300 images): ")
    assert "a.parquet cannot be read: No such file" in note


def test_reading_bytes_imports_neither_pandas_nor_pyarrow():
    code = (
        "import sys; from tenfold.images.content import read_bytes; from tenfold.images.readers import find_images;"
        f"read_bytes({__file__!r}); find_images([{str(Path(__file__).parent)!r}]);"
        "print(*{'pandas', 'pyarrow', 'sklearn', 'torch', 'PIL'} & set(sys.modules))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == ""


def test_real_parquet_shards(shared_data: Path):
    if not (shared_data / "tiny-imagenet").is_dir():
        pytest.skip("needs tiny-imagenet")
    table = read_table(shared_data / "tiny-imagenet")
    rows = [0, 499, 500, 12_499, 12_500, 74_999, 75_000, 84_999]
    for row in rows:
        sample = table.samples.iloc[row]
        whole = pq.read_table(sample["source"], columns=["image"]).column("image")
        assert encoded(table, row) == whole[int(sample["row"])].as_py()["bytes"]
    assert hashed(table.take(rows)).samples["hash"].nunique() == len(rows)
