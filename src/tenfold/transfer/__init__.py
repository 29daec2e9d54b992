"""Transfer: a pretrained network's features, and the cheapest head on them that is as good as any.

engines.py   the quickest way to run a backbone on this machine
features.py  frozen features of a Table's images, from the cache
choice.py    which of several candidates to take, and how each image is judged by a choice made without it
rungs.py     what each way to answer gave, and what the choice is worth
clock.py     the time that a user gives
time_left.py  what is left of the minutes when a training begins
at_hand.py   which pretrained networks are tried: those that are named, or all that are on this machine
ladder.py    the rungs, climbed until the time is over
settle.py    from a recipe to the recipe with the network and the head that the ladder chose
verdict.py   what fine-tuning changed, and which of two runs to take
best.py      the frozen ladder, then fine-tuning: the better run stays
unknown.py   what a run's head makes of classes that were held out
extend.py    a run, and images that it does not have -> a run that knows them too

embed.py           one embedding an image, and what network gave it
templates.py       one direction an identity, scatter within identities divided out
thresholds.py      thresholds of a gallery and what they are worth
gallery.py         who is enrolled: enroll, identify, verify, remove
gallery_folder.py  a gallery as a folder
"""

from tenfold.transfer.clock import Clock
from tenfold.transfer.features import Extractor, table_features
from tenfold.transfer.ladder import Eye, Source, climb, climb_table, fold_numbers
from tenfold.transfer.rungs import Exam, Ladder, Rung

__all__ = [
    "Clock",
    "Exam",
    "Extractor",
    "Eye",
    "Ladder",
    "Rung",
    "Source",
    "climb",
    "climb_table",
    "fold_numbers",
    "table_features",
]
