"""People's datasets: made of uploads and paths, in versions that never change once a job uses them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from sqlalchemy import func, or_, select
from sqlalchemy.orm import Session

from backend import storage_datasets
from backend.domain.audit import Action
from backend.domain.dataset_names import build_name, check_name
from backend.domain.datasets.mapping import BadMapping, parse_mapping
from backend.domain.errors import Conflict, Invalid, NotAllowed, NotFound, Problem
from backend.domain.hub_splits import DEFAULT, TRAIN
from backend.domain.job import FINISHED
from backend.domain.presets import find_dataset_preset
from backend.services import audit, catalogue, chores, profiles, spaces, uploads
from backend.services.after_commit import do_after_commit
from backend.services.presets import find_preset_mapping
from backend.settings import get_settings
from backend.tables.base import new_id
from backend.tables.dataset import Dataset
from backend.tables.job import Job
from backend.tables.user import User

BUSY = ("importing", "checking", "downloading")
_ARCHIVES = re.compile(r"[/\\]+$")


def create_from_upload(session: Session, user: User, name: str | None, upload_id: str) -> Dataset:
    """Make a dataset of a complete upload, which is the dataset's from now on."""
    try:
        upload = uploads.get_upload(session, user, upload_id, lock=True)
    except NotFound as error:
        raise Invalid([Problem(("upload_id",), error.detail, error.detail_zh)]) from None
    if upload.status == "used":
        raise Conflict(
            "A dataset was made of this upload already.", zh="该上传已用于创建数据集。", code="upload_used"
        )
    if upload.status != "complete" or upload.purpose != "dataset":
        raise Conflict(
            "This upload is not complete, or is no dataset. Send the rest first.",
            zh="该上传尚未完成，或不是数据集。请先上传完毕。",
            code="upload_incomplete",
        )
    upload.status = "used"
    source = {"kind": "upload", "upload_id": upload.id, "file_name": upload.file_name}
    return _create(session, user, name, upload.file_name, source)


def create_from_path(session: Session, user: User, name: str | None, path: str) -> Dataset:
    """Make a dataset of a file or folder on this machine, below a folder that an administrator allows."""
    roots = get_settings().import_folders
    found = storage_datasets.find_allowed(path, roots)
    if found is None:
        allowed = ", ".join(str(root) for root in roots)
        raise Invalid(
            [
                Problem(
                    ("path",),
                    f"there is nothing that may be imported at this path; allowed is what lies below: {allowed or '-'}",
                    f"该路径下没有可导入的内容；允许的目录：{allowed or '无（请管理员设置 TUNEFORGE_IMPORT_ROOTS）'}",
                )
            ]
        )
    spaces.require_room(session, user, 0)
    return _create(session, user, name, found.name, {"kind": "path", "path": str(found)})


def create_from_hub(session: Session, user: User, name: str | None, wish: dict[str, Any]) -> Dataset:
    """Make a dataset of a hub's repository, which the librarian fetches; the wish is a `HubDatasetReference`."""
    spaces.require_room(session, user, 0)
    parts = [wish["repo_id"].rsplit("/", 1)[-1]]
    parts += [part for part in (wish["subset"], wish["split"]) if part not in (None, DEFAULT, TRAIN)]
    return _create(session, user, name, "-".join(parts), {"kind": "hub", **wish})


