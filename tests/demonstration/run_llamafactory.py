"""Runs `train.yaml` of each folder given, one after the other; LLaMA-Factory is imported once and forked.

    run_llamafactory.py FOLDER... [--alone FOLDER...]

Those after `--alone` run as `llamafactory-cli` runs them, the others as the platform does.
"""

from __future__ import annotations

import argparse
import os
import sys
import time

from llamafactory.train.tuner import run_exp

from worker.picture_tokens import give_picture_tokens_to_generate


def run(folder: str, is_alone: bool) -> int:
    """Run the folder's `train.yaml` in a child with `job.log` for its output; return the child's exit code."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    os.chdir(folder)
    log = os.open("job.log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    os.dup2(log, 1)
    os.dup2(log, 2)
    if not is_alone:
        give_picture_tokens_to_generate()
    sys.argv[1:] = ["train.yaml"]
    run_exp()
    sys.exit(0)


parser = argparse.ArgumentParser()
parser.add_argument("folders", nargs="+")
parser.add_argument("--alone", nargs="*", default=[])
arguments = parser.parse_args()
for name in arguments.folders + arguments.alone:
    started = time.monotonic()
    if code := run(name, name in arguments.alone):
        sys.exit(f"{name}: exit code {code}, see its job.log")
    print(f"{os.path.basename(name)}: {time.monotonic() - started:.0f} s without importing", flush=True)
