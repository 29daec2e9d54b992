"""Fetch weights: a download that goes on where it broke off, is checked by its hash, and only then has its name."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from http.client import HTTPException, HTTPResponse
from io import FileIO
from pathlib import Path
from typing import NamedTuple
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from tenfold.errors import DataError
from tenfold.models.weights.packages import need_package
from tenfold.models.weights.places import (
    Found,
    file_hash,
    how_to_get,
    hub_digest,
    is_published,
    kept_path,
    look_for,
)
from tenfold.models.weights.published import Published, published_files

Watch = Callable[[int, int], None]
"""Called with the bytes that are here and those there will be (0 where the server does not say)."""

_PIECE = 2**18
_SECONDS = 30.0
_FIRST = re.compile(r"bytes (\d+)-")


def watch_nothing(done: int, total: int) -> None:
    """Tell nobody."""


def fetch_weights(name: str, watch: Watch = watch_nothing) -> Found:
    """A backbone's published weights: found on this machine, or else downloaded into the own cache.

    Its addresses are tried in turn. What is from the Hugging Face hub is downloaded by its own library, into its own
    folder. Raises DataError where there is no network (HF_HUB_OFFLINE counts as none), no address, or where what comes
    is not what was published; it says how to bring the file from elsewhere.
    """
    files = published_files(name)
    for published in files:
        if found := look_for(published):
            return found
    failures: dict[str, list[str]] = {}
    for published in (file for file in files if file.url or file.repository):
        if is_offline():
            raise DataError(how_to_get(name, files, failed="HF_HUB_OFFLINE forbids downloads"))
        try:
            path = _from_hub(published) if published.repository else download(published, watch)
        except Unreachable as error:
            failures.setdefault(str(error), []).append(published.file)
            continue
        return Found(path, file_hash(path), published)
    raise DataError(how_to_get(name, files, failed=_in_words(failures)))


def _in_words(failures: Mapping[str, Sequence[str]]) -> str:
    """Reasons, each with the files that it kept from coming; these are named where there are several reasons."""
    if len(failures) < 2:
        return "".join(failures)
    return "; ".join(f"{' and '.join(files)}: {reason}" for reason, files in failures.items())


def is_offline() -> bool:
    """Whether HF_HUB_OFFLINE forbids the network, as the Hugging Face libraries read it."""
    return os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE")


class Unreachable(Exception):
    """The network, or the server at the other end, did not give the file; the text is a clause without its address."""


def download(published: Published, watch: Watch = watch_nothing) -> Path:
    """Download a file into the own cache; what is there of an earlier try is not downloaded again.

    Several processes may do so at once: all write the same bytes at the same places of one file, and those that end
    later find it published. A connection that breaks is opened again as long as each brings something. Raises
    Unreachable, DataError where the file is not the published one (it is deleted), or OSError, which names the file,
    where it cannot be written.
    """
    target = kept_path(published)
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f"{target.name}.part")
    try:
        with _opened(part) as file:
            _complete(file, published.url, watch)
            _check(part, published)
            is_ours = os.path.samestat(os.fstat(file.fileno()), part.stat())
        if not is_ours:
            raise Unreachable("another program has taken away what was downloaded")
        part.replace(target)
    except (Unreachable, DataError, FileNotFoundError):
        if other := look_for(published):  # another process was quicker, and ours has lost its name
            part.unlink(missing_ok=True)
            return other.path
        raise
    return target


def _opened(part: Path) -> FileIO:
    """What is there of a file, to be read and written; made where nothing is.

    It stays open until it is whole: opened again it might be another process's, and begin with a hole.
    """
    return open(part, "r+b", buffering=0, opener=lambda path, flags: os.open(path, flags | os.O_CREAT, 0o666))


def _complete(file: FileIO, url: str, watch: Watch) -> None:
    """Download what is missing of a file."""
    here = _size(file)
    while not _append(file, url, here, watch):
        before, here = here, _size(file)
        if here <= before:
            raise Unreachable(f"the download broke off after {here:,} bytes, which are kept for the next try")


def _check(part: Path, published: Published) -> None:
    """Raise DataError where a file that is whole is not the published one; it is deleted."""
    sha256 = file_hash(part)
    if published.digest and not is_published(part, sha256, published):
        part.unlink(missing_ok=True)
        raise _not_published(published.url, sha256, published.sha256 or published.digest, published.file)


class _Answer(NamedTuple):
    """What a server gives from some byte on."""

    response: HTTPResponse
    start: int
    total: int
    """Bytes of the whole file; 0 where the server does not say."""


def _append(file: FileIO, url: str, start: int, watch: Watch) -> bool:
    """Add what is missing from byte `start` on; False where the connection ended before the file did."""
    answer = _ask(url, start)
    if answer is None:
        return True
    with answer.response:
        file.seek(answer.start)  # and no truncation: what lies beyond another process may have written
        while piece := _read(answer.response):
            _write(file, piece)
            watch(file.tell(), answer.total)
    is_whole = piece is not None and file.tell() >= answer.total
    if is_whole:
        file.truncate()
    return is_whole


def _write(file: FileIO, piece: bytes) -> None:
    """All of a piece. Raises OSError, which names the file, where the disk is full."""
    try:
        while piece:
            piece = piece[file.write(piece) :]
    except OSError as error:
        raise OSError(error.errno, error.strerror or str(error), str(file.name)) from error


def _size(file: FileIO) -> int:
    return os.fstat(file.fileno()).st_size


def _ask(url: str, start: int) -> _Answer | None:
    """Ask for a file from byte `start` on; None where the server has no more than that."""
    headers = {"User-Agent": "tenfold", "Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
    try:
        response = urlopen(Request(url, headers=headers), timeout=_SECONDS)
    except HTTPError as error:
        error.close()
        if error.code == 416 and start:
            return None
        raise Unreachable(f"the server answers {error.code} {error.reason}") from error
    except (OSError, HTTPException) as error:
        raise Unreachable(f"the server cannot be reached: {getattr(error, 'reason', error)}") from error
    length = int(response.headers.get("Content-Length") or 0)
    first = _FIRST.match(response.headers.get("Content-Range", ""))
    if response.status == 206 and first and int(first[1]) == start:
        return _Answer(response, start, start + length if length else 0)
    return _Answer(response, 0, length)  # a server that knows no ranges begins anew


def _read(response: HTTPResponse) -> bytes | None:
    """The next piece; empty at the end, None where the connection broke."""
    try:
        return response.read(_PIECE)
    except (OSError, HTTPException):
        return None


def _from_hub(published: Published) -> Path:
    """By huggingface_hub, which resumes and shows a bar itself; the hash is checked here, on drives that know links.

    Raises Unreachable, or DataError where the file is not the one that the hub tells of (it is deleted).
    """
    hub = need_package("huggingface_hub", f"The backbone {published.backbone}")
    try:
        # One that is here already is damaged, else nothing would be fetched, and the hub's library would give it again.
        is_here = isinstance(hub.try_to_load_from_cache(published.repository, published.file), str)
        path = Path(hub.hf_hub_download(published.repository, published.file, force_download=is_here))
    except (OSError, ValueError) as error:  # the bases of all that it raises
        reason = " ".join(str(error).split()).rstrip(".")
        raise Unreachable(reason) from error
    wanted = hub_digest(path)
    sha256 = file_hash(path)
    if wanted and sha256 != wanted:
        path.resolve().unlink(missing_ok=True)
        path.unlink(missing_ok=True)
        raise _not_published(f"https://huggingface.co/{published.repository}", sha256, wanted, published.file)
    return path


def _not_published(address: str, sha256: str, wanted: str, file: str) -> DataError:
    """The error for a file of another hash than the one that was wanted, which has been deleted."""
    return DataError(
        f"{address} gave a file with sha256 {sha256}, not {wanted}, so it was deleted; try again, and if it stays so, "
        f"get {file} from elsewhere."
    )