def start_download(session: Session, user: User, reference: str) -> Dataset:
    """Have a preset fetched, by anyone; twice is as good as once."""
    dataset = catalogue.get_dataset(session, user, reference)
    session.refresh(dataset, with_for_update=True)
    preset = find_dataset_preset(dataset.id) if dataset.owner_id is None else None
    if preset is None or dataset.status in ("ready", "broken"):
        raise Conflict(
            f"{dataset.name!r} is here already; there is nothing to fetch.",
            zh=f"数据集“{dataset.name}”已在本平台，无需下载。",
            code="already_here",
        )
    if dataset.status not in BUSY:
        hub = get_settings().preferred_hub
        chosen = hub if hub in preset.repos else next(iter(preset.repos))
        mapping = find_preset_mapping(dataset.id) or {}
        source = {
            "kind": "hub", "hub": chosen, "repo_id": preset.repos[chosen], "revision": None,
            "subset": mapping.get("subset"), "split": mapping.get("split"), "whole": "file_name" in mapping,
        }  # fmt: skip
        dataset.status, dataset.report = "importing", {}
        payload = {"source": source, "mapping": mapping or None}
        chores.enqueue(session, "import_dataset", user.id, dataset.id, payload)
        audit.record(session, Action.DATASET_FETCHED, user, target=(dataset.id, dataset.name), source=source)
    return dataset


def _create(session: Session, user: User, name: str | None, hint: str, source: dict[str, Any]) -> Dataset:
    _lock_names(session, user)
    if name is None:
        name = _find_free_name(session, user, build_name(_ARCHIVES.sub("", hint)))
    else:
        name = check_name(name)
        _require_free(session, user, name)
    dataset_id = new_id()
    dataset = _add(session, user.id, dataset_id, name, series_id=dataset_id, version=1, note=None)
    chores.enqueue(session, "import_dataset", user.id, dataset.id, {"source": source})
    audit.record(
        session, Action.DATASET_CREATED, user, target=(dataset.id, dataset.name), source=source["kind"]
    )
    return dataset


def _add(
    session: Session,
    owner_id: str,
    dataset_id: str,
    name: str,
    *,
    series_id: str,
    version: int,
    note: str | None,
) -> Dataset:
    dataset = Dataset(
        id=dataset_id, name=name, series_id=series_id, version=version, note=note, owner_id=owner_id,
        visibility="private", path=storage_datasets.build_path(owner_id, dataset_id), format="unknown",
        modalities=["text"], example_count=0, size_bytes=0, status="importing", report={}, facts={},
    )  # fmt: skip
    session.add(dataset)
    session.flush()
    return dataset


def _lock_names(session: Session, user: User) -> None:
    session.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(f"datasets {user.id}", 0))))


def _require_free(session: Session, user: User, name: str, series_id: str | None = None) -> None:
    query = select(Dataset.id).where(Dataset.owner_id == user.id, Dataset.name == name)
    if series_id is not None:
        query = query.where(Dataset.series_id != series_id)
    if session.scalar(query.limit(1)) is not None:
        raise Conflict(
            f"You have a dataset named {name!r} already; choose another name.",
            zh=f"您已有名为“{name}”的数据集，请换一个名称。",
            code="name_taken",
        )


def _find_free_name(session: Session, user: User, name: str) -> str:
    query = select(Dataset.name).where(
        Dataset.owner_id == user.id, Dataset.name.startswith(name, autoescape=True)
    )
    taken = set(session.scalars(query))
    if name not in taken:
        return name
    return next(wanted for number in range(2, len(taken) + 3) if (wanted := f"{name}-{number}") not in taken)


# -- finding -----------------------------------------------------------------------------------------------


def get_own(session: Session, user: User, reference: str, *, lock: bool = False) -> Dataset:
    """Return a dataset that `user` may change; another's public one may be looked at only."""
    dataset = catalogue.get_dataset(session, user, reference)
    is_shared = dataset.owner_id is None and user.role == "administrator"
    if dataset.owner_id != user.id and not is_shared:
        raise NotAllowed(
            "Only its owner may change this dataset.", zh="只有所有者可以修改该数据集。", code="not_owner"
        )
    if lock:
        session.refresh(dataset, with_for_update=True)
    return dataset


def list_versions(session: Session, dataset: Dataset) -> Sequence[Dataset]:
    """Return all versions of a dataset, the newest first."""
    query = select(Dataset).where(Dataset.series_id == dataset.series_id)
    return session.scalars(query.order_by(Dataset.version.desc())).all()


