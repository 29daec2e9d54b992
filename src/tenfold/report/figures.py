"""What each figure is called in words, what it means and how it is written."""

from __future__ import annotations

import re
from typing import NamedTuple

from tenfold.estimate import Estimate, level_percent


class Wording(NamedTuple):
    """How a figure is spoken of."""

    label: str
    percent: bool
    """Written as a percentage: a share from 0 to 1."""
    meaning: str


PERCENT = "\u00a0%"
"""With a space that no line breaks at."""

WORDINGS = {
    "accuracy": Wording("Accuracy", True, "images whose class is right"),
    "balanced_accuracy": Wording("Balanced accuracy", True, "mean recall over the classes, each counting the same"),
    "macro_precision": Wording("Precision, macro", True, "mean over the classes"),
    "macro_recall": Wording("Recall, macro", True, "mean over the classes"),
    "macro_f1": Wording("F1, macro", True, "mean over the classes"),
    "weighted_precision": Wording("Precision, weighted", True, "mean over the images"),
    "weighted_recall": Wording("Recall, weighted", True, "mean over the images"),
    "weighted_f1": Wording("F1, weighted", True, "mean over the images"),
    "mcc": Wording("Matthews correlation", False, "1 is perfect, 0 is chance"),
    "log_loss": Wording("Log loss", False, "0 is perfect; punishes confident mistakes"),
    "brier": Wording("Brier score", False, "0 is perfect; squared error of the probabilities"),
    "calibration_error": Wording("Calibration error", True, "distance of confidence from accuracy, root mean square"),
    "roc_auc": Wording("Area under ROC", False, "1 is perfect, 0.5 is chance"),
    "average_precision": Wording("Average precision", False, "area under the precision-recall curve"),
    "precision": Wording("Precision", True, "of the images given this class, those that are of it"),
    "recall": Wording("Recall", True, "of the images of this class, those that were found"),
    "dir": Wording("Detected and identified", True, "of the images of those enrolled, those named rightly (DIR)"),
    "far": Wording("False alarms", True, "of strangers' images, those given a name (FAR)"),
    "refused": Wording("Refused", True, "of the images of those enrolled, those given no name"),
    "rank_1": Wording("Rank 1", True, "of the images of those enrolled, those whose own identity is the most alike"),
    "fnmr": Wording("False non-matches", True, "comparisons of one identity that are not accepted (FNMR)"),
    "fmr": Wording("False matches", True, "comparisons of two identities that are accepted (FMR)"),
    "ap50": Wording("AP50", False, "average precision where an object is found from an overlap (IoU) of 0.5 on"),
    "ap": Wording("AP", False, "mean of the average precision over overlaps from 0.5 to 0.95 (COCO)"),
    "ap75": Wording("AP75", False, "average precision where an object is found from an overlap of 0.75 on"),
    "ap_small": Wording("AP, small", False, "objects up to 32 x 32 pixels"),
    "ap_medium": Wording("AP, medium", False, "objects from 32 x 32 to 96 x 96 pixels"),
    "ap_large": Wording("AP, large", False, "objects from 96 x 96 pixels on"),
    "ar_1": Wording("AR, 1", False, "objects found by the best detection of a class in an image"),
    "ar_10": Wording("AR, 10", False, "objects found by the best 10"),
    "ar_100": Wording("AR, 100", False, "objects found by the best 100"),
    "ar_small": Wording("AR, small", False, "of small objects"),
    "ar_medium": Wording("AR, medium", False, "of medium objects"),
    "ar_large": Wording("AR, large", False, "of large objects"),
    "voc2007": Wording("AP, VOC 2007", False, "11 points, overlap 0.5"),
    "voc2010": Wording("AP, VOC 2010", False, "area under the curve, overlap 0.5"),
    "recall_50": Wording("Recall at IoU 0.5", True, "objects with a box whose IoU is at least 0.5"),
    "recall_70": Wording("Recall at IoU 0.7", True, "objects with a box whose IoU is at least 0.7"),
    "recall_80": Wording("Recall at IoU 0.8", True, "objects with a box whose IoU is at least 0.8"),
    "average_recall": Wording("Average recall", True, "mean recall over all IoUs from 0.5 to 1"),
    "mabo": Wording("MABO", True, "mean over the classes of the average best IoU"),
    "abo": Wording("Average best overlap", True, "mean over objects of the best box's IoU"),
    "specificity": Wording("Specificity", True, "of all other images, those not given this class"),
    "f1": Wording("F1", True, "harmonic mean of precision and recall"),
}


def figure_wording(name: str) -> Wording:
    """The words for a figure; one that is not listed is called by its name and written as a plain number."""
    top = re.fullmatch(r"top_(\d+)_accuracy", name)
    if top:
        return Wording(f"Top-{top[1]} accuracy", True, f"the right class is among the first {top[1]}")
    return WORDINGS.get(name) or Wording(name.replace("_", " ").capitalize(), False, "")


def figure_label(name: str) -> str:
    """ "Balanced accuracy"."""
    return figure_wording(name).label


def figure_meaning(name: str) -> str:
    """What the figure says, or nothing where its name must do."""
    return figure_wording(name).meaning


def write_value(name: str, value: float) -> str:
    """ "84.2 %" for a share, "0.812" for any other figure."""
    return f"{100 * value:.1f}{PERCENT}" if figure_wording(name).percent else f"{value:.3f}"


def is_unmeasured(name: str, estimate: Estimate) -> bool:
    """Whether a figure is 0 only because chance alone makes as much: it tells no more than how high it may be."""
    return name == "calibration_error" and estimate.value == 0


def write_figure(name: str, estimate: Estimate) -> str:
    """`write_value`; "up to 27.9 %" where only that is known, "not known" where not even that."""
    if not is_unmeasured(name, estimate):
        return write_value(name, estimate.value)
    highest = write_value(name, estimate.high)
    return "not known" if highest == write_value(name, 1.0) else f"up to {highest}"


def write_interval(name: str, estimate: Estimate) -> str:
    """ "80.9 to 87.0" for a share, "0.790 to 0.831" for any other figure."""
    low, high = (write_value(name, bound).removesuffix(PERCENT) for bound in (estimate.low, estimate.high))
    return f"{low} to {high}"


def write_level(level: float) -> str:
    """ "95 %", "98.3 %"."""
    return f"{level_percent(level)}{PERCENT}"


def write_seconds(seconds: float) -> str:
    """ "45 s", "3 min 20 s", "2 h 5 min"."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    return f"{whole // 60} min {whole % 60} s" if whole < 3600 else f"{whole // 3600} h {whole % 3600 // 60} min"
