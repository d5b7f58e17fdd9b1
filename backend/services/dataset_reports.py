"""What was found when a dataset was checked, and its rows with what is wrong with each."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from typing import Any

from backend import dataset_pages, storage_datasets
from backend.domain.datasets.findings import FINDINGS
from backend.domain.errors import Invalid, NotFound, Problem
from backend.services import catalogue
from backend.tables.dataset import Dataset

_COLUMNS = ("code", "severity", "effect", "file", "line", "row", "field", "title", "detail", "hint", "title_zh",
            "detail_zh", "hint_zh")  # fmt: skip
_EMPTY = {"error": 0, "warning": 0, "info": 0}


def count_findings(dataset: Dataset) -> dict[str, int]:
    """Return how many findings of each severity there are."""
    return _EMPTY | dict(dataset.report.get("finding_counts", {}))


def explain_state(dataset: Dataset) -> dict[str, Any] | None:
    """Return why a dataset cannot be used and what to do about it, None where it can."""
    report = dataset.report
    if report.get("error") or dataset.status != "broken":
        return report.get("error")
    rows, kept = dataset.example_count, report.get("cleaned_count", 0)
    if not kept:
        return {
            "code": "nothing_usable",
            "detail": "LLaMA-Factory cannot train on it, and leaving rows out would not help. Findings say why; where "
            "columns were read wrongly, correct the mapping.",
            "detail_zh": "LLaMA-Factory 无法用它训练，去掉部分数据也无济于事。原因见检查结果；若是列认错了，请更正映射。",
        }
    return {
        "code": "cleaning_needed",
        "detail": f"LLaMA-Factory would stop on it as it stands. Its cleaned copy keeps {kept} of {rows} rows and can be "
        "trained on at once; the original stays.",
        "detail_zh": f"LLaMA-Factory 读取原数据会中止；清洗后的副本保留 {rows} 条中的 {kept} 条，可直接训练。",
    }


def build_report(dataset: Dataset) -> dict[str, Any]:
    """Return all that is known of a dataset's rows; one that nobody checked is looked through for its pictures."""
    report = dataset.report
    if report:
        findings = report.get("findings", [])
    else:
        fault = catalogue.find_missing_media(dataset) if dataset.status == "ready" else None
        findings = [{"code": "missing_media", "detail": fault}] if fault else []
    return {
        "id": dataset.id,
        "status": dataset.status,
        "stage": report.get("stage"),
        "example_count": dataset.example_count,
        "usable_count": report.get("usable_count"),
        "cleaned_count": report.get("cleaned_count"),
        "stops": report.get("stops", False),
        "finding_counts": count_findings(dataset),
        "findings": findings,
        "statistics": report.get("statistics", {}),
        "recognition": report.get("recognition"),
    }


def iterate_csv(dataset: Dataset) -> Iterator[str]:
    """Yield all findings as lines of a CSV file, with a mark by which spreadsheets know that it is UTF-8."""
    yield "\ufeff" + _write_line(list(_COLUMNS))
    try:
        with storage_datasets.get_findings_file(dataset.path).open(encoding="utf-8") as lines:
            for line in lines:
                found = json.loads(line)
                kind = FINDINGS.get(found["code"])
                known = {} if kind is None else dict(kind.__dict__)
                yield _write_line([_disarm((known | found).get(name)) for name in _COLUMNS])
    except (OSError, ValueError):
        return


def _write_line(cells: list[Any]) -> str:
    text = io.StringIO()
    csv.writer(text).writerow(cells)
    return text.getvalue()


def _disarm(value: Any) -> Any:
    """A spreadsheet would run what begins like a formula; rows are written by strangers."""
    return f"'{value}" if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r") else value


def list_rows(
    dataset: Dataset, offset: int, limit: int, query: str | None, finding: str | None
) -> tuple[list[dict[str, Any]], int | None]:
    """Return rows as conversations with their findings, and how many there are (None: not counted to the end)."""
    if not dataset.report and query is None and finding is None:
        return catalogue.list_rows(dataset, offset, limit)
    return dataset_pages.read_rows(
        catalogue.get_folder(dataset),
        catalogue.get_mapping(dataset),
        offset,
        limit,
        query,
        finding,
        findings_file=storage_datasets.get_findings_file(dataset.path),
    )


def render_row(dataset: Dataset, index: int, template: str) -> dict[str, Any]:
    """Return how LLaMA-Factory's template writes one row, and which of it is learnt."""
    try:
        rendered = dataset_pages.render_row(
            catalogue.get_folder(dataset), catalogue.get_mapping(dataset), index, template
        )
    except KeyError:
        raise Invalid(
            [Problem(("query", "template"), f"there is no template {template!r}", f"没有模板“{template}”")]
        ) from None
    if rendered is None:
        raise NotFound("There is no such row.", zh="没有这一行。")
    return rendered