def find_owner_name(session: Session, dataset: Dataset) -> str | None:
    """Return the name of who owns a dataset; presets have no owner."""
    owner = session.get(User, dataset.owner_id) if dataset.owner_id else None
    return owner.username if owner else None


def find_progress(session: Session, dataset: Dataset) -> dict[str, Any] | None:
    """Return how far what is being done with a dataset is, or None."""
    return chores.show_progress(chores.find_last(session, dataset.id))


def _is_in_job(dataset: Dataset) -> Any:
    return Job.launch["datasets"].contains([{"path": dataset.path}])


def is_used(session: Session, dataset: Dataset) -> bool:
    """Whether any job, finished or not, was given this version."""
    return session.scalar(select(Job.id).where(_is_in_job(dataset)).limit(1)) is not None


# -- changing ----------------------------------------------------------------------------------------------


def change(session: Session, user: User, reference: str, name: str | None, visibility: str | None) -> Dataset:
    """Rename a dataset with all its versions, or (administrators) show it to everybody or to its owner only."""
    dataset = get_own(session, user, reference, lock=True)
    if visibility is not None and user.role != "administrator":
        raise NotAllowed(
            "Only administrators may publish datasets.",
            zh="仅管理员可以公开数据集。",
            code="administrators_only",
        )
    before = {"name": dataset.name, "visibility": dataset.visibility}
    if name is not None:
        _lock_names(session, user)
        name = check_name(name)
        _require_free(session, user, name, dataset.series_id)
    for version in list_versions(session, dataset):
        version.name = name or version.name
        version.visibility = visibility or version.visibility
    audit.record(session, Action.DATASET_CHANGED, user, target=(dataset.id, dataset.name), before=before)
    return dataset


def change_mapping(session: Session, user: User, reference: str, info: dict[str, Any]) -> Dataset:
    """Read the dataset's files otherwise and check them again: as a new version if a job used this one."""
    dataset = get_own(session, user, reference, lock=True)
    try:
        parse_mapping(info)
    except BadMapping as error:
        raise Invalid([Problem(("mapping",), error.detail, error.detail_zh)]) from None
    _require_idle(session, dataset)
    if not storage_datasets.get_folder(dataset.path).is_dir():
        raise Conflict("The files of this dataset are not there.", zh="该数据集的文件不存在。")
    audit.record(session, Action.DATASET_CHANGED, user, target=(dataset.id, dataset.name), mapping=info)
    if is_used(session, dataset):
        source = {"kind": "version", "path": dataset.path}
        return _add_version(
            session, user, dataset, "import_dataset", {"source": source, "mapping": info}, "mapping"
        )
    dataset.status = "checking"
    chores.enqueue(session, "check_dataset", user.id, dataset.id, {"mapping": info})
    return dataset


def clean(session: Session, user: User, reference: str) -> Dataset:
    """Begin a new version that holds the usable rows only."""
    dataset = get_own(session, user, reference, lock=True)
    _require_idle(session, dataset)
    info, report = dataset.facts.get("dataset_info"), dataset.report
    if not info or not report.get("cleaned_count", 0):
        raise Conflict(
            "No row of this dataset can be used, so there is nothing to keep. Correct the mapping, or the file.",
            zh="该数据集没有可用的行，无法生成清洗副本。请修正字段映射或数据文件。",
            code="nothing_usable",
        )
    spaces.require_room(session, user, 0)
    audit.record(session, Action.DATASET_CREATED, user, target=(dataset.id, dataset.name), source="clean")
    payload = {"path": dataset.path, "mapping": info, "stage": report.get("stage")}
    return _add_version(session, user, dataset, "clean_dataset", payload, "cleaned")


