"""Runs `train.yaml` of the working folder under the guard: the part of `worker/entry.py` that tracking needs.

    run_attempt.py PLAN     one run in this process
    run_attempt.py --warm   reads runs from standard input, a line of JSON each, forks for each, prints its status

The warm form pays for importing LLaMA-Factory once; nothing of SwanLab is imported before a fork. With `crash`
in the plan the run ends in an error that nobody catches, and nobody ends tracking.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

from llamafactory.train.tuner import run_exp

from worker.tracking import finish_tracking, install_tracking


def wait_for_a_run() -> dict[str, Any]:
    """Fork for every run that is asked for; returns in the children only."""
    assert "swanlab" not in sys.modules
    print("ready", flush=True)
    for line in sys.stdin:
        order = json.loads(line)
        child = os.fork()
        if child == 0:
            os.chdir(order["folder"])
            os.environ.clear()
            os.environ.update(order["environment"])
            log = os.open("job.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
            os.dup2(log, 1)
            os.dup2(log, 2)
            return dict(order["plan"])
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
    sys.exit(0)


plan = wait_for_a_run() if sys.argv[1] == "--warm" else json.loads(sys.argv[1])
install_tracking(plan)
sys.argv[1:] = ["train.yaml"]
run_exp()
if plan.get("crash"):
    raise RuntimeError("the run's own fault")
if not finish_tracking():
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)
