"""Says of many configurations what LLaMA-Factory says of each; imports it once and forks for every one.

    llamafactory_verdicts.py < configurations      a line of JSON each: {"config": {…}, "folder": "…", "run": false}

With `run` the configuration is run whole (`run_exp`) in its folder, else only its arguments are read
(`get_train_args`). Prints a line of JSON each: {"error": null | "ValueError: …"}.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

from llamafactory.hparams import get_train_args
from llamafactory.train.tuner import run_exp


def find_error(order: dict[str, Any]) -> str | None:
    """Return what LLaMA-Factory objects to, as its last line would say it."""
    os.chdir(order["folder"])
    try:
        if order.get("run"):
            run_exp(order["config"])
        else:
            get_train_args(order["config"])
    except BaseException as error:
        return f"{type(error).__name__}: {error}"
    return None


def find_error_in_fork(order: dict[str, Any]) -> str | None:
    """The same, leaving nothing behind in this process."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        log = os.open(
            os.path.join(order["folder"], "verdicts.log"), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644
        )
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.write(writing, json.dumps(find_error(order)).encode()[:60000])
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as answer:
        text = answer.read()
    status = os.waitpid(child, 0)[1]
    return json.loads(text) if text else f"ended with {os.waitstatus_to_exitcode(status)}"


def main() -> None:
    """Answer every line."""
    for line in sys.stdin:
        print(json.dumps({"error": find_error_in_fork(json.loads(line))}), flush=True)


if __name__ == "__main__":
    main()