def _add_version(
    session: Session, user: User, dataset: Dataset, kind: str, payload: dict[str, Any], note: str
) -> Dataset:
    newest = list_versions(session, dataset)[0]
    _require_idle(session, newest)
    made = _add(
        session,
        user.id,
        new_id(),
        dataset.name,
        series_id=dataset.series_id,
        version=newest.version + 1,
        note=note,
    )
    made.visibility = dataset.visibility
    chores.enqueue(session, kind, user.id, made.id, payload)
    return made


def _require_idle(session: Session, dataset: Dataset) -> None:
    if dataset.status in BUSY:
        raise Conflict(
            "This dataset is being imported or checked; wait until that is done.",
            zh="该数据集正在导入或检查，请等待完成。",
            code="busy",
        )


def cancel(session: Session, user: User, reference: str) -> Dataset:
    """Give up an import or a check that is under way."""
    dataset = get_own(session, user, reference, lock=True)
    if not chores.cancel(session, dataset.id):
        raise Conflict("Nothing is under way here.", zh="没有正在进行的操作。", code="nothing_under_way")
    if chores.find_open(session, dataset.id) is None:  # it had not begun: nobody else would write this down
        note_end(session, dataset.id, "cancelled", None)
    audit.record(session, Action.DATASET_CHANGED, user, target=(dataset.id, dataset.name), cancelled=True)
    return dataset


def note_end(session: Session, dataset_id: str, status: str, error: dict[str, Any] | None) -> None:
    """Write down at a dataset that its import, check or cleaning failed or was cancelled."""
    dataset = session.get(Dataset, dataset_id)
    chore = chores.find_last(session, dataset_id)
    if dataset is None or (chore and chore.payload.get("described")):  # as good as before, only not looked at
        return
    is_offered = status == "cancelled" and dataset.facts.get("source") == "preset"
    dataset.status = "available" if is_offered else "failed"
    dataset.report = {"error": error or CANCELLED}
    upload_id = chore.payload.get("source", {}).get("upload_id") if chore else None
    if upload_id and (status == "cancelled" or (error and error["code"] == "bad_archive")):
        uploads.drop_used(session, upload_id)
    elif upload_id:
        uploads.give_back(session, upload_id)


CANCELLED = {
    "code": "cancelled",
    "detail": "It was cancelled. Upload or import it again.",
    "detail_zh": "已取消。如需使用，请重新上传或导入。",
}


def delete(session: Session, user: User, reference: str, *, version_only: bool = False) -> None:
    """Delete a dataset with all its versions (or one version), its files too; jobs keep what they say of it."""
    dataset = get_own(session, user, reference, lock=True)
    doomed = [dataset] if version_only else list_versions(session, dataset)
    unfinished = Job.status.not_in([status.value for status in FINISHED])
    used_by = session.scalars(
        select(Job).where(unfinished, or_(*(_is_in_job(version) for version in doomed))).limit(1)
    ).first()
    if used_by is not None:
        raise Conflict(
            f"The job {used_by.name!r} uses it and is not finished. Stop it first.",
            zh=f"任务“{used_by.name}”正在使用它且尚未结束，请先停止该任务。",
            code="in_use",
        )
    for version in doomed:
        _drop(session, version)
    audit.record(
        session, Action.DATASET_DELETED, user, target=(dataset.id, dataset.name), versions=len(doomed)
    )


def _drop(session: Session, dataset: Dataset) -> None:
    for chore in chores.list_open(session, dataset.id):
        upload_id = chore.payload.get("source", {}).get("upload_id")
        if upload_id:
            uploads.drop_used(session, upload_id)
    chores.forget(session, dataset.id)
    profiles.forget(session, dataset.id)
    path = dataset.path
    session.delete(dataset)
    session.flush()
    do_after_commit(session, lambda: storage_datasets.delete(path))


def sweep(session: Session) -> None:
    """Remove from the disk what a process that was killed left of datasets that are gone."""
    storage_datasets.sweep(set(session.scalars(select(Dataset.id))))
