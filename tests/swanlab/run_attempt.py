"""Runs `train.yaml` of the working folder under the guard: the part of `worker/entry.py` that tracking needs.

With `crash` in the plan the run ends in an error that nobody catches, and nobody ends tracking.
"""

from __future__ import annotations

import json
import os
import sys

from llamafactory.train.tuner import run_exp

from worker.tracking import finish_tracking, install_tracking

plan = json.loads(sys.argv[1])
install_tracking(plan)
sys.argv[1:] = ["train.yaml"]
run_exp()
if plan.get("crash"):
    raise RuntimeError("the run's own fault")
if not finish_tracking():
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)
