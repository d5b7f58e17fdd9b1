"""`make agreement`: the whole corpus by the checker and by real LLaMA-Factory; ends with 1 when anything disagrees.

python -m tests.agreement.compare [--only PART] [--every N]
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from backend.dataset_files import CheckReport, check, write_cleaned
from backend.dataset_files.reading import Unreadable
from backend.domain.datasets.mapping import BadMapping
from tests.agreement.corpus import Case, list_cases

ROOT = Path(__file__).parents[2]
MODEL = ROOT / ".tools" / "agreement-model"
_ACCEPTED = frozenset({"images", "videos"})
"""What a model of Qwen2-VL's kind takes."""


@dataclass
class Comparison:
    """One case by both sides, and its cleaned copy by both sides; `faults` says what disagrees."""

    case: Case
    report: CheckReport
    loaded: int
    error: str | None
    cleaned: int | None
    cleaned_loaded: int | None
    found: bool

    @property
    def faults(self) -> list[str]:
        """Return what is not as it should be, empty where all agrees."""
        faults = []
        if self.report.usable_count != self.loaded:
            faults.append(f"checker {self.report.usable_count}, LLaMA-Factory {self.loaded} ({self.error})")
        if not self.found:
            told = [(one["code"], one["examples"][0]["line"]) for one in self.report.findings]
            faults.append(f"{self.case.code} at line {self.case.line} not told: {told}")
        if self.cleaned is not None and self.cleaned != self.cleaned_loaded:
            faults.append(f"cleaned copy has {self.cleaned}, LLaMA-Factory loads {self.cleaned_loaded}")
        if self.cleaned is not None and self.cleaned != self.report.cleaned_count:
            faults.append(f"cleaned copy has {self.cleaned}, promised were {self.report.cleaned_count}")
        return faults


def compare(cases: list[Case], folder: Path) -> list[Comparison]:
    """Check every case and its cleaned copy, then let LLaMA-Factory load them all."""
    make_model()
    orders, checked = [], []
    for number, case in enumerate(cases):
        place = folder / f"{number:04d}"
        place.mkdir()
        case.write(place)
        findings = folder / f"{number:04d}.findings"
        report = check(place, case.info, stage=case.stage, accepts=_ACCEPTED, findings_file=findings)
        orders.append({"folder": str(place), "info": case.info, "stage": case.stage})
        cleaned = clean(case, place, folder / f"{number:04d}.cleaned")
        if cleaned:
            entry = json.loads((folder / f"{number:04d}.cleaned" / "dataset_info.json").read_text())[
                "dataset"
            ]
            orders.append(
                {"folder": str(folder / f"{number:04d}.cleaned"), "info": entry, "stage": case.stage}
            )
        checked.append((case, report, cleaned, is_found(case, findings)))
    answers = iter(load(orders))
    results = []
    for case, report, cleaned, found in checked:
        answer = next(answers)
        again = next(answers)["count"] if cleaned else None
        results.append(
            Comparison(case, report, answer["count"], answer["error"], cleaned or None, again, found)
        )
    return results


def clean(case: Case, place: Path, target: Path) -> int:
    """Write the cleaned copy; 0 where there is none to be had, as when the mapping itself is wrong."""
    if case.code in ("stage_unfit", "column_missing", "split_unknown", "file_name_unfit"):
        return 0
    try:
        return write_cleaned(place, case.info, target, stage=case.stage, accepts=_ACCEPTED)
    except (BadMapping, Unreadable):
        return 0


def is_found(case: Case, findings: Path) -> bool:
    """Whether the case's fault is told at its line, and of a case without one, no error at all."""
    entries = [json.loads(line) for line in findings.read_text("utf-8").splitlines()]
    if case.code is None:
        return all(entry["effect"] == "none" for entry in entries)
    return any(
        entry["code"] == case.code and (case.line is None or entry["line"] == case.line) for entry in entries
    )


def make_model() -> None:
    """Make the tokenizer and processor that both sides use, once."""
    if not (MODEL / "config.json").is_file():
        load([])


def load(orders: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return LLaMA-Factory's answer to each order, from one process that imports it once."""
    MODEL.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, str(Path(__file__).with_name("load_datasets.py")), str(MODEL)]
    text = "".join(json.dumps(order) + "\n" for order in orders)
    with tempfile.TemporaryDirectory() as cache:
        settings = os.environ | {
            "PYTHONPATH": str(ROOT),
            "OMP_NUM_THREADS": "1",
            "HF_DATASETS_CACHE": cache,
            "DISABLE_VERSION_CHECK": "1",
        }
        done = subprocess.run(command, input=text, env=settings, capture_output=True, text=True, check=False)
    answers = [json.loads(line) for line in done.stdout.splitlines() if line.startswith('{"count"')]
    if len(answers) != len(orders):
        raise RuntimeError(f"{len(answers)} answers to {len(orders)} orders:\n{done.stderr[-3000:]}")
    return answers


def main() -> int:
    """Print the table, and what disagrees."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--only", default="", help="cases whose name holds this")
    parser.add_argument("--every", type=int, default=1, help="of these every n-th")
    args = parser.parse_args()
    cases = [case for case in list_cases() if args.only in case.name][:: args.every]
    with tempfile.TemporaryDirectory() as folder:
        results = compare(cases, Path(folder))
    print_table(results)
    wrong = [result for result in results if result.faults]
    for result in wrong:
        print(f"DISAGREES {result.case.name}: " + "; ".join(result.faults))
    whole = sum(result.report.stops for result in results)
    print(f"{len(results)} datasets, {whole} of which stop LLaMA-Factory; {len(wrong)} disagree.")
    return 1 if wrong else 0


def print_table(results: list[Comparison]) -> None:
    """Print how many datasets of each kind there are, and how many agree."""
    groups: dict[str, list[Comparison]] = {}
    for result in results:
        name = result.case.name
        groups.setdefault(
            name.partition("/")[0] if "/" in name else f"files: {name.rpartition('.')[2]}", []
        ).append(result)
    print(f"{'kind':<22}{'datasets':>9}{'broken':>8}{'rows':>8}{'usable':>8}{'loaded':>8}{'agree':>7}")
    for name, group in groups.items():
        counts = (
            len(group),
            sum(one.case.code is not None for one in group),
            sum(one.report.example_count for one in group),
            sum(one.report.usable_count for one in group),
            sum(one.loaded for one in group),
            sum(not one.faults for one in group),
        )
        print(
            f"{name:<22}"
            + "".join(f"{count:>{width}}" for count, width in zip(counts, (9, 8, 8, 8, 8, 7), strict=True))
        )


if __name__ == "__main__":
    sys.exit(main())
