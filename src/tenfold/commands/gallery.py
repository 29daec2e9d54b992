"""tenfold gallery: who is in an image, of those who are enrolled, or none of them; are two the same one?"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from difflib import get_close_matches
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from tenfold.commands.gallery_images import embedded, load_network, look_at, to_enroll
from tenfold.commands.gallery_words import (
    claim_words,
    how_named,
    pair_words,
    size_words,
    tell_supported,
    tell_worth,
)
from tenfold.commands.options import Share, Whole
from tenfold.commands.output import command_line, next_command, say, show_json, show_table
from tenfold.errors import DataError, UsageError, unknown
from tenfold.files import file_above
from tenfold.words import count

if TYPE_CHECKING:
    from tenfold.images.table import Table
    from tenfold.transfer.embed import Embedder
    from tenfold.transfer.gallery import Found, Gallery

OPTIONS = {
    "enroll": ("--as", "--false-accept", "--backbone", "--weights", "--reader"),
    "identify": ("--top-k", "--weights"),
    "verify": ("--as", "--weights"),
    "remove": ("--image",),
    "show": (),
}
"""What can be done, and the options that it takes besides --json."""

NOBODY, UNTOLD = "none of these", "no threshold yet"
MOST_LISTED = 30
"""Identities that a terminal lists; --json lists every one."""


def gallery(
    action: str,
    gallery: Path,
    /,
    *items: str,
    as_: Annotated[str, Parameter(name="--as")] = "",
    image: Annotated[tuple[Path, ...], Parameter(consume_multiple=True)] = (),
    top_k: Whole | None = None,
    false_accept: Share | None = None,
    backbone: str = "",
    weights: str = "",
    reader: str = "",
    json: bool = False,
) -> int:
    """Enroll people, plants or parts by a few images each, and find them, or none of them, in others.

    Nothing is trained: a pretrained network turns each image into an embedding, and
    images of one identity lie close together. The threshold from which on an image
    counts as somebody's is fitted for a share of strangers that may be accepted, on
    the gallery's own images, where each identity in turn plays the stranger; so are
    the error rates that are shown. Three identities are the least, and a hundred
    support a share of 1 %; of fewer than three, identify shows the nearest and names
    nobody.

    enroll makes a gallery or adds to it. verify says whether an image passes as the
    identity --as, or two images pass as one, enrolled or not; its exit code is 1
    where not. Only that score counts: an image may pass as somebody and be more like
    another, which is said. An image that cannot be read is named on stderr and left
    out; the exit code is then 1.

    For example:

        tenfold gallery enroll team people --false-accept 5%
        tenfold gallery enroll team people --backbone mobilefacenet --weights MobileFaceNet.onnx
        tenfold gallery enroll team anna-1.jpg anna-2.jpg --as Anna
        tenfold gallery identify team door.jpg --top-k 3
        tenfold gallery verify team door.jpg --as Anna
        tenfold gallery verify team one.jpg other.jpg
        tenfold gallery remove team Anna
        tenfold gallery show team

    Parameters
    ----------
    action
        enroll, identify, verify, remove or show.
    gallery
        The gallery's folder.
    items
        To enroll: a folder with a folder for each identity, a listing with path,label, or with --as images and folders
        of images. To identify: images, or folders of them. To verify: two images, or one with --as. To remove:
        identities.
    as_
        Whose images these are, or are said to be.
    image
        Images to remove from the gallery, each the same file that was enrolled.
    top_k
        How many identities an image, the most alike first; 1 where it is not given.
    false_accept
        The share of strangers' images that may be accepted: 1% or 0.01; 1 % where it was never given.
    backbone
        The pretrained network of a new gallery; where it is not given, that of the weights, or efficientnet-lite0.
    weights
        A file with its weights. Give it again where it has moved since.
    reader
        How to read what is enrolled; auto, which looks at the path, where it is not given.
    json
        Print one JSON object.
    """
    if action not in OPTIONS:
        raise unknown("The first argument of tenfold gallery", action, OPTIONS)
    given = {
        "--as": as_,
        "--image": image,
        "--top-k": top_k,
        "--false-accept": false_accept,
        "--backbone": backbone,
        "--weights": weights,
        "--reader": reader,
    }
    for name, value in given.items():
        if value not in (None, "", ()) and name not in OPTIONS[action]:
            takers = " and ".join(each for each, options in OPTIONS.items() if name in options)
            raise UsageError(f"tenfold gallery {action} takes no {name}; it is for {takers}.")
    if action == "enroll":
        read = partial(to_enroll, items, as_, reader)
        return _enroll(gallery, read if items else None, false_accept, backbone, weights, json)
    if action == "identify":
        return _identify(gallery, items, 1 if top_k is None else top_k, weights, json)
    if action == "verify":
        return _verify(gallery, items, as_, weights, json)
    if action == "remove":
        return _remove(gallery, items, image, json)
    if items:
        raise UsageError(f"tenfold gallery show takes the gallery alone, not {items[0]!r} as well.")
    return _show(gallery, json)


def _enroll(
    folder: Path,
    read: Callable[[], tuple[Table, list[str]]] | None,
    false_accept: float | None,
    backbone: str,
    weights: str,
    json: bool,
) -> int:
    from tenfold.transfer.gallery import new_gallery
    from tenfold.transfer.gallery_folder import replace_gallery
    from tenfold.transfer.thresholds import FEWEST_IDENTITIES

    standing = _standing(folder)
    if read is None and (standing is None or false_accept is None):
        raise UsageError("Say whom to enroll: a folder with a folder for each identity, or images with --as NAME.")
    table, lost = read() if read else (None, [])
    embedder = load_network(standing, backbone, weights)
    known = standing or new_gallery(embedder.origin)
    if false_accept is not None:
        known = known.refit(false_accept)
    images = _new_images(known, table) if table is not None else None
    expected = len({*known.identities, *(images.samples["label"] if images else ())})
    if told := expected >= FEWEST_IDENTITIES or false_accept is not None:
        tell_supported(expected, known.false_accept)  # before the time is spent
    before = len(known.labels)
    if table is not None and images:
        known, unreadable = _with_images(known, images, embedder, table.classes)
        lost = [*lost, *unreadable]
    replace_gallery(standing, known, folder)
    enrolled = len(known.labels) - before
    if json:
        show_json(_summary(folder, known) | {"enrolled": enrolled, "unreadable": lost})
    else:
        print(f"Enrolled {count(enrolled, 'image')}. {size_words(folder, known)}")
        tell_worth(known, told=told and expected == len(known.identities))
        if known.points:
            next_command("tenfold", "gallery", "identify", folder, "photo.jpg")
    return 1 if lost else 0


def _new_images(known: Gallery, table: Table) -> Table:
    """Those of a table that are not enrolled yet; what is said of the others is printed."""
    images, notes = known.not_enrolled(table)
    for note in notes:
        say(note)
    return images


def _with_images(
    known: Gallery, images: Table, embedder: Embedder, names: Sequence[str]
) -> tuple[Gallery, Sequence[str]]:
    """The gallery with these images, and why some cannot be read; `names` are all whose images were given."""
    found = embedded(embedder, images)
    labels, hashes = (found.table.samples[column].tolist() for column in ("label", "hash"))
    grown = known.enroll(found.vectors, labels, hashes)
    for name in dict.fromkeys([*names, *images.samples["label"]]):
        if name not in grown.identities:
            say(f"No image of {name} can be read, so {name} is not enrolled.")
    return grown, found.unreadable


def _identify(folder: Path, items: Sequence[str], top_k: int, weights: str, json: bool) -> int:
    from tenfold.transfer.gallery_folder import load_gallery

    if top_k < 1:
        raise UsageError(f"--top-k must be at least 1, not {top_k}.")
    if not items:
        raise UsageError("Say what to identify: images, or folders of them.")
    known = load_gallery(folder)
    point = known.points.get("identify")
    found = look_at(known, items, weights)
    sources = found.table.samples["source"].tolist()
    search = known.identify if point else known.nearest
    answers = list(zip(sources, search(found.vectors, top_k), strict=True))
    if json:
        images = [{"path": path, "identity": answer.identity, "top": _ranked(answer)} for path, answer in answers]
        limits = {name: getattr(point, name, None) for name in ("threshold", "false_accept")}
        show_json({"gallery": folder, **limits, "images": images, "unreadable": found.unreadable})
    else:
        places = range(2, min(top_k, len(known.identities)) + 1)
        header = ["Path", "Identity", "Nearest", "Score"]
        header += [f"{word} {place}" for place in places for word in ("Nearest", "Score")]
        nobody = NOBODY if point else UNTOLD
        show_table(header, [(path, answer.identity or nobody, *chain(*answer.top)) for path, answer in answers])
        print(how_named(point))
    return 1 if found.unreadable else 0


def _ranked(answer: Found) -> list[dict[str, object]]:
    return [{"identity": name, "score": score} for name, score in answer.top]


def _verify(folder: Path, items: Sequence[str], name: str, weights: str, json: bool) -> int:
    from tenfold.images.readers.labels import composed
    from tenfold.transfer.gallery_folder import load_gallery

    if len(items) != (1 if name else 2):
        raise UsageError(
            f"verify takes two images, or one image and --as with whose it is said to be, not {len(items)}."
        )
    if folders := [item for item in items if Path(item).is_dir()]:
        raise UsageError(f"verify takes single images, and {folders[0]} is a folder; name the image in it.")
    known = load_gallery(folder)
    known.point("verify_images")
    name = composed(name.strip())
    if name:
        _refuse_strangers(folder, known, [name], guess=True)
    found = look_at(known, items, weights, tell=False)
    if found.unreadable:
        raise DataError(found.unreadable[0])
    first, last = found.vectors[0], found.vectors[-1]  # the same where one image was named twice
    verdict = known.verify_identity(first, name) if name else known.verify_images(first, last)
    limits = {"threshold": verdict.point.threshold, "false_accept": verdict.point.false_accept}
    if json:
        nearest = dict(zip(("identity", "score"), verdict.nearest, strict=True)) if verdict.nearest else None
        answer = {"same": verdict.same, "score": verdict.score, "nearest": nearest}
        show_json({"gallery": folder, "as": name or None, **answer, **limits})
    else:
        print(claim_words(items[0], name, verdict) if name else pair_words(items[0], items[1], verdict))
    return 0 if verdict.same else 1


def _remove(folder: Path, names: Sequence[str], images: Sequence[Path], json: bool) -> int:
    from tenfold.images.content import content_hash, read_bytes
    from tenfold.images.readers.labels import composed
    from tenfold.transfer.gallery_folder import load_gallery, replace_gallery

    if not names and not images:
        raise UsageError("Say whom to remove: identities, or with --image images.")
    known = load_gallery(folder)
    hashes = {content_hash(read_bytes(path)): path for path in images}
    for digest, path in hashes.items():
        if digest not in known.hashes:
            raise UsageError(
                f"{path} is not enrolled in {folder}, so it cannot be removed; an image is known by its content, so "
                "give the file that was enrolled, or name whose images are to go."
            )
    names = [composed(name.strip()) for name in names]
    _refuse_strangers(folder, known, names, guess=False)  # a guess would be somebody else to be deleted
    left = known.remove(names, hashes)
    replace_gallery(known, left, folder)
    removed = len(known.labels) - len(left.labels)
    gone = [name for name in known.identities if name not in left.identities]
    if json:
        show_json(_summary(folder, left) | {"removed": removed, "gone": gone})
    else:
        with_them = f" and with them {', '.join(gone)}" if gone else ""
        print(f"Removed {count(removed, 'image')}{with_them}. {size_words(folder, left)}")
        tell_worth(left)
    return 0


def _show(folder: Path, json: bool) -> int:
    from tenfold.transfer.gallery_folder import load_gallery

    known = load_gallery(folder)
    if json:
        show_json(_summary(folder, known))
        return 0
    counts = list(known.counts().items())
    more = len(counts) - MOST_LISTED
    show_table(("Identity", "Images"), counts[:MOST_LISTED])
    if more > 0:
        print(f"... and {more} more; --json lists every one.\n")
    print(size_words(folder, known))
    tell_worth(known)
    return 0


def _refuse_strangers(folder: Path, known: Gallery, names: Iterable[str], guess: bool) -> None:
    """Raise UsageError for a name that is not enrolled; with `guess` it says which one is like it."""
    for name in names:
        if name in known.identities:
            continue
        near = get_close_matches(name, known.identities, n=1, cutoff=0.5) if guess else []
        listed = f"{command_line('tenfold', 'gallery', 'show', folder)} lists who is."
        raise UsageError(f"{name!r} is not enrolled in {folder}; {f'did you mean {near[0]!r}?' if near else listed}")


def _standing(folder: Path) -> Gallery | None:
    """The gallery that is there; None where one can be made. Raises UsageError for a folder of something else."""
    from tenfold.transfer.gallery_folder import is_free, is_gallery, load_gallery

    if file := file_above(folder):
        raise UsageError(
            f"{folder} cannot be a gallery's folder, as {file} is a file; give a gallery, or a new folder."
        )
    if is_gallery(folder):
        return load_gallery(folder)
    if not is_free(folder):
        raise UsageError(f"{folder} is there and is no gallery; give a gallery, or a new folder.")
    return None


def _summary(folder: Path, known: Gallery) -> dict[str, Any]:
    return {
        "gallery": folder,
        "images": len(known.labels),
        "identities": known.counts(),
        "network": known.origin,
        "false_accept": known.false_accept,
        "thresholds": known.points,
    }
