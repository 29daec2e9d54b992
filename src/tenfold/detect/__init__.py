"""Detection whose training has several stages.

regions.py    regions of images as a table of a classifier, and its training: what R-CNN's network is fine-tuned on
trained.py    a Faster R-CNN's region proposal network as a way to propose boxes
"""

from tenfold.detect.regions import BACKGROUND, region_table, train_rcnn, train_regions

__all__ = ["BACKGROUND", "region_table", "train_rcnn", "train_regions"]
