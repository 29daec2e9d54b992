"""tenfold weights: the pretrained weights that are here, and how others come here."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from tenfold.commands.output import console, show_json, show_table
from tenfold.errors import UsageError

if TYPE_CHECKING:
    from tenfold.models.weights.fetch import Watch
    from tenfold.models.weights.places import Found
    from tenfold.models.weights.published import Published


def weights(
    action: Literal["list", "fetch", "import"] = "list", name: str = "", file: Path | None = None, *, json: bool = False
) -> int:
    """List the pretrained weights that are known and here, fetch some, or import a file brought from elsewhere.

    Weights are looked for in Tenfold's cache, in Python packages that hold them,
    and in the folders of torch.hub (TORCH_HOME) and of the Hugging Face hub
    (HF_HOME). With HF_HUB_OFFLINE=1 nothing is downloaded. A download that broke
    off goes on where it was; a file is checked by the hash that its publisher gives,
    which some of timm's files outside the Hugging Face hub lack.

    For example:

        tenfold weights list
        tenfold weights fetch vgg16
        tenfold weights fetch torchvision:resnet18
        tenfold weights import vgg16 vgg16-397923af.pth
        tenfold weights import MobileFaceNet.onnx

    Parameters
    ----------
    action
        What to do.
    name
        The network whose weights are meant, for fetch and import. Of a file to import it may be left out: a published
        file is known by its hash, or by its name where it is one of torchvision's or timm's.
    file
        The file to import.
    json
        Print one JSON object.
    """
    if action == "import" and file is None and _is_file(name):
        file = Path(name)
        name = _whose(file)
    if action == "import" and name and (given := file or Path(name)).is_dir():
        is_run = (given / "model.json").is_file()
        advice = f"to start from that run's network, train with --init {given}" if is_run else "name the file in it."
        raise UsageError(f"tenfold weights import takes a file of weights, and {given} is a folder; {advice}")
    if (action == "list") != (not name) or (action == "import") != (file is not None):
        raise UsageError(
            "tenfold weights takes list, fetch NAME, import NAME FILE or import FILE, "
            f"not {' '.join(filter(None, (action, name, str(file or ''))))!r}."
        )
    if action == "list":
        return _list(json)
    found = _fetch(name) if file is None else _import(name, file)
    origin = found.published.origin(found.sha256)
    if json:
        show_json({"path": found.path, **origin.to_json()})
        return 0
    print(origin)
    print(f"Here: {found.path}")
    return 0


def _list(json: bool) -> int:
    from tenfold.models.weights.places import look_for, weights_folder
    from tenfold.models.weights.published import PUBLISHED

    rows: list[dict[str, Any]] = []
    for published in PUBLISHED:
        found = look_for(published)
        path = found.path if found else None
        rows.append({**asdict(published), "sha256": found.sha256 if found else published.sha256, "path": path})
    rows += _others()
    if json:
        show_json({"folder": weights_folder(), "weights": rows})
        return 0
    header = ("Network", "File", "MB", "SHA-256", "Licence", "Here")
    cells = [
        (
            row["backbone"],
            row["file"],
            f"{row['megabytes']:.0f}",
            row["sha256"][:8] or f"md5 {row['md5'][:8]}",
            row["licence"],
            row["path"] or "no",
        )
        for row in rows
    ]
    show_table(header, cells)
    notes: dict[str, list[str]] = {}
    for row in rows:
        if row["note"]:
            notes.setdefault(row["note"], []).append(row["backbone"])
    for note, names in notes.items():
        print(f"{', '.join(dict.fromkeys(names))}: {note}.")
    print(
        "torchvision's networks that are chains of convolutions (VGG, ResNet, EfficientNet, ConvNeXt and others), its "
        "detectors, and timm's networks that give maps can be fetched as torchvision:NAME or timm:NAME."
    )
    return 0


def _others() -> Iterator[dict[str, Any]]:
    """What is here of torchvision's and timm's networks, in any of the folders that are looked into."""
    from tenfold.models.weights.places import kept_networks, look_for, networks_elsewhere
    from tenfold.models.weights.published import published_files

    for name in dict.fromkeys([*kept_networks(), *networks_elsewhere()]):
        files: tuple[Published, ...] = ()
        with suppress(UsageError):  # of a library that is not here, or of a version that does not know the network
            files = published_files(name)
        for found in filter(None, map(look_for, files)):
            size = found.path.stat().st_size / 1e6
            yield {**asdict(found.published), "sha256": found.sha256, "megabytes": size, "path": found.path}


def _fetch(name: str) -> Found:
    """Fetched only if the network can be made, torchvision's detectors aside."""
    from tenfold.models.backbones import bare_backbone
    from tenfold.models.weights import fetch_weights
    from tenfold.models.weights.published import DETECTORS, published_files

    _check_name(name)
    published_files(name)  # refuses a name that is not known, and knows the nearest among the detectors too
    if name.removeprefix("torchvision:") not in DETECTORS:
        bare_backbone(name)
    with _bar(name) as watch:
        return fetch_weights(name, watch)


def _import(name: str, file: Path) -> Found:
    """Kept only if the network can be made with it; torchvision's detectors are known by the file's hash alone."""
    from tenfold.models.backbones import make_backbone
    from tenfold.models.weights import keep_weights
    from tenfold.models.weights.published import DETECTORS

    _check_name(name)
    if name.removeprefix("torchvision:") not in DETECTORS:
        make_backbone(name, file)
    return keep_weights(name, file)


def _is_file(name: str) -> bool:
    """Whether that is a file of weights, be it there or not, and no network's name."""
    from tenfold.models.weights.read import READERS

    return Path(name).is_file() or name.lower().endswith(tuple(READERS))


def _whose(file: Path) -> str:
    """The network that a published file is of; `keep_weights` holds it against the hash that is published."""
    from tenfold.models.weights.places import file_hash, known_file
    from tenfold.models.weights.published import timm_files, torchvision_files

    if published := known_file(file, file_hash(file)):
        return published.backbone
    for list_files in (torchvision_files, timm_files):
        for name, known in list_files().items():
            if known == file.name:
                return name
    raise UsageError(
        f"{file} is no published file, by its hash or its name, and only these are imported; name its network if it is "
        f"one all the same (tenfold weights import NAME {file}), or give it where you train: --weights {file}"
    )


def _check_name(name: str) -> None:
    from tenfold.models.backbones import BACKBONES, NAMES
    from tenfold.models.weights.published import DETECTORS, no_such_name

    if name not in NAMES and name.partition(":")[0] not in {*BACKBONES} - {*NAMES}:
        raise no_such_name("The network", name, NAMES, DETECTORS)


@contextmanager
def _bar(name: str) -> Iterator[Watch]:
    """A bar on a terminal: bytes, speed and time left."""
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(
        *columns, TimeRemainingColumn(), console=console(sys.stderr), transient=True, disable=not sys.stderr.isatty()
    ) as bars:
        task = bars.add_task(name, total=None)
        yield lambda done, total: bars.update(task, completed=done, total=total or None)
