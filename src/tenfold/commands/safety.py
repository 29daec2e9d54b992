"""What `tenfold augment --safety` does: each op is tried on a run, and those that break the label are named."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from tenfold.commands.output import next_command, say, show_json, show_table, waiting
from tenfold.errors import UsageError

if TYPE_CHECKING:
    from tenfold.augment.policy import Policy
    from tenfold.estimate import Estimate
    from tenfold.evaluate.safety import OpSafety, Safety
    from tenfold.images.table import Table
    from tenfold.run import Run


def try_ops(path: Path, data: str, policy: str, reader: str, seed: int, json: bool) -> int:
    """Measure how a run's answers change; exit code 1 where the policy turns one class into another.

    `policy` is a name, a file, "all", or empty for the run's own; `data` says where its images lie now, or is empty.
    """
    from tenfold.augment.chosen import chosen_policy, read_policy
    from tenfold.evaluate.safety import measure_safety
    from tenfold.evaluate.trials import policy_trials, standard_trials
    from tenfold.run import load_run

    run = load_run(path)
    own = chosen_policy(run.recipe.augment)
    asked = read_policy(policy) if policy not in ("", "all") else own
    trials = standard_trials(asked) if policy == "all" else policy_trials(asked)
    table = _validation_of(run, data, reader)
    with waiting(f"Trying {len(trials)} ops on the validation images"):
        found = measure_safety(run, trials, asked, table, seed=seed)
    if json:
        show_json({"run": path, "policy": asked.to_dict(), "words": str(asked), **found.to_json()})
    else:
        show_safety(found, asked)
        next_command("tenfold", "augment", path, "--out", "sheet.html", when="to see what it was fed")
    return 1 if any(tried.trial.in_policy for tried in found.breaking) else 0


def _validation_of(run: Run, data: str, reader: str) -> Table | None:
    """The run's validation images as they lie in `data`; None where no other data are given."""
    if not data or (Path(data) / "model.json").exists() or data.lower().endswith(".toml"):
        return None
    from tenfold.images.content import hashed
    from tenfold.images.readers import read_table

    table = hashed(read_table(data, reader))
    known = run.table.part("validation")
    place = {digest: row for row, digest in enumerate(table.samples["hash"])}
    rows = [(place[digest], row) for row, digest in enumerate(known.samples["hash"]) if digest in place]
    if not rows:
        raise UsageError(
            f"{data} has none of the validation images of {run.path}; give the data that it was trained on."
        )
    here = known.take([row for _, row in rows])
    lying = table.take([row for row, _ in rows]).samples
    return replace(here.assign(source=lying["source"], row=lying["row"]), arrays=table.arrays)


def show_safety(found: Safety, policy: Policy) -> None:
    """Print the notes, a row for each op, which columns of 80 hold, and what the rows mean."""
    for note in found.notes:
        say(note)
    rows = [
        (
            tried.trial.words + (" *" if tried.trial.in_policy else ""),
            _percent(tried.changed),
            f"{flow.start} → {flow.end}" if (flow := next(iter(tried.flows), None)) else "",
            _percent(flow.passing) if flow else "",
            _mark(tried),
        )
        for tried in found.ops
    ]
    title = f"{found.n:,} validation images, of which {found.right:,} are answered rightly unchanged"
    show_table(("Op", "Changed, %", "Largest flow", "Pass, %", ""), rows, title)
    if any(tried.trial.in_policy for tried in found.ops):
        print(f"* The policy {policy.name} can do it.")
    if "?" in {row[-1] for row in rows}:
        print("? many answers change, but no class becomes another: the model does not know such images.")
    for sentence in found.sentences:
        print(f"! {sentence}")
    if not found.breaking:
        print("No op turns one class into another, as far as these images can tell.")
    print(
        "Answers that change without one class becoming another show what the model does not know, not a broken label; "
        "an op that it was trained with may break a label unseen."
    )


def _mark(tried: OpSafety) -> str:
    return "!" if tried.breaks else "?" if tried.verdict else ""


def _percent(found: Estimate) -> str:
    """A share with its interval, in percent and without the sign: "12 (3 to 25)"."""
    return f"{100 * found.value:.0f} ({100 * found.low:.0f} to {100 * found.high:.0f})"
