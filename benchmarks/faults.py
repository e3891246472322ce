"""Nothing lost: a campaign of faults against small sweeps on a three-node Ray cluster on this machine.

    python -m benchmarks.faults [--minutes 45] [--seed 0] [--faults 40]

At random, seeded times it kills a worker of a trial, a trial's process, a node (another joins), the sweep itself
(which is then resumed), or cuts a checkpoint file short. It fails where a trial is lost, more than a checkpoint
interval is repeated per fault, an artefact is half-written, or a one-worker trial scores otherwise than undisturbed.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections import Counter
from pathlib import Path

from benchmarks.common import table, write_section
from benchmarks.fault_check import Found, examine
from benchmarks.fault_cluster import Nodes, make_store, write_study
from benchmarks.fault_sweep import KINDS, Fault, Sweep

GOAL = 40  # faults
EVERY_S = (2.0, 7.0)  # between two faults, once the sweep trains again
RATES = {1: (1e-3, 2e-3, 3e-3, 4e-3), 2: (1e-3, 2e-3)}  # of the flow, a trial each, by workers
# Seconds at the speed of each, so that a log with a line per second shows what is repeated.
INTERVALS = {1: 500, 2: 250}  # updates between checkpoints, by workers
STEPS = {1: 5_000, 2: 2_500}  # of the flow: two per update
PEACE_S = 240  # at the end, in which the sweep at hand is left to finish


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=45)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--faults", type=int, default=GOAL)
    arguments = parser.parse_args()
    began = time.monotonic()
    last = began + max(60 * arguments.minutes - PEACE_S, 60)
    faults: list[Fault] = []
    found: list[Found] = []
    with tempfile.TemporaryDirectory(prefix="scbig-faults-", ignore_cleanup_errors=True) as name, Nodes() as nodes:
        folder = Path(name)
        store = make_store(folder)
        calm = []
        for workers, rates in RATES.items():
            more = {"train.checkpoint_every": INTERVALS[workers], "flow.steps": STEPS[workers]}
            more["flow.validate_every"] = STEPS[workers] // 2
            study = write_study(folder / f"{workers}.py", workers, rates, **more)
            calm.append(Sweep(nodes, study, workers, store, folder / f"undisturbed-{workers}"))
            calm[-1].finish()
        print(f"undisturbed: {time.monotonic() - began:.0f} s", flush=True)

        def go_on() -> bool:
            return len(faults) < arguments.faults and time.monotonic() < last

        while go_on():
            wanted = calm[len(found) % len(calm)]
            seed = f"{arguments.seed} {len(found)}"
            sweep = Sweep(nodes, wanted.study, wanted.workers, store, folder / f"sweep-{len(found)}", seed)
            while go_on() and sweep.wait(*EVERY_S):
                fault = sweep.strike(Counter(fault.kind for fault in faults))
                if fault is not None:
                    faults.append(fault)
                    print(f"{time.monotonic() - began:.0f} s, {len(faults)}: {fault.kind} {fault.trial}", flush=True)
            sweep.finish()
            found.append(examine(sweep, wanted))
            print(found[-1], flush=True)
    seconds = time.monotonic() - began
    wrong = [line for each in found for line in each.wrong]
    if len(faults) < arguments.faults:
        wrong.append(f"{len(faults)} faults of {arguments.faults}")
    if seconds > 60 * arguments.minutes:
        wrong.append(f"{seconds / 60:.0f} minutes")
    body = _body(faults, found, wrong, arguments.seed)
    if arguments.faults >= GOAL:
        write_section("85-faults", "Nothing lost", body, seconds)
    else:  # a try-out
        print(body)
    if wrong:
        raise SystemExit("\n".join(wrong))


def _body(faults: list[Fault], found: list[Found], wrong: list[str], seed: int) -> str:
    repeated = [n for each in found for n in each.repeated]
    apart = max((each.apart for each in found), default=0.0)

    def total(field: str) -> int:
        return sum(getattr(each, field) for each in found)

    return (
        f"`python -m benchmarks.faults --seed {seed}`: {len(found)} sweeps of four trials of one worker or two of two in turn ("
        "1,500 simulated cells × 80 genes, one thread each) on `ray.cluster_utils.Cluster`, a head that trains nothing and two nodes "
        f"of two CPUs. A checkpoint every {INTERVALS[1]} updates, of two workers {INTERVALS[2]}. *Back*: seconds from the fault to the study's next checkpoint or "
        "ended trial.\n\n"
        + table(["fault", "struck", "survived", "back, s: median (lowest to highest)"], _rows(faults))
        + f"\n\n- Nodes that took the sweep's own process with them (then `--resume`): {sum(each.took_sweep for each in faults)}.\n"
        f"- Trials finished: {total('n_finished')} of {total('n_trials')}.\n"
        f"- Updates done again, of {len(repeated)} restarts that repeated any: median "
        f"{statistics.median(repeated) if repeated else 0:.0f}, most {max(repeated, default=0)}, by a log with a line per second. "
        "A restart is to go on from the newest checkpoint, or from the one before where that was cut.\n"
        f"- Artefacts half-written: {total('half')} of {total('n_artifacts')}, every byte read; left beside by makers that died, "
        f"where no reader looks: {total('beside')}.\n"
        f"- One-worker trials with other scores than undisturbed: {total('unequal')} of {total('n_alone')}; scores of two-worker "
        f"trials differ by at most {apart:.1e}.\n"
        f"- Goals (every trial finished, at most an interval repeated per fault, two where a checkpoint was cut, nothing half-written, equal scores, {GOAL} faults, "
        f"within the time): {'met' if not wrong else 'not met: ' + '; '.join(wrong)}.\n"
    )


def _rows(faults: list[Fault]) -> list[list[object]]:
    rows: list[list[object]] = []
    for kind, what in [*KINDS.items(), ("", "**all**")]:
        its = [fault for fault in faults if kind in ("", fault.kind)]
        back = [fault.back_s for fault in its if fault.back_s is not None]
        text = f"{statistics.median(back):.0f} ({min(back):.0f} to {max(back):.0f})" if back else "–"
        rows.append([what, len(its), sum(not fault.lost for fault in its), text])
    return rows


if __name__ == "__main__":
    main()
