"""Proposals as a file, so that detectors take those of any other program too: a table with a row a box.

    image        the image's file: its path from the folder of this file on, or an absolute one
    hash         the image's content: 32 hexadecimal digits as in Table.samples; where it is given, it counts alone
    x1 y1 x2 y2  the box in pixels of the upright image, whose first pixel reaches from 0 to 1
    score        the higher, the likelier; without it the rows of an image come in that order, the likeliest first

The file is Parquet (.parquet) or CSV (.csv, UTF-8, with a header). It needs `image` or `hash`; other columns are not
read. A row without any corner says that there is no box in its image. By `hash` images are found wherever they lie, by
`image` where they lie as they did beside the file.

Shapes: N images, P proposals of an image, R rows.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tenfold.boxes import CORNERS, clip_boxes, sound_boxes
from tenfold.environment import cores
from tenfold.errors import DataError, UsageError
from tenfold.files import write_file
from tenfold.images.content import Content, content_hash, read_bytes
from tenfold.images.prepared import sample_size
from tenfold.images.table import Table
from tenfold.proposals.stored import Proposed, Watch, watch_nothing
from tenfold.proposals.windows import Boxes

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = ["image", "hash", *CORNERS]
"""Those that `write_proposals` writes."""
SUFFIXES = (".parquet", ".csv")

_TEXTS, _NUMBERS = ("image", "hash"), (*CORNERS, "score")


class Given(NamedTuple):
    """What a file says of images."""

    boxes: list[Boxes]
    """float32 [P, 4] of each, cut to the image, the likeliest first; P may be 0."""
    left_out: int
    """Rows of these images that are no box: a corner is no finite number, or nothing of it lies in the image."""


@dataclass(frozen=True, eq=False)
class ProposalFile:
    """A file of proposals; `read_proposals` reads one."""

    path: Path
    corners: NDArray[np.float64]
    """[R, 4]"""
    by_hash: dict[str, NDArray[np.int64]]
    """The rows of each content, the likeliest first."""
    by_path: dict[str, NDArray[np.int64]]
    """The same of the images that the file names by their path only, which is absolute here."""

    def of_table(self, table: Table, watch: Watch = watch_nothing) -> Given:
        """The proposals of each sample of a table with hashes (of its region, where it has one).

        Raises DataError where samples have no row here, or one cannot be read.
        """
        samples = table.samples
        whole = (samples["row"].isna() & samples["x1"].isna()).to_numpy(bool)
        sources: list[str] = samples["source"].tolist()
        each = zip(samples["hash"].tolist(), sources, whole.tolist(), strict=True)
        rows = [self._rows(digest, source if alone else None) for digest, source, alone in each]
        if lacking := [source for source, own in zip(sources, rows, strict=True) if own is None]:
            raise self._lacks(lacking, len(table))
        found = []
        pool = ThreadPoolExecutor(cores(), thread_name_prefix="tenfold-size")
        try:
            for own, size in zip(rows, pool.map(partial(sample_size, table), range(len(rows))), strict=True):
                assert own is not None
                found.append(self._cut(own, size))
                watch(len(found), len(rows))
        finally:
            pool.shutdown(cancel_futures=True)
        return Given([boxes for boxes, _ in found], sum(left_out for _, left_out in found))

    def of_image(self, content: Content, path: str | None, size: tuple[int, int]) -> Boxes:
        """The proposals of one image, float32 [P, 4]: its content, its path if it is a file, its height and width.

        Raises DataError where it has no row here, UsageError where that is so of an image in memory.
        """
        rows = self._rows(content_hash(content), path)
        if rows is None and path is None:
            raise UsageError(
                f"{self.path} has no proposals for an image in memory, whose content is its array, no file's: predict "
                "its file with `predict_files`, or prepare it and hand it with its boxes to `predict_canvases`."
            )
        if rows is None:
            raise self._lacks([str(path)], 1)
        return self._cut(rows, size)[0]

    def refuse_lacking(self, paths: Iterable[str]) -> None:
        """Raise DataError where image files have no row here; those that cannot be read are passed over."""
        every = list(paths)
        if lacking := [path for path in every if self._lacks_file(path)]:
            raise self._lacks(lacking, len(every))

    def _lacks_file(self, path: str) -> bool:
        try:
            return self._rows(content_hash(read_bytes(path)), path) is None
        except DataError:
            return False

    def _rows(self, digest: str, path: str | None) -> NDArray[np.int64] | None:
        rows = self.by_hash.get(digest)
        return self.by_path.get(_resolved(path)) if rows is None and path is not None else rows

    def _cut(self, rows: NDArray[np.int64], size: tuple[int, int]) -> tuple[Boxes, int]:
        """The boxes of these rows that an image of this height and width shows, and how many of them are none."""
        corners = self.corners[rows]
        corners = corners[~np.isnan(corners).all(1)]
        cut = clip_boxes(corners, *size).astype(np.float32)
        good = np.isfinite(corners).all(1) & sound_boxes(cut)
        return cut[good], int((~good).sum())

    def _lacks(self, lacking: list[str], of: int) -> DataError:
        return DataError(
            f"{self.path} has no proposals for {len(lacking)} of {of} images, for example {lacking[0]}; give a file "
            "that has some for all of them, as tenfold proposals --save writes it: to a training as "
            "detect.proposals_from, to its run, where it evaluates or predicts, as --proposals."
        )


def read_proposals(path: str | Path) -> ProposalFile:
    """What a file holds. Raises UsageError for another kind of file, DataError where it cannot be read as proposals."""
    file = Path(path)
    _refuse_suffix(file)
    try:
        frame = _read_frame(file).reset_index(drop=True)
        if missing := [name for name in CORNERS if name not in frame]:
            raise ValueError(f"it has no column {missing[0]}")
        if not any(name in frame for name in _TEXTS):
            raise ValueError("it has neither a column image nor a column hash")
        frame = frame.astype({name: np.float64 for name in _NUMBERS if name in frame})
    except (OSError, ValueError, TypeError, KeyError) as error:
        reason = getattr(error, "strerror", None) or " ".join(str(error).split()).rstrip(".")
        raise DataError(f"{file} cannot be read as proposals (image or hash, x1, y1, x2, y2): {reason}.") from error
    if "score" in frame:
        frame = frame.iloc[np.argsort(-frame["score"].to_numpy(), kind="stable")].reset_index(drop=True)
    nobody = np.zeros(len(frame), np.bool_)
    known = frame["hash"].notna().to_numpy(bool) & (frame["hash"] != "").to_numpy(bool) if "hash" in frame else nobody
    by_hash = _grouped(frame["hash"][known].map(lambda text: str(text).lower())) if "hash" in frame else {}
    by_path: dict[str, NDArray[np.int64]] = {}
    if "image" in frame:
        images = frame["image"][~known & frame["image"].notna().to_numpy(bool)]
        full = {text: _resolved(str(file.parent / str(text))) for text in images.unique()}
        by_path = _grouped(images.map(full))
    return ProposalFile(file, frame[[*CORNERS]].to_numpy(np.float64), by_hash, by_path)


def write_proposals(path: str | Path, proposed: Proposed, most: int) -> None:
    """Write the first `most` boxes of every image; of images with the same content, one.

    Raises UsageError for a file that is neither .parquet nor .csv.
    """
    import pandas as pd

    file = Path(path)
    _refuse_suffix(file)
    samples = proposed.table.samples
    hashes: list[str] = samples["hash"].tolist()
    sources: list[str] = samples["source"].tolist()
    first = {text: row for row, text in reversed(list(enumerate(hashes)))}
    rows = sorted(first.values())
    nothing = np.full((1, 4), np.nan, np.float32)
    boxes = [proposed.boxes[row][:most] if len(proposed.boxes[row]) else nothing for row in rows]
    lengths = [len(own) for own in boxes]
    whole = samples["row"].isna().to_numpy(bool)
    names = [_relative(sources[row], file.parent) if whole[row] else None for row in rows]
    frame = pd.DataFrame(np.concatenate(boxes), columns=[*CORNERS])
    frame.insert(0, "hash", np.repeat(np.array([hashes[row] for row in rows], object), lengths))
    frame.insert(0, "image", np.repeat(np.array(names, object), lengths))
    write = frame.to_parquet if file.suffix.lower() == ".parquet" else frame.to_csv
    write_file(file, lambda aside: write(aside, index=False))


def is_proposals(path: Path) -> bool:
    """Whether a file has the columns that `write_proposals` writes, and no others; only its header is read."""
    try:
        return _column_names(path) == COLUMNS
    except (OSError, ValueError):
        return False


def choose_proposals(asked: str | Path | None, trained: str, run: Path) -> ProposalFile:
    """The proposals that a run looks at: those of the file `asked` for, else of the file that it was `trained` with.

    Raises UsageError where it was trained with none (then it is empty), DataError where no file is there, and what
    `read_proposals` raises.
    """
    if not trained:
        raise UsageError(
            f"proposals (--proposals) is for a run that was trained on proposals from a file, and {run} was not; leave "
            "it out."
        )
    if asked is None and not Path(trained).is_file():
        raise DataError(
            f"{run} takes its proposals from a file, and {trained} is not there; give one with proposals for these "
            "images: --proposals FILE."
        )
    return read_proposals(asked or trained)


def _read_frame(file: Path) -> pd.DataFrame:
    """The columns that are known, of those that there are."""
    import pandas as pd

    known = {*_TEXTS, *_NUMBERS}
    if file.suffix.lower() == ".parquet":
        return pd.read_parquet(file, columns=[name for name in _column_names(file) if name in known])
    return pd.read_csv(
        file,
        usecols=lambda name: name in known,
        dtype=dict.fromkeys(_TEXTS, "str"),
        keep_default_na=False,  # a file may be called NA
        na_values={name: [""] for name in _NUMBERS},
        encoding="utf-8-sig",
    )


def _column_names(file: Path) -> list[str]:
    """Those in a file's header. Raises OSError or ValueError where it has none."""
    if file.suffix.lower() == ".csv":
        import pandas as pd

        return list(pd.read_csv(file, nrows=0, encoding="utf-8-sig").columns)
    import pyarrow.parquet as pq

    with file.open("rb") as opened:
        return list(pq.read_schema(opened).names)


def _grouped(texts: pd.Series[str]) -> dict[str, NDArray[np.int64]]:
    """Each text's rows in the file, in order."""
    rows = texts.index.to_numpy(np.int64)
    return {str(text): rows[places] for text, places in texts.groupby(texts, sort=False).indices.items()}


def _refuse_suffix(file: Path) -> None:
    if file.suffix.lower() not in SUFFIXES:
        raise UsageError(f"A file of proposals must end in {' or '.join(SUFFIXES)}, not {file}.")


def _resolved(path: str) -> str:
    return os.path.normcase(os.path.realpath(path))


def _relative(source: str, folder: Path) -> str:
    """A file as seen from a folder, with slashes; as it is where that cannot be, on another drive of Windows."""
    try:
        return Path(os.path.relpath(source, folder)).as_posix()
    except ValueError:
        return source
