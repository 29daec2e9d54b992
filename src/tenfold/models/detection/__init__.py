"""Networks that find objects in boxes, each part in its own file.

coding.py       box regression: from one box to another and back
anchors.py      the boxes that proposals start from, fitted to the data set's boxes
matching.py     which boxes are of which object
sampling.py     a few boxes of thousands, to learn from
kernels.py      the compiled operations: suppression, cutting out regions
pyramid.py      maps of one width at several strides
rpn.py          the region proposal network
roi.py          heads on regions, and what they find; truncated SVD of their layers
detector.py     what the detectors have in common
outside.py      proposals that no network makes
watched.py      telling how far a fit is that goes on for a while
region_fits.py  what is fitted to features of regions at once: linear SVMs, box regression
faster_rcnn.py  Faster R-CNN
fast_rcnn.py    Fast R-CNN
rcnn.py         R-CNN
torchvision_detector.py  torchvision's own detectors
"""

from __future__ import annotations

from tenfold.models.detection.detector import Detector
from tenfold.models.detection.fast_rcnn import FastRCNN
from tenfold.models.detection.faster_rcnn import FasterRCNN
from tenfold.models.detection.outside import Find, Propose, proposer_from
from tenfold.models.detection.rcnn import RCNN

__all__ = ["RCNN", "Detector", "FastRCNN", "FasterRCNN", "Find", "Propose", "proposer_from"]
