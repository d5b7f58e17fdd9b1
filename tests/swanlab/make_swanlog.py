"""Writes a log with the real client's local mode, in the working folder; `die` ends it as the kernel would."""

from __future__ import annotations

import os
import signal
import sys
import time

import swanlab

name, steps, ending = sys.argv[1], int(sys.argv[2]), sys.argv[3]
swanlab.init(project="tuneforge", name=name, mode="local", log_dir="swanlog", config={"lr": 0.1})
for step in range(1, steps + 1):
    swanlab.log({"train/loss": 2.0 / step, "train/learning_rate": 1e-3 * step}, step=step)
print("训练日志 line")
if ending == "die":
    time.sleep(2)  # the client writes from a thread
    os.kill(os.getpid(), signal.SIGKILL)
swanlab.finish()
