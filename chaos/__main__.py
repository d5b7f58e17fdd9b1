"""`make chaos`: starts a platform of its own, breaks it fault by fault, prints what was lost, ends with 1 if anything."""

from __future__ import annotations

import argparse
import json
import random
import shutil
import signal
import sys
import tempfile
import time
import zlib
from collections.abc import Sequence
from pathlib import Path

from chaos.client import Client, Refused
from chaos.faults import FAULTS, SHORT
from chaos.ledger import Ledger
from chaos.platform import GaveUp, Platform, lay_out_home, wait_until
from chaos.rooms import Room
from chaos.tally import Tally
from chaos.wave import Fault, Wave

OTHER_NODES = 2
_COLUMNS = (
    ("jobs", "jobs"),
    ("finished", "finished"),
    ("lost", "lost"),
    ("twice", "run twice"),
    ("steps_repeated", "steps repeated"),
    ("steps_repeated_after_graceful_stop", "…after graceful stop"),
    ("log_bytes_missing", "log bytes missing"),
    ("points_missing", "points missing"),
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the suite; return the exit code."""
    options = parse_arguments(arguments)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _leave)
    faults = choose_faults(options)
    room = Room()
    usable = room if room.has_opened() else None
    for fault in faults:
        if fault.needs_room and usable is None:
            print(f"LEFT OUT, as this machine lets nobody mount a disk of their own: {fault.name}")
    faults = [fault for fault in faults if usable is not None or not fault.needs_room]
    folder = Path(tempfile.mkdtemp(prefix="tuneforge-chaos-"))
    folder.chmod(0o755)  # PostgreSQL's own user has to reach its folder, when we are root
    tallies: dict[str, Tally] = {}
    try:
        Suite(folder, usable, options).run(faults, tallies)
    except (GaveUp, Refused) as error:
        print(f"GIVEN UP: {error}", flush=True)
        tallies["the suite itself"] = Tally(lost=1, problems=[f"given up: {error}"])
    finally:
        room.close()
    total = print_table(tallies)
    if total.is_clean and not options.keep:
        shutil.rmtree(folder, ignore_errors=True)
    else:
        print(f"Kept for a look: {folder}")
    print(json.dumps(summarize(total, len(faults))), flush=True)
    return 0 if total.is_clean else 1


def _leave(_number: int, _frame: object) -> None:
    """Unwind, so that nothing is left running; a second signal must not cut that short."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    sys.exit(143)


def parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(prog="make chaos", description=__doc__)
    parser.add_argument("--short", action="store_true", help="some faults, few jobs: a minute or two")
    parser.add_argument("--only", default="", help="only faults whose name holds this")
    parser.add_argument("--seed", type=int, default=20, help="of all that is left to chance")
    parser.add_argument("--stand-ins", type=int, help="stand-in jobs before each fault")
    parser.add_argument("--reals", type=int, help="LLaMA-Factory's jobs before each fault")
    parser.add_argument("--keep", action="store_true", help="keep the home and the ledger in any case")
    options = parser.parse_args(arguments)
    if options.stand_ins is None:
        options.stand_ins = 6 if options.short else 13
    return options


def choose_faults(options: argparse.Namespace) -> list[Fault]:
    """Return the faults that are asked for, in the order of the suite."""
    wanted = [fault for fault in FAULTS if not options.short or fault.name in SHORT]
    chosen = [fault for fault in wanted if options.only in fault.name]
    if not chosen:
        raise SystemExit(f"No fault is called so; there is: {', '.join(fault.name for fault in wanted)}")
    return chosen


class Suite:
    """One run of the suite."""

    def __init__(self, folder: Path, room: Room | None, options: argparse.Namespace) -> None:
        self.options = options
        self.began = time.monotonic()
        lay_out_home(folder / "home")
        self.platform = Platform(folder, room)
        self.ledger = Ledger(self.platform.records)
        self.client = Client(self.platform.url)

    def run(self, faults: Sequence[Fault], tallies: dict[str, Tally]) -> None:
        """Run every wave on one platform; `tallies` has what was counted even when it is given up half-way."""
        try:
            self.platform.start(OTHER_NODES)
            self.client.sign_in("chaos")
            wait_until(lambda: self.client.count_nodes_online() > OTHER_NODES, 120, "all nodes")
            self._say(f"the platform runs with {OTHER_NODES + 1} nodes; seed {self.options.seed}")
            for number, fault in enumerate(faults):
                if fault.fence_seconds != self.platform.fence_seconds:
                    self.platform.restart(fault.fence_seconds)
                tallies[fault.name] = self._run_wave(number, fault)
        finally:
            self.platform.stop()

    def _run_wave(self, number: int, fault: Fault) -> Tally:
        # Of the fault's name, so that a fault alone meets what it meets in the whole suite.
        chance = random.Random(self.options.seed + zlib.crc32(fault.name.encode()))
        wave = Wave(fault, number, self.platform, self.client, self.ledger, chance, self._say)
        reals = self.options.reals
        if reals is None:
            reals = int(not self.options.short or number == 0)
        count = wave.run(self.options.stand_ins, reals, late=3)
        for problem in count.problems:
            self._say(f"PROBLEM {problem}")
        return count

    def _say(self, text: str) -> None:
        print(f"{time.monotonic() - self.began:6.0f} s  {text}", flush=True)


def print_table(tallies: dict[str, Tally]) -> Tally:
    """Print the counts of each fault and of all; return those of all."""
    total = Tally()
    for count in tallies.values():
        total.add(count)
    print("\n" + f"{'':28}" + "".join(f"{title:>22}" for _, title in _COLUMNS))
    for name, count in [*tallies.items(), ("in all", total)]:
        print(f"{name:28}" + "".join(f"{getattr(count, key):22}" for key, _ in _COLUMNS))
    return total


def summarize(total: Tally, faults: int) -> dict[str, int]:
    """Return what the last line says."""
    names = ("jobs", "lost", "twice", "steps_repeated_after_graceful_stop", "log_bytes_missing")
    return {name: getattr(total, name) for name in names} | {"faults": faults}


if __name__ == "__main__":
    sys.exit(main())
