"""A gallery in a folder, which executes nothing when it is read, and works after being moved.

    gallery.json              the images' hashes by identity, the network and its licence, thresholds and figures
    embeddings-….safetensors  the embeddings, in the order of the hashes, and their whitening; named by its content

gallery.json names its embeddings and is written last, so that at any moment the folder holds a whole gallery or none.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from tenfold.errors import DataError
from tenfold.files import locked, write_file
from tenfold.transfer.embed import EmbeddingOrigin
from tenfold.transfer.gallery import Gallery
from tenfold.transfer.thresholds import Point

FORMAT = 1


def is_gallery(folder: Path) -> bool:
    """Whether there is a gallery, or what is left of one."""
    return (folder / "gallery.json").is_file()


def is_free(folder: Path) -> bool:
    """Whether a gallery can be made in the folder: none is there, or an empty one, or what a kill left of the first."""
    begun = ("gallery.lock", "embeddings-*.safetensors", ".gallery.json.*", ".embeddings-*")
    return not folder.exists() or (
        folder.is_dir() and all(any(file.match(name) for name in begun) for file in folder.iterdir())
    )


def replace_gallery(before: Gallery | None, gallery: Gallery, folder: Path) -> None:
    """Write a gallery that was made from the one `before`, None: from nothing.

    Raises DataError, and writes nothing, where another process has changed what stands there meanwhile; else as
    `save_gallery`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder / "gallery.lock"):
        now = load_gallery(folder) if is_gallery(folder) else None
        if _held(now) != _held(before):
            raise DataError(f"{folder} was changed by another process meanwhile, so nothing was written; try again.")
        save_gallery(gallery, folder)


def _held(gallery: Gallery | None) -> tuple[object, ...]:
    return (gallery.labels, gallery.hashes, gallery.false_accept) if gallery else ()


def save_gallery(gallery: Gallery, folder: Path) -> None:
    """Write a gallery, over the one that stood there. Raises OSError where that fails; the old one is then whole."""
    from safetensors.numpy import save

    content = save({"embeddings": gallery.embeddings, "whitening": gallery.whitening})
    digest = hashlib.sha256(content).hexdigest()
    file = f"embeddings-{digest[:16]}.safetensors"
    images: dict[str, list[str]] = {name: [] for name in gallery.identities}
    for label, image in zip(gallery.labels, gallery.hashes, strict=True):
        images[label].append(image)
    values = {
        "format": FORMAT,
        "network": gallery.origin.to_json(),
        "false_accept": gallery.false_accept,
        "thresholds": {question: point.to_json() for question, point in gallery.points.items()},
        "embeddings": {"file": file, "sha256": digest},
        "images": images,
    }
    write_file(folder / file, content)
    write_file(folder / "gallery.json", json.dumps(values, indent=2, ensure_ascii=False, allow_nan=False) + "\n")
    for other in folder.glob("embeddings-*.safetensors"):  # of one that was killed here, too
        if other.name != file:
            other.unlink(missing_ok=True)


def load_gallery(folder: Path) -> Gallery:
    """What `save_gallery` wrote. Raises DataError where there is none, or it is damaged or of another format."""
    path = folder / "gallery.json"
    if not is_gallery(folder):
        raise DataError(f"{folder} is not a gallery: it has no gallery.json; `tenfold gallery enroll` makes one.")
    try:
        values = json.loads(path.read_text("utf-8"))
        if not (folder / str(values["embeddings"]["file"])).is_file():  # another process may have replaced both
            values = json.loads(path.read_text("utf-8"))
        if values["format"] != FORMAT:
            raise DataError(f"{path} has format {values['format']}, not {FORMAT}: another version of Tenfold made it.")
        return _read(values, folder)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(
            f"{path} is damaged: {' '.join(str(error).split()).rstrip('.')}; put it back, or enroll into a new folder."
        ) from error


def _read(values: dict[str, Any], folder: Path) -> Gallery:
    from safetensors import SafetensorError
    from safetensors.numpy import load

    named = values["embeddings"]
    if not _is_plain(named["file"]):
        raise ValueError(f"it names the file {named['file']!r}")
    file = folder / named["file"]
    if not file.is_file():
        raise DataError(f"{file} is missing, so the gallery cannot be read; put it back, or enroll anew.")
    content = file.read_bytes()
    try:
        if hashlib.sha256(content).hexdigest() != named["sha256"]:
            raise ValueError("its bytes are not those that gallery.json says")
        tensors = load(content)
        embeddings, whitening = tensors["embeddings"], tensors["whitening"]
    except (SafetensorError, ValueError, KeyError) as error:
        raise DataError(f"{file} is damaged: {error}; put it back, or enroll anew.") from error
    pairs = [(label, digest) for label, images in values["images"].items() for digest in images]
    if embeddings.ndim != 2 or whitening.shape != embeddings.shape[1:] * 2 or len(embeddings) != len(pairs):
        raise ValueError(f"it has {len(pairs)} images for embeddings {list(embeddings.shape)}")
    points = {question: Point.from_json(point) for question, point in values["thresholds"].items()}
    return Gallery(
        EmbeddingOrigin.from_json(values["network"]),
        embeddings,
        whitening,
        tuple(label for label, _ in pairs),
        tuple(digest for _, digest in pairs),
        float(values["false_accept"]),
        points,
    )


def _is_plain(name: str) -> bool:
    """Whether it is the name of a file of embeddings, and leads nowhere else."""
    return Path(name).name == name and name.startswith("embeddings-") and name.endswith(".safetensors")
