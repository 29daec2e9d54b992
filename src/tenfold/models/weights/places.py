"""Where a file of weights lies on this machine: found before it is fetched, and checked by its hash.

A file of which no hash is published is taken as it is; that of one in the Hugging Face hub's folder is its name there.

Looked at in this order: Tenfold's own cache, the Python package that contains the file, the folder of torch.hub
(TORCH_HOME), and that of the Hugging Face hub (HF_HOME, HF_HUB_CACHE).
"""

from __future__ import annotations

import hashlib
import re
import shutil
from collections.abc import Iterator, Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import torch

from tenfold.errors import DataError
from tenfold.files import write_file
from tenfold.images.cache import WEIGHTS, cache_folder
from tenfold.models.weights.packages import need_package
from tenfold.models.weights.published import (
    DETECTORS,
    PUBLISHED,
    Origin,
    Published,
    published_files,
    timm_files,
    torchvision_files,
)

_OF_TIMM = "models--timm--"
"""How the folder of a network of timm begins in that of the Hugging Face hub."""
_SHA256 = re.compile("[0-9a-f]{64}")


class Found(NamedTuple):
    """A published file that is here."""

    path: Path
    sha256: str
    published: Published


def weights_folder() -> Path:
    """Where fetched and imported weights are kept, a folder a backbone: in Tenfold's cache, which is not cleared."""
    return cache_folder() / WEIGHTS


def kept_path(published: Published) -> Path:
    """Where the own cache keeps that file."""
    return weights_folder() / published.backbone.replace(":", "--") / published.file


def known_networks() -> list[str]:
    """The networks that are looked for where none is named: those in PUBLISHED, and torchvision's in the own cache.

    Whether their weights are here says `find_published`. torchvision's detectors are none of them.
    """
    kept = [folder.name.removeprefix("torchvision--") for folder in weights_folder().glob("torchvision--*")]
    others = [f"torchvision:{network}" for network in sorted(kept) if network not in DETECTORS]
    return list(dict.fromkeys([*(published.backbone for published in PUBLISHED), *others]))


def kept_networks() -> list[str]:
    """torchvision's and timm's networks, detectors too, that the own cache has a folder of."""
    folders = sorted(folder.name for folder in weights_folder().glob("*--*"))
    return [folder.replace("--", ":", 1) for folder in folders]


def networks_elsewhere() -> list[str]:
    """torchvision's and timm's networks that torch.hub's folder or the Hugging Face hub's seems to have weights of.

    Seems, as only names are looked at: `look_for` says whether a file is whole. Libraries are imported only where
    there is something to ask them of.
    """
    files = {path.name for path in (_torch_hub() / "checkpoints").glob("*.*")} - {known.file for known in PUBLISHED}
    found: list[str] = []
    for list_files in (torchvision_files, timm_files):
        if files and (named := {name: file for name, file in list_files().items() if file in files}):
            found += named
            files -= {*named.values()}
    if find_spec("huggingface_hub") is None:
        return found
    hub = Path(import_module("huggingface_hub.constants").HF_HUB_CACHE)
    return [*found, *sorted(f"timm:{folder.name.removeprefix(_OF_TIMM)}" for folder in hub.glob(f"{_OF_TIMM}*"))]


def find_weights(name: str) -> Path:
    """The file with a backbone's published weights. Raises DataError where it is not here: how to get it."""
    return find_published(name).path


def find_published(name: str) -> Found:
    """The first of a backbone's published files that lies here undamaged. Raises DataError where none does."""
    files = published_files(name)
    damaged: list[str] = []
    for published in files:
        if found := look_for(published, damaged):
            return found
    raise DataError(how_to_get(name, files, damaged))


def look_for(published: Published, damaged: list[str] | None = None) -> Found | None:
    """That file, wherever it lies; one with another hash is passed over, and added to `damaged`."""
    for path in _places(published):
        if path.is_file():
            sha256 = file_hash(path)
            given = published.digest
            if is_published(path, sha256, published) if given else hub_digest(path) in ("", sha256):
                return Found(path, sha256, published)
            if damaged is not None:
                damaged.append(str(path))
    return None


