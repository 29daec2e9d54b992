"""A trained region proposal network as a way to propose boxes, beside those that look at pixels alone.

Ren et al., "Faster R-CNN: towards real-time object detection with region proposal networks", 2015, section 3.2,
https://arxiv.org/abs/1506.01497: what Fast R-CNN is trained on in the second of its four steps.

Shapes: P proposals.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import torch

from tenfold.boxes import clip_boxes, sound_boxes
from tenfold.environment import exact_on
from tenfold.errors import UsageError
from tenfold.images.content import content_hash, read_bytes
from tenfold.models.detection import FasterRCNN
from tenfold.models.detection.detector import image_size, original_boxes
from tenfold.models.detection.rpn import proposal_boxes
from tenfold.proposals import METHODS, Proposer

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tenfold.run import Run

MOST = 1000
"""Boxes of an image that are compared with one another, so that no more are left."""


def trained_proposer(run: Run) -> Proposer:
    """What the region proposal network of a Faster R-CNN's run proposes: up to MOST boxes, on the run's device.

    An image in which it proposes nothing has one box, the whole image. Raises UsageError for a run of another model.
    """
    model = run.model
    if not isinstance(model, FasterRCNN):
        raise UsageError(
            f"method must be {', '.join(METHODS)} or the run of a faster-rcnn, which has a region proposal network; "
            f"{run.path} is of {run.card['architecture']}."
        )
    predictor = run.predictor

    @torch.no_grad()
    def propose(image: NDArray[np.uint8], number: int) -> NDArray[np.float32]:
        inputs = predictor.inputs([predictor.see(image, None).canvas])
        with exact_on(run.device):
            maps = model.maps(inputs.images)
            found = proposal_boxes(model.rpn(maps), model.anchors(maps), image_size(inputs.images), MOST).cpu()
        real = found[:, (found[0] >= 0).all(1)]  # less what pads
        height, width = image.shape[:2]
        boxes = clip_boxes(original_boxes(real, inputs.affine)[0].numpy(), height, width).astype(np.float32)
        boxes = boxes[sound_boxes(boxes)]
        return boxes if len(boxes) else np.array([[0, 0, width, height]], np.float32)

    weights = content_hash(read_bytes(run.path / "model.safetensors"))
    card = [run.card["settings"], run.preprocessing.to_json(), weights]
    return Proposer("region-proposal-network", json.dumps(card, sort_keys=True), propose)
