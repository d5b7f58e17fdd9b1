"""What the chores about datasets share: recognising, checking, and entering what was found."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sqlalchemy.orm import Session

from backend import storage_datasets, storage_uploads
from backend.dataset_files import CheckReport, Recognition, check, read_rows, recognise
from backend.librarian.running import RunningChore
from backend.services import profiles, spaces, uploads
from backend.services.chores import ChoreLost
from backend.tables.dataset import Dataset
from backend.tables.user import User

_KEPT = ("source", "repos", "description", "licence")
"""What is known of a preset and not to be read from its files."""


def get_subject(session: Session, chore: RunningChore) -> Dataset:
    """Return the dataset that a chore is about; one that is deleted needs nothing any more."""
    dataset = session.get(Dataset, chore.subject_id)
    if dataset is None:
        raise ChoreLost(chore.id)
    return dataset


def measure_room(session: Session, dataset: Dataset, freed_bytes: int) -> int:
    """Return how many bytes a dataset may take: what is left of its owner's quota and of the disk."""
    if dataset.owner_id is None:
        return storage_uploads.measure_free_bytes()
    owner = session.get_one(User, dataset.owner_id)
    left = spaces.get_quota(owner) - spaces.measure_used(session, owner) + freed_bytes
    return max(0, min(left, storage_uploads.measure_free_bytes()))


def check_and_enter(chore: RunningChore, path: str, mapping: dict[str, Any] | None) -> None:
    """Check the dataset at `path` and write down what was found; it is `ready`, or `broken` if no row can be used."""
    folder = storage_datasets.get_folder(path)
    chore.report("recognising", None)
    recognition = recognise(folder)
    info = mapping or recognition.info
    report = _check(chore, path, folder, info) if info else None
    size = storage_datasets.measure(path)
    with chore.transaction() as session:
        dataset = get_subject(session, chore)
        profiles.forget(session, dataset.id)
        _enter(dataset, recognition, info, report)
        dataset.size_bytes = size
        _release_upload(session, chore)


def check_described(chore: RunningChore, path: str, mapping: dict[str, Any]) -> None:
    """Check a dataset whose `tuneforge.json` says what it is: that stays so, and what was found is added."""
    report = _check(chore, path, storage_datasets.get_folder(path), mapping)
    with chore.transaction() as session:
        dataset = get_subject(session, chore)
        dataset.status = "ready" if report.usable_count and not report.stops else "broken"
        # It may be used for whatever stage it serves: nobody has chosen one for it.
        dataset.report = {
            name: value for name, value in report.to_dict().items() if name not in ("facts", "stage")
        }


def _check(chore: RunningChore, path: str, folder: Path, info: dict[str, Any]) -> CheckReport:
    findings = storage_datasets.get_findings_file(path)
    draft = findings.with_name(findings.name + ".draft")
    report = check(
        folder,
        info,
        findings_file=draft,
        on_progress=lambda stage, fraction, rows: chore.report(stage, fraction, rows=rows),
    )
    draft.replace(findings)
    chore.report("indexing", None, rows=report.example_count)
    read_rows(
        folder, info, 0, 1, findings_file=findings
    )  # makes the index, so that no page has to wait for it
    return report


def _enter(
    dataset: Dataset, recognition: Recognition, info: dict[str, Any] | None, report: CheckReport | None
) -> None:
    recognised = recognition.to_dict()
    kept = {name: dataset.facts[name] for name in _KEPT if name in dataset.facts}
    if info is None or report is None:
        dataset.status, dataset.facts = "broken", kept
        dataset.report = {
            "recognition": recognised,
            "usable_count": 0,
            "error": {
                "code": "not_recognised",
                "detail": f"{recognition.detail} Say on the page which columns hold what, or upload another file.",
                "detail_zh": f"{recognition.detail_zh}请在页面上指定各列的含义，或上传其他文件。",
            },
        }
        return
    dataset.status = "ready" if report.usable_count and not report.stops else "broken"
    dataset.format = str(info.get("formatting", "alpaca"))
    dataset.modalities = list(report.facts.get("modalities", ["text"]))
    dataset.example_count = report.example_count
    dataset.facts = {**kept, **report.facts, "file_name": info.get("file_name"), "dataset_info": info}
    dataset.report = {**report.to_dict(), "recognition": recognised}
    dataset.report.pop("facts")


def _release_upload(session: Session, chore: RunningChore) -> None:
    """The dataset has its own files by now: the upload's row and bytes go with the same commit."""
    upload_id = chore.payload.get("source", {}).get("upload_id")
    if upload_id:
        uploads.drop_used(session, upload_id)