def hub_digest(path: Path) -> str:
    """The sha256 that the Hugging Face hub gives for a file in its folder; empty where it does not say one.

    There a file is a link to one that is named by that. Only this link counts: the other may be one too, to a file that
    several networks share and that is named otherwise. On a drive that knows no links nothing is said.
    """
    name = path.readlink().name if path.is_symlink() and path.readlink().parent.name == "blobs" else ""
    return name if _SHA256.fullmatch(name) else ""


def how_to_get(name: str, files: Sequence[Published], damaged: Sequence[str] = (), failed: str = "") -> str:
    """One sentence: that weights are not here, which files hold them, and the commands that bring them.

    `failed` is why they could not be fetched just now, a clause: then that is not advised.
    """
    if not files:
        return f"No weights are published for the backbone {name}; give a file: --transfer.weights FILE"
    spoiled = f" ({', '.join(damaged)} is damaged: its hash is another)" if damaged else ""
    wanted = ", or ".join(file.where() for file in files)
    fetch = f"fetch them with: tenfold weights fetch {name}" if any(f.url or f.repository for f in files) else ""
    bring = f"type: tenfold weights import {name} {files[0].file}"
    if failed:
        return f"The weights of {name} cannot be fetched ({failed}): {wanted}; bring the file another way and {bring}"
    bring = f"without a network bring the file and {bring}"
    return (
        f"The weights of {name} are not on this machine{spoiled}: {wanted}; {'; '.join(filter(None, (fetch, bring)))}"
    )


def keep_weights(name: str, file: Path) -> Found:
    """Copy a published file, brought from elsewhere, into the own cache, where it is found from then on.

    Raises DataError where it is none of the backbone's published files by its hash (where a hash is published), or
    cannot be read.
    """
    files = published_files(name)
    sha256 = file_hash(file)
    for published in files:
        unknown = not published.digest and file.suffix == Path(published.file).suffix
        if is_published(file, sha256, published) or unknown:
            target = kept_path(published)
            write_file(target, lambda aside: shutil.copyfile(file, aside))
            return Found(target, sha256, published)
    wanted = ", or ".join(published.where() for published in files) or "none, as no weights of it are published"
    raise DataError(
        f"{file} has sha256 {sha256}, so it is not the file that {name} is published in: {wanted}; to use it all the "
        "same give it where you train: --transfer.weights FILE"
    )


def known_file(file: Path, sha256: str) -> Published | None:
    """The published file of a network of Tenfold's own that a file of that hash is, if it is one."""
    return next((published for published in PUBLISHED if is_published(file, sha256, published)), None)


def origin_of(name: str, file: Path, sha256: str) -> Origin:
    """Of weights from a file that a user gave: what is known by its hash, or else that nothing is."""
    if published := known_file(file, sha256):
        return published.origin(sha256)
    return Origin(name, f"file {file.name}", "not stated", sha256, "ask whoever made the file what it may be used for")


def is_published(file: Path, sha256: str, published: Published) -> bool:
    """Whether a file of that hash is the published one; its MD5 counts where only that is known, and sizes agree."""
    if published.sha256 or not published.md5 or abs(file.stat().st_size / 1e6 - published.megabytes) > 0.05:
        return published.is_file(sha256)
    with file.open("rb") as content:
        return hashlib.file_digest(content, lambda: hashlib.md5(usedforsecurity=False)).hexdigest() == published.md5


def file_hash(path: Path) -> str:
    """SHA-256 of a file, hexadecimal. Raises DataError where it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}.") from error


def _torch_hub() -> Path:
    return Path(torch.hub.get_dir())


def _places(published: Published) -> Iterator[Path]:
    yield kept_path(published)
    if published.package and (spec := find_spec(published.package.replace("-", "_"))) and spec.origin:
        yield Path(spec.origin).parent / "models" / published.file
    if published.url:
        yield _torch_hub() / "checkpoints" / published.file
    if published.repository:
        hub = need_package("huggingface_hub", f"The backbone {published.backbone}")
        cached = hub.try_to_load_from_cache(published.repository, published.file)
        if isinstance(cached, str):  # it also tells of files that are known not to exist
            yield Path(cached)
