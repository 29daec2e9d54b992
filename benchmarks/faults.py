"""What goes wrong on real machines, provoked: nothing earlier is lost, one sentence says what to do, no file is torn.

    python benchmarks/faults.py [--only FAULT ...] [--log FILE] [--kills 50] [--seed 0]

After each fault it is put right and the work goes on, which must end with the bits and figures of an undisturbed run.
With --log the cases that are done are noted in a file, and the same command goes on after the last of them. Disks that
fill up or can only be read are tmpfs in a mount namespace of the process's own; where the machine does not allow that,
their cases are skipped and said so. All but the kills take about four minutes.

    kills            a training killed (SIGKILL) at a moment drawn evenly from its whole life, then resumed
    kills-best       `tenfold train` without --model killed so: the ladder, the frozen network, fine-tuning, the choice
    full-disk        the disk is full just before a file of the run is written, cases spread over all of its files
    full-cache       the disk of the decoded cache is full, or too small from the start
    full-report      the disk is full while a run is evaluated, or its report written
    full-output      the standard output is a file on a full disk (/dev/full)
    read-only        the project folder, the run, the cache or the data can only be read
    vanished         the images are gone: before, while and after they are decoded, in an epoch, before a resume
    builders         two processes build one cache at the same moment: an empty, a damaged, one that is being cleared
    damaged-cache    a file of the cache is cut off, has another byte, or is of another version
    clock            the clock jumps by a day, to and fro, or stands at 1970
    torn             a file that training or evaluation needs is cut off, against all that writes such files
    killed-evaluate  an evaluation killed at a moment drawn from its life

Last figures, 27 November 2026, 2 cores of an AMD EPYC, other programs beside it. Kills: 50 of 50 with the same bits; 32
died with a checkpoint, 15 before the run's folder was whole, 3 after the model was written; 12 more had ended and were
drawn again. kills-best --kills 6: 6 of 6, 1 before fine-tuning, 2 while fine-tuning, 2 after the choice, 1 before the
run's folder was whole. All others 172 of 172, none skipped: full-disk 16 of 16, full-cache 4 of 4, full-report 7 of 7,
full-output 4 of 4, read-only 9 of 9, vanished 9 of 9, builders 6 of 6, damaged-cache 80 of 80, clock 6 of 6, torn 19 of
19, killed-evaluate 12 of 12. The first time 23 of them failed: in one a recipe cut off between two lines was not called
damaged, which is mended; the others did not know of the check's cache, of a ledger beside the split that cases share,
and of why no speed was measured. A kill may leave a file with a dot in front beside the whole one; no command reads
such files.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import fault_disks
from fault_best import kill_best
from fault_disks import full_cache, full_disk, full_output, full_report, read_only
from fault_files import clock, damaged_cache, torn, vanished
from fault_processes import builders, kill, kill_evaluation
from fault_stage import Failed, Skipped, Stage, enter_namespace

from tenfold.environment import processor_name

FAULTS: dict[str, tuple[Callable[[Stage, int], str], int]] = {
    "kills": (kill, 50),
    "kills-best": (kill_best, 20),
    "full-disk": (full_disk, fault_disks.CASES),
    "full-cache": (full_cache, 4),
    "full-report": (full_report, 7),
    "full-output": (full_output, 4),
    "read-only": (read_only, 9),
    "vanished": (vanished, 9),
    "builders": (builders, 6),
    "damaged-cache": (damaged_cache, 80),
    "clock": (clock, 6),
    "torn": (torn, 19),
    "killed-evaluate": (kill_evaluation, 12),
}
"""What provokes a case, and how many cases there are."""
KILLS = ("kills", "kills-best")
"""Those of which --kills says how many."""


def provoke(stage: Stage, name: str, number: int) -> dict[str, object]:
    """One case: "good", "failed" or "skipped", and in words what it was or why."""
    try:
        end, words = "good", FAULTS[name][0](stage, number)
    except Skipped as reason:
        end, words = "skipped", str(reason)
    except Failed as reason:
        end, words = "failed", str(reason)
    except Exception as error:  # what a user would see as a traceback
        end, words = "failed", f"traceback: {type(error).__name__}: {error}"
    return {"fault": name, "case": number, "end": end, "words": words}


def summary(name: str, cases: list[dict[str, object]]) -> str:
    ends = Counter(str(case["end"]) for case in cases)
    line = f"{name}: {ends['good']} of {len(cases) - ends['skipped']}"
    if ends["skipped"]:
        line += f", {ends['skipped']} skipped: {next(case['words'] for case in cases if case['end'] == 'skipped')}"
    if name in KILLS:
        killed = [str(case["words"]).split("; drawn ") for case in cases if case["end"] == "good"]
        line += " with the same bits; killed "
        line += ", ".join(f"{n} {where}" for where, n in Counter(where for where, *_ in killed).items())
        again = sum(int(drawn.split()[0]) - 1 for _, *more in killed for drawn in more)
        line += f"; drawn again, as it had ended before: {again}"
    return line


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=FAULTS, default=list(FAULTS))
    parser.add_argument("--log", type=Path)
    usual = ", ".join(f"{name} {FAULTS[name][1]}" for name in KILLS)
    parser.add_argument("--kills", type=int, help=f"cases of each of {' and '.join(KILLS)} (without it: {usual})")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    enter_namespace()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the folder goes
    lines = options.log.read_text().splitlines() if options.log and options.log.exists() else []
    known = [json.loads(line) for line in lines]
    print(processor_name(), flush=True)
    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        stage = Stage(Path(folder), options.seed)
        assert stage.undisturbed
        for name in options.only:
            cases = [case for case in known if case["fault"] == name]
            wanted = options.kills if name in KILLS and options.kills is not None else FAULTS[name][1]
            for number in range(len(cases), wanted):
                cases.append(provoke(stage, name, number))
                if options.log:
                    with options.log.open("a") as log:
                        log.write(json.dumps(cases[-1]) + "\n")
                print(f"{name} {number + 1}, {cases[-1]['end']}: {cases[-1]['words']}", flush=True)
            print(summary(name, cases), flush=True)
            failed += sum(case["end"] == "failed" for case in cases)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
