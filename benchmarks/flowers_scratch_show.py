"""The tables and the picture of flowers_scratch.py: each figure with n, its median and its spread."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from pathlib import Path
from statistics import mean, median, stdev
from typing import Any

Entry = dict[str, Any]
COLORS = {"tenfold": "#0072b2", "fastai": "#d55e00", "keras": "#009e73"}  # Okabe and Ito: told apart by everyone
TARGET_MINUTES = 6
LEAST_PEERS = 2


def show(entries: list[Entry], results: Path) -> None:
    """Print what is there, stage by stage, and draw the curve."""
    for processor in sorted({entry["processor"] for entry in entries}):
        count = sum(entry["processor"] == processor for entry in entries)
        print(f"Processor: {processor} ({count} trainings)")
    for contender in COLORS:
        versions: dict[str, str] = next(
            (entry["versions"] for entry in reversed(entries) if entry["contender"] == contender), {}
        )
        print(f"{contender}: {', '.join(f'{name} {number}' for name, number in versions.items())}")
    _show_tuning(_of(entries, "tune"))
    _show_same(_of(entries, "same"))
    curve = _of(entries, "curve")
    _show_curve(curve)
    if curve:
        draw(curve, results / "flowers_scratch.png")
        print(f"\nPicture: {results / 'flowers_scratch.png'}")


def draw(entries: list[Entry], path: Path) -> None:
    """Test accuracy against wall time: each training a faint point, the mean of a budget with one deviation."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt
    from matplotlib.ticker import FixedLocator, NullLocator, PercentFormatter

    figure, axes = plt.subplots(figsize=(8, 5), layout="constrained")
    for contender, color in COLORS.items():
        groups = _grouped([entry for entry in entries if entry["contender"] == contender], _budget)
        if not groups:
            continue
        times = {key: [entry["total_seconds"] / 60 for entry in group] for key, group in groups.items()}
        scores = {key: [entry["test_accuracy"] for entry in group] for key, group in groups.items()}
        for key in groups:
            axes.scatter(times[key], scores[key], s=12, color=color, alpha=0.35, linewidths=0)
        axes.errorbar(
            [mean(values) for values in times.values()],
            [mean(values) for values in scores.values()],
            yerr=[_deviation(values) for values in scores.values()],
            color=color,
            marker="o",
            capsize=4,
            label=f"{contender} ({_what(next(iter(groups.values()))[-1])})",
        )
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(FixedLocator([0.5, 1, 2, 3, 6, 12, 24]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    axes.set_xlabel("Minutes from the start of the process to the trained model")
    axes.set_ylabel("Test accuracy, mean and one standard deviation")
    first = entries[0]
    counts = sorted({len(group) for group in _grouped(entries, lambda e: (e["contender"], *_budget(e))).values()})
    seeds = " to ".join(str(count) for count in dict.fromkeys((counts[0], counts[-1])))
    axes.set_title(f"From images on disk, from scratch, {first['size']} px; {seeds} seeds\n{first['processor']}")
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right")
    figure.savefig(path, dpi=150)
    plt.close(figure)


def _show_tuning(entries: list[Entry]) -> None:
    if entries:
        rows = [
            (_who(entry), entry["epochs"], f"{entry['total_seconds']:.0f}", f"{entry['validation_accuracy']:.3f}")
            for entry in sorted(entries, key=lambda entry: (entry["contender"], -entry["validation_accuracy"]))
        ]
        _table("Tuning of the peers (n = 1 each, one seed)", ("recipe", "epochs", "seconds", "validation"), rows)


def _show_same(entries: list[Entry]) -> None:
    if not entries:
        return
    groups = _grouped(entries, lambda entry: (_who(entry),))
    medians = {key: median(entry["total_seconds"] for entry in group) for key, group in groups.items()}
    peers = {key: value for key, value in medians.items() if groups[key][0]["contender"] != "tenfold"}
    fastest = min(peers.values(), default=math.nan)
    rows = [
        (*key, len(group), group[0]["epochs"], *_spread([entry["total_seconds"] for entry in group], "{:.1f}"),
         f"{medians[key] / fastest:.2f}")
        for key, group in groups.items()
    ]  # fmt: skip
    title = f"Same network ({entries[0]['parameters']:,} parameters), no augmentation: seconds of wall time"
    _table(title, ("contender", "n", "epochs", "median", "least", "most", "over fastest peer"), rows)
    ours = [value for key, value in medians.items() if key not in peers]
    if ours and peers:
        print(f"Tenfold takes {ours[0] / fastest:.2f} of the faster peer's time (wanted: at most 0.90).")


def _show_curve(entries: list[Entry]) -> None:
    if not entries:
        return
    groups = _grouped(entries, lambda entry: (entry["contender"], _what(entry), *_budget(entry)))
    rows = []
    for (contender, what, minutes), group in groups.items():
        seconds = [entry["total_seconds"] for entry in group]
        scores = [entry["test_accuracy"] for entry in group]
        spread = _spread(scores, "{:.3f}")
        epochs = f"{median(entry['epochs'] for entry in group):g}"
        rows.append((f"{contender} {what}", f"{minutes:g}", len(group), epochs, f"{median(seconds):.0f}", *spread))
    names = ("contender", "budget", "n", "epochs", "seconds", "median", "least", "most")
    _table(f"Best recipes: test accuracy (n_test = {entries[0]['n_test']})", names, rows)
    _show_ratio(_grouped(entries, lambda entry: (entry["contender"], *_budget(entry))))


def _show_ratio(groups: dict[tuple[Any, ...], list[Entry]]) -> None:
    """How long Tenfold takes to the mean accuracy of the better peer at six minutes, by its own measured budgets."""
    score = {key: mean(entry["test_accuracy"] for entry in group) for key, group in groups.items()}
    wall = {key: mean(entry["total_seconds"] for entry in group) for key, group in groups.items()}
    peers = [key for key in groups if key[0] != "tenfold" and key[1] == TARGET_MINUTES]
    if len(peers) < LEAST_PEERS:
        print(f"The comparison at {TARGET_MINUTES} minutes needs both peers; {len(peers)} of them ran.")
        return
    best = max(peers, key=lambda key: score[key])
    print(f"The better peer at {TARGET_MINUTES} minutes: {best[0]}, mean {score[best]:.3f} in {wall[best]:.0f} s.")
    reached = [key for key in groups if key[0] == "tenfold" and score[key] >= score[best]]
    if not reached:
        print("Tenfold does not reach that in any of its budgets.")
        return
    ours = min(reached, key=lambda key: wall[key])
    share = wall[ours] / wall[best]
    print(f"Tenfold: mean {score[ours]:.3f} in {wall[ours]:.0f} s, {share:.3f} of that time (wanted: at most 0.167).")


def _of(entries: list[Entry], stage: str) -> list[Entry]:
    return [entry for entry in entries if entry["stage"] == stage]


def _grouped(entries: Iterable[Entry], key: Callable[[Entry], tuple[Any, ...]]) -> dict[tuple[Any, ...], list[Entry]]:
    groups: dict[tuple[Any, ...], list[Entry]] = {}
    for entry in entries:
        groups.setdefault(key(entry), []).append(entry)
    return dict(sorted(groups.items()))


def _budget(entry: Entry) -> tuple[float]:
    return (entry["minutes"],)


def _what(entry: Entry) -> str:
    return f"{entry['recipe']}, {entry['precision']}"


def _who(entry: Entry) -> str:
    return f"{entry['contender']} {_what(entry)}"


def _spread(values: list[float], form: str) -> tuple[str, str, str]:
    return form.format(median(values)), form.format(min(values)), form.format(max(values))


def _deviation(values: list[float]) -> float:
    return stdev(values) if len(values) > 1 else 0.0


def _table(title: str, names: tuple[str, ...], rows: list[tuple[Any, ...]]) -> None:
    texts = [[str(cell) for cell in row] for row in (names, *rows)]
    widths = [max(map(len, column)) for column in zip(*texts, strict=True)]
    print(f"\n{title}")
    for place, row in enumerate(texts):
        first, *rest = zip(row, widths, strict=True)
        print("  ".join([first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in rest)]))
        if not place:
            print("  ".join("-" * width for width in widths))
