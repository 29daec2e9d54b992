"""Evaluation: Run + part -> figures with intervals.

evaluation.py   what an evaluation is, and how it is made
ledger.py       every look at a test part, counted
"""

from tenfold.evaluate.evaluation import Evaluation, evaluate_run

__all__ = ["Evaluation", "evaluate_run"]
