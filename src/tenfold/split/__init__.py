"""Split: a Table without parts -> a Table whose samples are train, validation or test, and no two parts share a thing.

What belongs together stays together, as a block: byte-identical images, images of one group, regions of one image, what
was made from an image, and the near copies and shots in a row that a check found (`Table.alike`). Blocks are dealt to
the parts so that each class has its share of every part.

    ties.py     which samples form a block; what a part must have its share of
    deal.py     blocks -> parts: quotas, a greedy deal, a local search; arrays only
    fill.py     parts that stand, and samples without one -> a part for each, or left out
    copies.py   augmented copies, to which nothing is dealt: each follows its image in training, or is left out
    parts.py    split_table, limit_table, fold_tables, part_counts
    advice.py   which shares fit a problem, and why
    listing.py  the written split, a CSV file keyed by content hash, which is the authority once it stands
"""

from tenfold.split.advice import Advice, advise_split
from tenfold.split.listing import Entry, apply_split, find_split, read_split, split_path, write_split
from tenfold.split.parts import fold_tables, limit_table, part_counts, split_table

__all__ = [
    "Advice",
    "Entry",
    "advise_split",
    "apply_split",
    "find_split",
    "fold_tables",
    "limit_table",
    "part_counts",
    "read_split",
    "split_path",
    "split_table",
    "write_split",
]
