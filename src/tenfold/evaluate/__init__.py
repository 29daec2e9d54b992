"""Evaluation: Run + part -> figures with intervals.

evaluation.py       what an evaluation is, and how it is made
open_set.py         beyond the run's classes: images of others, and pairs of images
compare.py          two runs, or two sets of them, on the same images
compare_notes.py    what a reader of a comparison has to know besides
compare_boxes.py    two detectors on the same images
folds.py            the runs of a cross-validation -> figures of their common procedure
learning_curve.py   errors at growing numbers of training images -> what more would bring
safety.py           which ops turn one class into another
trials.py           the ops and magnitudes that are tried
speed.py            how long each stage of a prediction takes
ledger.py           every look at a test part, counted
"""

from tenfold.evaluate.compare import Comparison, compare_runs
from tenfold.evaluate.compare_boxes import BoxComparison, compare_boxes
from tenfold.evaluate.evaluation import Evaluation, evaluate_run
from tenfold.evaluate.folds import CrossValidation, evaluate_folds
from tenfold.evaluate.learning_curve import LearningCurve, evaluate_subsets, fit_learning_curve, say_gain

__all__ = [
    "BoxComparison",
    "Comparison",
    "CrossValidation",
    "Evaluation",
    "LearningCurve",
    "compare_boxes",
    "compare_runs",
    "evaluate_folds",
    "evaluate_run",
    "evaluate_subsets",
    "fit_learning_curve",
    "say_gain",
]
