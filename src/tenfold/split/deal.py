"""Deal: blocks of samples -> parts, so that every part has its share of every class.

Dealing out whole blocks exactly is a bin packing problem, so it is done in three steps: a greedy deal, large blocks
first; a local search by moves and swaps where there are few blocks; and a last look for classes absent from a part.

Shapes: B blocks, P parts, K classes, M pairs of a block and a class in it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tenfold.draws import Keys

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

SEARCHED = 400  # blocks; with more of them the greedy deal ends with small ones and needs no search
CLOSE = 0.02  # of a class, off the wanted share: near enough to stop, for the very best deal is the same for most seeds
_DIGITS = 12  # gains are compared to this many digits, so that another processor's last bit changes no split


@dataclass(frozen=True)
class Blocks:
    """How many samples of each class each block has: the entries of a sparse [B, K] matrix, sorted by block."""

    size: int
    """B."""
    block: Ints
    """[M]"""
    label: Ints
    """[M]"""
    count: Ints
    """[M], above 0."""

    def reorder(self, order: Ints) -> Blocks:
        """The blocks at these positions, `order` [B], a permutation."""
        rank = np.empty(self.size, np.int64)
        rank[order] = np.arange(self.size)
        sorting = np.lexsort((self.label, rank[self.block]))
        return Blocks(self.size, rank[self.block][sorting], self.label[sorting], self.count[sorting])

    def items(self) -> list[list[tuple[int, int]]]:
        """The classes and counts of each block."""
        items: list[list[tuple[int, int]]] = [[] for _ in range(self.size)]
        for block, label, count in zip(self.block.tolist(), self.label.tolist(), self.count.tolist(), strict=True):
            items[block].append((label, count))
        return items

    def sums(self, dealt: Ints, values: NDArray[np.float64 | np.int64], shape: tuple[int, int]) -> Floats:
        """The sums of `values` [M] over the parts of the blocks, `dealt` [B]: float64 [P, K]."""
        sums: Floats = np.zeros(shape)
        np.add.at(sums, (dealt[self.block], self.label), values)
        return sums


def gather_blocks(block: Ints, label: Ints, size: int) -> Blocks:
    """Blocks from one pair [M] a sample and class: its block, below `size`, and the class."""
    width = int(label.max(initial=0)) + 1
    pairs, counts = np.unique(block * width + label, return_counts=True)
    return Blocks(size, pairs // width, pairs % width, counts.astype(np.int64))


def quotas(totals: Ints, shares: Floats, blocks: Ints) -> Ints:
    """How many samples of each class each part should get: int64 [P, K], within one of shares [P] x totals [K].

    Largest remainders, which carry over from class to class: where each of forty classes is owed one and a half images,
    half of them get two. A class with at least as many `blocks` [K] as there are parts gets one in each.
    """
    exact = shares[:, None] * totals
    given = np.floor(exact + 1e-9).astype(np.int64)
    owed = np.zeros(len(shares))
    for k in range(len(totals)):
        rest = np.maximum(exact[:, k] - given[:, k], 0)
        scarce = blocks[k] < len(shares)  # such a class goes where its share is largest: what it has is to learn from
        first, second = (rest, owed) if scarce else (rest + owed, rest)
        order = np.lexsort((-second.round(9), -first.round(9), rest < 1e-9))
        given[order[: totals[k] - given[:, k].sum()], k] += 1
        while not scarce and given[:, k].min() == 0:
            given[given[:, k].argmax(), k] -= 1
            given[given[:, k].argmin(), k] += 1
        owed += exact[:, k] - given[:, k]
    return given


def deal_blocks(blocks: Blocks, keys: Keys, shares: Floats, have: Ints) -> Ints:
    """The part of each block: int64 [B].

    `shares` [P], all above 0, say how much of every class each part should have, and `have` [P, K] what it has already.
    With nothing there yet a class of single images is split to within one image; else its shortest part is filled
    first. `keys` [B] give the order among blocks of about one size, and are all that the result depends on by chance.
    """
    width = have.shape[1]
    totals = np.bincount(blocks.label, blocks.count, width).astype(np.int64) + have.sum(0)
    held = np.bincount(blocks.label, minlength=width) + have.sum(0)
    wanted = shares[:, None] * totals if have.any() else quotas(totals, shares, held).astype(np.float64)
    # Large blocks first, but only roughly: with strictly falling sizes every seed would give the same split.
    rough = np.ceil(np.log2(np.bincount(blocks.block, blocks.count, blocks.size)))
    order = np.lexsort((keys, -rough))
    ranked = blocks.reorder(order)
    weights = 1.0 / np.maximum(totals, 1)  # from images to shares of a class, so that a rare class counts as any other
    dealt = _greedy(ranked, wanted - have, shares, weights)
    if blocks.size <= SEARCHED:
        dealt = _search(ranked, dealt, (wanted - have) * weights, weights)
    dealt = _Cover(ranked, dealt, have, held >= len(shares), (wanted - have) * weights, weights).improve()
    parts = np.empty(blocks.size, np.int64)
    parts[order] = dealt
    return parts


def deal_folds(blocks: Blocks, keys: Keys, folds: int, classes: int) -> Ints:
    """The fold of each block, int64 [B], B >= `folds`: equal shares of every class, and no fold without a block.

    Where few blocks hold many classes the even shares alone may leave a fold empty; it gets the smallest block of the
    folds with several.
    """
    dealt = deal_blocks(blocks, keys, np.full(folds, 1 / folds), np.zeros((folds, classes), np.int64))
    sizes = np.bincount(blocks.block, blocks.count, blocks.size)
    while (held := np.bincount(dealt, minlength=folds)).min() == 0:
        spare = np.flatnonzero(held[dealt] > 1)
        dealt[spare[sizes[spare].argmin()]] = held.argmin()
    return dealt


def _greedy(blocks: Blocks, short: Floats, shares: Floats, weights: Floats) -> Ints:
    """Blocks in order, each to the part whose relative shortfall it lowers most.

    Minimizes the sum over parts and classes of (short * weight)**2 / share. For single images this is Webster's method
    (each goes where (have + 1/2) / share is smallest), so that the parts fill evenly and not one after another.
    """
    lacking, total = short.tolist(), short.sum(1).tolist()
    costs = (weights[None, :] ** 2 / shares[:, None]).tolist()
    dealt = []
    for items in blocks.items():
        gains = []
        for lack, cost, all_lack, share in zip(lacking, costs, total, shares.tolist(), strict=True):
            gain = 0.0
            for k, count in items:
                gain += count * (2 * lack[k] - count) * cost[k]
            gains.append((round(gain, _DIGITS), round(all_lack / share, _DIGITS)))  # ties: the part that lacks most
        part = max(range(len(gains)), key=gains.__getitem__)
        dealt.append(part)
        for k, count in items:
            lacking[part][k] -= count
            total[part] -= count
    return np.array(dealt, np.int64)


def _search(blocks: Blocks, dealt: Ints, short: Floats, weights: Floats) -> Ints:
    """Move or swap blocks, the best pair first, while a class is far from its shares and the squares can be lowered.

    `short` [P, K] is in shares of the classes. Swapping blocks b and a of parts p and q changes the sum of squared
    shortfalls by 2 (x_b - x_a) . (s_p - s_q) + 2 |x_b - x_a|^2, where s is what is still lacking; a move is a swap
    with one of the empty blocks that are added, one a part.
    """
    count = len(dealt)
    sizes = np.zeros((count + len(short), short.shape[1]))
    sizes[blocks.block, blocks.label] = blocks.count * weights[blocks.label]
    held = np.append(dealt, np.arange(len(short)))
    gram = sizes @ sizes.T
    apart = np.diag(gram)[:, None] + np.diag(gram)[None, :] - 2 * gram
    lack = short.copy()
    np.subtract.at(lack, held, sizes)
    for _ in range(4 * count):
        score = sizes @ lack.T
        own = score[np.arange(len(held)), held]
        cross = score[:, held]
        change = own[:, None] + own[None, :] - cross - cross.T + apart
        change[held[:, None] == held[None, :]] = 0
        one, other = divmod(int(change.round(_DIGITS).argmin()), len(held))
        if change[one, other] > -1e-9 or np.abs(lack).max() <= CLOSE:
            break
        first, second = held[one], held[other]
        lack[first] += sizes[one] - sizes[other]
        lack[second] += sizes[other] - sizes[one]
        held[[block for block in (one, other) if block < count]] = [
            part for block, part in ((one, second), (other, first)) if block < count
        ]
    return held[:count]


class _Cover:
    """Moves of blocks until each class with at least as many blocks as there are parts is in every part.

    For each absence the move that leaves the fewest of them, and then ends nearest the targets, is made if it helps.
    That succeeds where blocks are of one class each; with several classes in a block it may not be possible.
    """

    def __init__(
        self, blocks: Blocks, dealt: Ints, have: Ints, counted: NDArray[np.bool_], short: Floats, weights: Floats
    ) -> None:
        self.dealt, self.counted, self.weights = dealt, counted, weights
        self.blocks = blocks
        self.there = have + blocks.sums(dealt, np.ones(len(blocks.block)), have.shape)
        self.lack = short - blocks.sums(dealt, blocks.count * weights[blocks.label], have.shape)

    def improve(self) -> Ints:
        """The parts of the blocks, int64 [B], after all moves that help."""
        helped = True
        while helped:
            helped = False
            for part, k in np.argwhere((self.there == 0) & self.counted).tolist():
                if self.there[part, k] == 0:
                    blocks = self.blocks.block[self.blocks.label == k].tolist()
                    (gain, _), block = max(
                        ((self._gain(block, part), block) for block in blocks), default=((0, 0.0), 0)
                    )
                    helped |= gain > 0
                    if gain > 0:
                        self._move(block, part)
        return self.dealt

    def _entries(self, block: int) -> tuple[Ints, Floats]:
        start, stop = np.searchsorted(self.blocks.block, [block, block + 1])
        labels = self.blocks.label[start:stop]
        return labels, self.blocks.count[start:stop] * self.weights[labels]

    def _gain(self, block: int, part: int) -> tuple[int, float]:
        """By how much a move lowers the number of absences, and the squared shortfalls."""
        labels, sizes = self._entries(block)
        old = self.dealt[block]
        counted = self.counted[labels]
        filled = ((self.there[part, labels] == 0) & counted).sum() - ((self.there[old, labels] == 1) & counted).sum()
        nearer = sizes @ (self.lack[part, labels] - self.lack[old, labels] - sizes)
        return int(filled), round(float(nearer), _DIGITS)

    def _move(self, block: int, part: int) -> None:
        labels, sizes = self._entries(block)
        for row, sign in ((self.dealt[block], -1), (part, 1)):
            self.there[row, labels] += sign
            self.lack[row, labels] -= sign * sizes
        self.dealt[block] = part
