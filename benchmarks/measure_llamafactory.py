"""Measure LLaMA-Factory on this machine's GPU: step times and peak memory of many short runs, one JSON line each.

    python benchmarks/measure_llamafactory.py --out measured.jsonl [--deadline-seconds 540] [--only m01,m02]

Weights are random, in the published shape of the model named (speed and memory do not depend on their values), made on
the device, so that nothing is downloaded. The tokenizer is a byte-level BPE made on the spot, the data synthetic:

- `text`: every example is longer than `cutoff_len`, so every sequence is exactly that long.
- `image`: one 1928x1208 JPEG an example and about a hundred tokens of text.
- `pref`: chosen and rejected answer both longer than `cutoff_len`.

Every case is a process of its own, forked from one that has imported everything, and runs LLaMA-Factory's own
`run_exp`. `optimizer_step_s` is the median time from the end of one optimizer step to the end of the next, the first
ones left out; the peaks are torch's own.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from pathlib import Path
from typing import Any

os.environ.setdefault("DISABLE_VERSION_CHECK", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
# CUDA must not be initialised before the forks; this way of asking whether there is a GPU does not.
os.environ.setdefault("PYTORCH_NVML_BASED_CUDA_CHECK", "1")

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from backend.domain.published_models import find_published_config
from benchmarks.measured_cases import CASES, CPU_CASES
from benchmarks.measured_inputs import make_data, make_model_folder, make_tokenizer, write_weights
from benchmarks.measured_run import build_arguments, probe_machine, train


def main() -> int:
    """Run the cases that are wanted and not done, until the deadline nears."""
    options = _parse_options()
    started = time.monotonic()
    work = Path(options.work)
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    _import_everything()
    print(f"imported after {time.monotonic() - started:.1f} s", flush=True)
    forks = not options.spawn and not _is_cuda_awake()
    print("one fork a case" if forks else "one new process a case", flush=True)
    tokenizer = make_tokenizer(work / "tokenizer")
    done = {row["id"] for path in options.skip for row in _read_rows(Path(path))}
    cases = CPU_CASES if options.cpu else CASES
    wanted = [case for case in cases if not options.only or case["id"] in options.only.split(",")]
    if options.in_process:
        _write(Path(options.out), run_case(wanted[0], work, tokenizer, options, 600))
        return 0
    if options.probe:
        _write(Path(options.out), run_forked(probe_machine, work / "probe.log", 120) or {})
    failures = 0
    for case in wanted:
        left = options.deadline_seconds - (time.monotonic() - started)
        if case["id"] in done:
            continue
        if left < case.get("expected_s", 20) + 10:
            print(f"{case['id']}: skipped, {left:.0f} s left", flush=True)
            continue
        begun = time.monotonic()
        limit = min(left - 5, 120)
        row = (
            run_case(case, work, tokenizer, options, limit)
            if forks
            else run_spawned(case, work, options, limit)
        )
        state = "ok" if "optimizer_step_s" in row else "out of memory" if row.get("oom") else "failed"
        print(f"{case['id']}: {state}, {time.monotonic() - begun:.1f} s", flush=True)
        if state != "failed":
            _write(Path(options.out), row)
        failures = failures + 1 if state == "failed" else 0
        if failures == 3:
            print("three failures in a row: given up", flush=True)
            return 1
    return 0


def _parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--out", required=True)
    parser.add_argument("--work", default=str(Path(tempfile.gettempdir()) / "measure_llamafactory"))
    parser.add_argument("--deadline-seconds", type=float, default=3600)
    parser.add_argument("--only", help="ids, separated by commas")
    parser.add_argument("--skip", action="append", default=[], help="a file of rows whose ids are done")
    parser.add_argument("--tiny", action="store_true", help="a tiny shape on the CPU, to try this script")
    parser.add_argument(
        "--cpu", action="store_true", help="small models on the CPU, by the process's CPU seconds"
    )
    parser.add_argument("--probe", action="store_true", help="measure the machine's ceilings first")
    parser.add_argument("--spawn", action="store_true", help="start each case as a new process, not a fork")
    parser.add_argument("--in-process", action="store_true", help="run one case here (what --spawn starts)")
    return parser.parse_args()


def _read_rows(path: Path) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


def _write(path: Path, row: dict[str, Any]) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")


def _import_everything() -> None:
    import datasets  # noqa: F401
    import peft  # noqa: F401
    import torch

    # LLaMA-Factory asks this as it is imported, and the answer would initialise CUDA.
    asked = torch.cuda.is_bf16_supported
    torch.cuda.is_bf16_supported = lambda *_args, **_kwargs: True

    import transformers
    import transformers.models.llama.modeling_llama
    import transformers.models.qwen2.modeling_qwen2
    import transformers.models.qwen2_5_vl.modeling_qwen2_5_vl  # noqa: F401
    from llamafactory.train import tuner  # noqa: F401

    torch.cuda.is_bf16_supported = asked


def _is_cuda_awake() -> bool:
    import torch

    return bool(torch.cuda.is_initialized())


# -- processes -----------------------------------------------------------------------------------------------


def run_forked(work: Any, log: Path, limit_seconds: float) -> dict[str, Any] | None:
    """Return what `work()` returns in a forked process, or None when it failed or took too long."""
    result = log.with_suffix(".json")
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.setsid()
            file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            os.dup2(file, 1)
            os.dup2(file, 2)
            result.write_text(json.dumps(work()), encoding="utf-8")
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    end = time.monotonic() + limit_seconds
    while os.waitpid(child, os.WNOHANG)[0] == 0:
        if time.monotonic() > end:
            os.killpg(child, signal.SIGKILL)
            os.waitpid(child, 0)
            break
        time.sleep(0.05)
    if not result.exists():
        print("".join(log.read_text(errors="replace")[-1500:]), flush=True)
        return None
    return json.loads(result.read_text(encoding="utf-8"))


def run_spawned(
    case: dict[str, Any], work: Path, options: argparse.Namespace, limit: float
) -> dict[str, Any]:
    """Return `run_case` of a new process: slower by the imports."""
    out = work / f"{case['id']}.row"
    command = [sys.executable, __file__, "--in-process", "--only", case["id"], "--out", str(out)]
    command += ["--work", str(work / f"{case['id']}.work")] + [
        f"--{name}" for name in ("tiny", "cpu") if getattr(options, name)
    ]
    with contextlib.suppress(subprocess.TimeoutExpired):
        subprocess.run(command, timeout=limit + 30, check=False)
    rows = _read_rows(out)
    return rows[0] if rows else {"failed": True}


def run_case(
    case: dict[str, Any], work: Path, tokenizer: Any, options: argparse.Namespace, limit: float
) -> dict[str, Any]:
    """Return a row of measurements; `oom` is true where memory ran out."""
    folder = work / case["id"]
    folder.mkdir(parents=True)
    config = case.get("config") or find_published_config(case["model"]) or {}
    make_model_folder(
        config, folder / "model", tokenizer, tiny=options.tiny, on_cpu=options.cpu or options.tiny
    )
    make_data(case, folder / "data")
    args = build_arguments(case, folder, tiny=options.tiny, on_cpu=options.cpu or options.tiny)

    if case.get("quantization_bit"):
        # Quantised as they are read, so they have to lie on disk.
        run_forked(
            lambda: {"params": write_weights(folder / "model", has_pictures=False)}, folder / "weights", 120
        )

    def work_here() -> dict[str, Any]:
        return train(args, on_cpu=options.cpu or options.tiny)

    measured = work_here() if options.in_process else run_forked(work_here, folder / "log", limit)
    shutil.rmtree(folder / "output", ignore_errors=True)
    facts = {name: value for name, value in case.items() if name not in ("expected_s", "steps")}
    return facts | (measured or {"failed": True})


if __name__ == "__main__":
    sys.exit(main())
