"""A tiny backbone, and images prepared for it, that tests of frozen features share."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from tenfold.images.content import hashed
from tenfold.images.prepared import PreparedTable, prepare_table
from tenfold.images.preprocess import Preprocessing
from tenfold.images.table import Table
from tenfold.models.views import VIEWS
from tenfold.transfer import Extractor

PREPROCESSING = Preprocessing(
    channels="rgb",
    size=20,
    canvas=22,
    fit="crop",
    filter="triangle",
    background=255,
    mean=(0.5, 0.4, 0.3),
    std=(0.5, 0.4, 0.6),
)


class TinyBackbone(nn.Module):
    """Two layers, the same weights each time, that count the images they see."""

    name = "tiny"
    width = 12
    channels = (8, 12)
    fixed_size = 0
    preprocessing = PREPROCESSING

    def __init__(self) -> None:
        super().__init__()
        self.seen = 0
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.first = nn.Conv2d(3, 8, 3, stride=2, bias=False)
            self.norm = nn.BatchNorm2d(8)
            self.norm.running_var.uniform_(0.5, 2)
            self.second = nn.Conv2d(8, 12, 3, stride=2)

    def train(self, mode: bool = True) -> "TinyBackbone":
        super().train(mode)
        self.norm.eval()  # as every Backbone does
        return self

    def maps(self, images: Tensor) -> list[Tensor]:
        first = torch.relu(self.norm(self.first(images)))
        return [first, torch.relu(self.second(first))]

    def features(self, images: Tensor) -> Tensor:
        self.seen += len(images)
        return self.maps(images)[-1].mean((2, 3))

    def stages(self) -> list[nn.Module]:
        return [self.first, self.second]


def tiny_extractor(views: str = "flip", digest: str = "0" * 64, crop: int = 0) -> Extractor:
    return Extractor(TinyBackbone(), digest, PREPROCESSING, VIEWS[views], crop)


def prepared_for(table: Table) -> PreparedTable:
    return prepare_table(hashed(table), PREPROCESSING)


def expected_features(prepared: PreparedTable, extractor: Extractor) -> np.ndarray:
    """Each image and view on its own, by hand: float64 [N, V, D]."""
    backbone = TinyBackbone().double().eval()
    side, room = extractor.side, PREPROCESSING.size - extractor.side
    found = []
    for row in range(len(prepared.table)):
        image = prepared.canvases.image(row)[0][1:21, 1:21] / 255
        image = (image - PREPROCESSING.mean) / PREPROCESSING.std
        for down, right, mirrored in extractor.views:
            top, left = round(down * room), round(right * room)
            square = image[top : top + side, left : left + side]
            square = square[:, ::-1] if mirrored else square
            with torch.no_grad():
                found.append(backbone.features(torch.from_numpy(square.transpose(2, 0, 1).copy())[None])[0].numpy())
    return np.array(found).reshape(len(prepared.table), len(extractor.views), -1)


def main(data: str, out: str) -> None:
    """What another process does: the features of a folder's images, written to a file."""
    from tenfold.images.readers import read_table
    from tenfold.transfer import table_features

    prepared = prepared_for(read_table(data))
    np.save(Path(out), table_features(prepared, tiny_extractor("crops", crop=14)))
