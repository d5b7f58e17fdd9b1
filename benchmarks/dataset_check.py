"""What checking a dataset costs: rows a second and peak memory over sizes, and beside a plain loop over `datasets`.

    python -m benchmarks.dataset_check [--rows 10000,100000,1000000] [--pictures 10000]

Each measurement is a process of its own, so that its peak memory is its own. CPU seconds are of all threads, and of
importing too; they say more than seconds where other work shares the cores. The plain loop loads the file with
`datasets` and looks at the roles of every row in Python: no findings, no lines, no media, no tokens.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from random import Random
from typing import Any

from PIL import Image

_INFO: dict[str, Any] = {
    "file_name": "rows.jsonl",
    "formatting": "sharegpt",
    "columns": {"messages": "conversations"},
}
_PICTURES = {
    "file_name": "rows.jsonl",
    "formatting": "sharegpt",
    "columns": {"messages": "conversations", "images": "images"},
}
_WORDS = "the car turns left at the light because a child crosses the road 车辆 左转 行人 通过 路口 减速 观察".split()  # noqa: SIM905


def write_rows(path: Path, count: int) -> None:
    """Write ShareGPT rows of about 1 KiB; one in a thousand is broken."""
    random = Random(0)
    texts = [" ".join(random.choices(_WORDS, k=45)) for _ in range(2000)]
    with path.open("w", encoding="utf-8") as file:
        for number in range(count):
            turns = [
                {"from": ("human", "gpt")[turn % 2], "value": f"{number} {random.choice(texts)}"}
                for turn in range(4 if number % 1000 else 3)
            ]
            file.write(json.dumps({"conversations": turns}, ensure_ascii=False) + "\n")


def write_pictures(folder: Path, count: int) -> None:
    """Write rows with a picture each, all of them files of their own."""
    (folder / "images").mkdir()
    source = folder / "picture.jpg"
    Image.effect_noise((1280, 720), 60).convert("RGB").save(source, quality=60)
    data = source.read_bytes()
    with (folder / "rows.jsonl").open("w") as file:
        for number in range(count):
            name = f"images/{number:06d}.jpg"
            (folder / name).write_bytes(data)
            turns = [{"from": "human", "value": f"<image>what? {number}"}, {"from": "gpt", "value": "a car"}]
            file.write(json.dumps({"conversations": turns, "images": [name]}) + "\n")


def run_check(folder: Path, info: dict[str, Any]) -> int:
    """Check a dataset; return how many rows are usable."""
    from backend.dataset_files import check

    return check(folder, info, findings_file=folder / "findings").cleaned_count


def run_profile(folder: Path, model: Path, most_rows: int) -> int:
    """Count the lengths of rows by a model's tokenizer; return of how many."""
    from backend.dataset_files.profiling import profile
    from backend.dataset_files.tokens import RowCounter

    with (folder / "rows.jsonl").open("rb") as lines:
        count = sum(1 for _ in lines)
    counter = RowCounter(model, "qwen2_vl", "sft")
    found = profile(folder, _INFO, counter, row_count=count, most_rows=most_rows, on_progress=lambda *_: None)
    return int(found["counted"])


def run_loop(folder: Path) -> int:
    """Count the rows whose roles take turns, the plain way."""
    from datasets import load_dataset

    loaded = load_dataset(
        "json", data_files=str(folder / "rows.jsonl"), split="train", cache_dir=str(folder / "cache")
    )
    usable = 0
    for row in loaded:
        turns = row["conversations"]
        roles = [turn["from"] for turn in turns]
        usable += len(roles) % 2 == 0 and all(
            role == ("human", "gpt")[at % 2] for at, role in enumerate(roles)
        )
    return usable


def measure(way: str, folder: Path, tokenizer: str = "") -> dict[str, float]:
    """Run one way in a process of its own; return its usable rows, seconds, CPU seconds and peak memory in MiB."""
    command = [sys.executable, "-m", "benchmarks.dataset_check", "--way", way, "--folder", str(folder)]
    settings = os.environ | {"HF_HUB_OFFLINE": "1", "HF_DATASETS_DISABLE_PROGRESS_BARS": "1"}
    done = subprocess.run(
        [*command, "--tokenizer", tokenizer], capture_output=True, text=True, check=True, env=settings
    )
    measured: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return measured


def run_way(way: str, folder: Path, tokenizer: str) -> dict[str, float]:
    """Do what `measure` asked for, in this process."""
    started = time.perf_counter()
    if way == "loop":
        usable = run_loop(folder)
    elif way.startswith("profile"):
        usable = run_profile(folder, Path(tokenizer), int(way.removeprefix("profile")))
    else:
        usable = run_check(folder, _PICTURES if way == "pictures" else _INFO)
    seconds = time.perf_counter() - started
    used = resource.getrusage(resource.RUSAGE_SELF)
    cpu_seconds = used.ru_utime + used.ru_stime
    return {"usable": usable, "seconds": seconds, "cpu_seconds": cpu_seconds, "mib": used.ru_maxrss / 1024}


def report(name: str, rows: int, folder: Path, measured: dict[str, float]) -> None:
    """Print one line."""
    size = (folder / "rows.jsonl").stat().st_size / (1 << 20)
    seconds = measured["seconds"]
    cells = (
        f"{name:<34}{rows:>10,}{size:>9.0f}{seconds:>9.1f}{measured['cpu_seconds']:>8.1f}",
        f"{rows / seconds:>11,.0f}{measured['mib']:>9.0f}{measured['usable']:>11,.0f}",
    )
    print("".join(cells), flush=True)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rows", default="10000,100000,1000000")
    parser.add_argument("--pictures", type=int, default=10_000)
    parser.add_argument("--tokenizer", default="", help="a model's folder, to profile with its tokenizer too")
    parser.add_argument("--way", default="", help=argparse.SUPPRESS)
    parser.add_argument("--folder", default="", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.way:
        print(json.dumps(run_way(args.way, Path(args.folder), args.tokenizer)))
        return
    heads = (
        ("rows", 10),
        ("MiB", 9),
        ("seconds", 9),
        ("CPU s", 8),
        ("rows/s", 11),
        ("peak MiB", 9),
        ("usable", 11),
    )
    print(" " * 34 + "".join(f"{head:>{width}}" for head, width in heads))
    for count in [int(part) for part in args.rows.split(",")]:
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place)
            write_rows(folder / "rows.jsonl", count)
            report("check", count, folder, measure("check", folder))
            if args.tokenizer:
                for name, most in (("profile of all rows", count), ("profile of 20,000 rows", 20_000)):
                    report(name, count, folder, measure(f"profile{most}", folder, args.tokenizer))
            report("datasets and a plain loop", count, folder, measure("loop", folder))
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        write_pictures(folder, args.pictures)
        report("check, a picture a row", args.pictures, folder, measure("pictures", folder))


if __name__ == "__main__":
    main()
