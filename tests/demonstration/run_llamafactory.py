"""Runs `train.yaml` of each folder given, one after the other; LLaMA-Factory is imported once and forked."""

from __future__ import annotations

import os
import sys
import time

from llamafactory.train.tuner import run_exp


def run(folder: str) -> int:
    """Run the folder's `train.yaml` in a child with `job.log` for its output; return the child's exit code."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    os.chdir(folder)
    log = os.open("job.log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    os.dup2(log, 1)
    os.dup2(log, 2)
    sys.argv[1:] = ["train.yaml"]
    run_exp()
    sys.exit(0)


for name in sys.argv[1:]:
    started = time.monotonic()
    if code := run(name):
        sys.exit(f"{name}: exit code {code}, see its job.log")
    print(f"{os.path.basename(name)}: {time.monotonic() - started:.0f} s without importing", flush=True)
