"""A file is complete or absent."""

import pytest

from tenfold.files import write_file


def test_a_failed_write_leaves_the_old_content_and_no_debris(tmp_path):
    path = tmp_path / "deep" / "file.txt"
    write_file(path, "old")

    def fail(aside):
        aside.write_text("half")
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        write_file(path, fail)
    assert path.read_text() == "old"
    assert [entry.name for entry in path.parent.iterdir()] == ["file.txt"]


def test_content_is_bytes_text_or_a_function(tmp_path):
    for content in ("ảnh", "ảnh".encode(), lambda aside: aside.write_text("ảnh", "utf-8")):
        write_file(tmp_path / "file", content)
        assert (tmp_path / "file").read_text("utf-8") == "ảnh"
