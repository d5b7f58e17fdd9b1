"""From what a person asks to a job that can run: checked whole, with its YAML and its estimate."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy.orm import Session

from backend import storage
from backend.domain import llamafactory
from backend.domain.arguments import build_defaults, check_arguments
from backend.domain.errors import Invalid, Location, NotFound, Problem
from backend.domain.estimate.history import Cell
from backend.domain.estimator import DatasetFacts, estimate_job
from backend.domain.job import JobKind
from backend.domain.model_facts import parse_model_facts
from backend.domain.packages import OPTIONAL_PACKAGES
from backend.domain.sharding import build_sharding_files
from backend.domain.spec import EvaluateBody, PreparedJob, TrainBody, Unfetched, build_job_name, parse_adapter
from backend.services import (
    catalogue,
    device_choice,
    estimate_history,
    job_results,
    jobs,
    nodes,
    profiles,
    scheduling,
    swanlab_access,
)
from backend.services.dataset_reports import explain_state
from backend.services.offers import is_on_its_way
from backend.settings import get_settings
from backend.tables.base import utc_now
from backend.tables.base_model import BaseModel
from backend.tables.dataset import Dataset
from backend.tables.user import User

_SAFE_NAME = re.compile(r"^\w[\w.-]*$")


@dataclass(frozen=True)
class _Weights:
    """Where a job's model and adapter lie, relative to the home, and how the tuned part was made."""

    model: BaseModel
    model_path: str
    adapter_path: str | None
    finetuning_type: str


def prepare_job(session: Session, user: User, body: TrainBody | EvaluateBody) -> PreparedJob:
    """Check everything about `body` and return the job it makes; Invalid names every fault at once."""
    problems: list[Problem] = []
    weights = _find_weights(session, user, body, problems)
    datasets = _find_datasets(session, user, body, weights, problems)
    gpu_kind, gpu_count = device_choice.choose_devices(session, body, problems)
    max_nodes = body.resources.max_nodes
    device, kind = "cpu" if gpu_kind == "cpu" else "cuda", JobKind(body.kind)
    stage = body.stage if isinstance(body, TrainBody) else "sft"
    finetuning_type: str = weights.finetuning_type if weights else "lora"
    if isinstance(body, TrainBody):
        finetuning_type = body.finetuning_type
    args, argument_problems = check_arguments(
        body.args,
        kind=kind.value,
        stage=stage,
        finetuning_type=finetuning_type,
        gpu_count=gpu_count,
        device=device,
        template=weights.model.template if weights else None,
        dataset_count=len(body.datasets),
        lacking=nodes.list_lacking(session).get(gpu_kind, {}),
    )
    problems += argument_problems
    if problems or weights is None:
        raise Invalid(problems)
    defaults = build_defaults(kind=kind.value, stage=stage, finetuning_type=finetuning_type, device=device)
    complete = defaults | args
    stamp = utc_now().strftime("%Y%m%d%H%M%S%f")[:17]
    name = body.name or build_job_name(weights.model.name, kind.value, stamp)
    tracking = swanlab_access.choose_mode(session, user) if kind is JobKind.TRAIN else "off"
    config = _build_config(body, weights, datasets, complete, stage, finetuning_type, tracking, name, device)
    waits = scheduling.estimate_queue_seconds(
        scheduling.read_situation(session), user.id, body.tier, gpu_kind, gpu_count, max_nodes
    )
    estimate = _estimate(
        session, user, weights, datasets, complete, body, stage, finetuning_type, gpu_kind, gpu_count, waits
    )
    spec = body.model_dump(mode="json") | {
        "model": weights.model.name,
        "datasets": [catalogue.build_job_name(dataset) for dataset in datasets],
        "stage": stage,
        "finetuning_type": finetuning_type,
        "args": complete,
        "requested_args": body.args,
        "resources": {"gpu_kind": gpu_kind, "gpu_count": gpu_count, "max_nodes": max_nodes},
        "name": name,
    }
    launch = _build_launch(weights, datasets, complete, tracking)
    yaml = llamafactory.dump_yaml(config)
    prepared = PreparedJob(
        name, kind, spec, yaml, launch, estimate, gpu_kind, gpu_count, body.tier, max_nodes
    )
    return replace(prepared, unfetched=_list_unfetched(weights.model, datasets))


def _build_launch(
    weights: _Weights, datasets: list[Dataset], args: dict[str, Any], tracking: str
) -> dict[str, Any]:
    """Return what a supervisor lays out for the run, beside the configuration itself."""
    return {
        "model_path": weights.model_path,
        "adapter_path": weights.adapter_path,
        "datasets": [_link(dataset) for dataset in datasets],
        "tracking": tracking,
        "config_files": build_sharding_files(args),
    }


def _list_unfetched(model: BaseModel, datasets: list[Dataset]) -> tuple[Unfetched, ...]:
    """Return what the job needs and the platform only offers: estimated all the same, refused when submitted."""
    found = [Unfetched("models", model.id, model.name)] if is_on_its_way(model) else []
    found += [Unfetched("datasets", one.id, one.name) for one in datasets if is_on_its_way(one)]
    return tuple(found)


# -- weights -----------------------------------------------------------------------------------------------


def _find_weights(
    session: Session, user: User, body: TrainBody | EvaluateBody, problems: list[Problem]
) -> _Weights | None:
    try:
        if isinstance(body, EvaluateBody) and body.adapter is not None:
            return _find_tuned_weights(session, user, body, body.adapter, problems)
        if body.model is None:
            problems.append(
                Problem(("model",), "name a model, or an adapter to evaluate", "请选择模型或微调任务")
            )
            return None
        model = catalogue.get_model(session, user, body.model)
    except NotFound as error:
        problems.append(Problem(("model",), error.detail, error.detail_zh))
        return None
    if not is_on_its_way(model) and not _is_present(model):
        problems.append(
            Problem(
                ("model",),
                f"the files of {model.name!r} are gone; ask an administrator for them",
                f"模型“{model.name}”的文件不见了，请联系管理员恢复",
            )
        )
    return _Weights(model, model.path, None, "lora")


def _is_present(model: BaseModel) -> bool:
    return (storage.get_home() / model.path / "config.json").is_file()


def _find_tuned_weights(
    session: Session, user: User, body: EvaluateBody, adapter: str, problems: list[Problem]
) -> _Weights | None:
    job_id, step = parse_adapter(adapter)
    try:
        job = jobs.get_job(session, user, job_id)
    except NotFound:
        problems.append(Problem(("adapter",), f"there is no job {job_id!r}", f"没有任务 {job_id}"))
        return None
    if job.kind != JobKind.TRAIN:
        problems.append(
            Problem(
                ("adapter",),
                "this is not a train job; choose one that trained a model",
                "这不是微调任务，请选择一个微调任务",
            )
        )
        return None
    path = job_results.find_result_path(job, step)
    if path is None:
        problems.append(job_results.explain_missing_result(job, step))
        return None
    model = catalogue.get_model_of_job(session, user, job)
    if body.model is not None and body.model not in (model.id, model.name):
        problems.append(
            Problem(
                ("model",),
                f"the adapter was trained on {model.name!r}; leave model out or name that one",
                f"该任务是在“{model.name}”上微调的，请使用同一个模型",
            )
        )
    finetuning_type = job.spec["finetuning_type"]
    if finetuning_type == "lora":
        return _Weights(model, model.path, path, finetuning_type)
    return _Weights(model, path, None, finetuning_type)


# -- datasets ----------------------------------------------------------------------------------------------


def _find_datasets(
    session: Session,
    user: User,
    body: TrainBody | EvaluateBody,
    weights: _Weights | None,
    problems: list[Problem],
) -> list[Dataset]:
    found: list[Dataset] = []
    for place, reference in enumerate(body.datasets):
        loc = ("datasets", place)
        try:
            dataset = catalogue.get_dataset(session, user, reference)
        except NotFound as error:
            problems.append(Problem(loc, error.detail, error.detail_zh))
            continue
        if any(other.id == dataset.id for other in found):
            problems.append(Problem(loc, f"{dataset.name!r} is named twice", f"数据集“{dataset.name}”重复了"))
        fault = _find_dataset_fault(
            loc, dataset, weights, body.stage if isinstance(body, TrainBody) else "sft"
        )
        if fault:
            problems.append(fault)
        found.append(dataset)
    return found


def _find_dataset_fault(
    loc: Location, dataset: Dataset, weights: _Weights | None, stage: str
) -> Problem | None:
    offered = is_on_its_way(dataset)
    told = explain_state(dataset) if dataset.status == "broken" else None
    if told is not None:
        return Problem(
            loc, f"{dataset.name!r}: {told['detail']}", f"数据集“{dataset.name}”：{told['detail_zh']}"
        )
    if not (dataset.status == "ready" or offered) or not _SAFE_NAME.match(dataset.name):
        return Problem(
            loc,
            f"{dataset.name!r} is not ready ({dataset.status}); choose another or wait for its check",
            f"数据集“{dataset.name}”尚不可用（{dataset.status}），请另选一个，或等待检查完成",
        )
    if weights is not None:
        missing = sorted(set(dataset.modalities) - set(weights.model.modalities))
        if missing:
            return Problem(
                loc,
                f"{dataset.name!r} holds {', '.join(missing)} and {weights.model.name!r} "
                f"(template {weights.model.template!r}) cannot read that; choose a model that does",
                f"数据集“{dataset.name}”含有 {'、'.join(missing)}，模型“{weights.model.name}”"
                f"（模板 {weights.model.template}）无法读取，请换一个支持的模型",
            )
    if offered:
        return None
    made_for = dataset.report.get("stage", stage)
    if made_for != stage:
        return Problem(
            loc,
            f"{dataset.name!r} is made for the stage {made_for!r} and this job is {stage!r}; choose another",
            f"数据集“{dataset.name}”适用于 {made_for} 阶段，而该任务是 {stage} 阶段，请另选一个",
        )
    lost = catalogue.find_missing_media(dataset)
    return Problem(loc, lost, f"数据集“{dataset.name}”缺少文件，请补齐或另选一个：{lost}") if lost else None


def _count_usable(dataset: Dataset) -> int:
    """Return how many rows LLaMA-Factory loads; of a dataset that nobody checked, all."""
    return int(dataset.report.get("usable_count", dataset.example_count))


def _link(dataset: Dataset) -> dict[str, Any]:
    info = dataset.facts.get("dataset_info", {})
    return {"name": catalogue.build_job_name(dataset), "path": dataset.path, "dataset_info": info}


# -- config, estimate -----------------------------------------------------------------------------


def _build_config(
    body: TrainBody | EvaluateBody,
    weights: _Weights,
    datasets: list[Dataset],
    args: dict[str, Any],
    stage: str,
    finetuning_type: str,
    tracking: str,
    name: str,
    device: str,
) -> dict[str, Any]:
    with_media = [dataset for dataset in datasets if set(dataset.modalities) - {"text"}]
    media_dir = None
    if with_media:
        media_dir = f"data/{catalogue.build_job_name(datasets[0])}" if len(datasets) == 1 else "data"
    names = [catalogue.build_job_name(dataset) for dataset in datasets]
    if isinstance(body, TrainBody):
        return llamafactory.build_train_config(
            args=args,
            template=weights.model.template,
            datasets=names,
            stage=stage,
            finetuning_type=finetuning_type,
            tracking_mode=tracking,
            run_name=name,
            device=device,
            media_dir=media_dir,
            trust_remote_code=_is_code_trusted(weights.model),
        )
    return llamafactory.build_evaluate_config(
        args=args,
        template=weights.model.template,
        datasets=names,
        finetuning_type=finetuning_type,
        has_adapter=weights.adapter_path is not None,
        device=device,
        media_dir=media_dir,
        trust_remote_code=_is_code_trusted(weights.model),
    )


def _is_code_trusted(model: BaseModel) -> bool:
    """Whether an administrator allows the code of the very revision that this model was fetched at."""
    origin = model.facts.get("tuneforge", {}).get("origin") or {}
    revision = f"{origin.get('repo_id')}@{origin.get('commit')}"
    return revision in get_settings().trusted_model_code.split(",")


def _estimate(
    session: Session,
    user: User,
    weights: _Weights,
    datasets: list[Dataset],
    args: dict[str, Any],
    body: TrainBody | EvaluateBody,
    stage: str,
    finetuning_type: str,
    gpu_kind: str,
    gpu_count: int,
    queue_seconds: float,
) -> dict[str, Any]:
    kind, facts = JobKind(body.kind), weights.model.facts
    available = nodes.count_devices(session, utc_now()).get(gpu_kind, {})
    tuned = isinstance(body, EvaluateBody) and body.adapter is not None
    group = Cell(gpu_kind, _name_group_stage(kind, stage, tuned), weights.model.architecture, finetuning_type)
    probe = nodes.find_probe(session, gpu_kind)
    modelled_on = probe.fingerprint if probe else None
    lengths = [profiles.ask(session, user, dataset, weights.model) for dataset in datasets]
    estimate = estimate_job(
        kind=kind.value,
        stage=stage,
        finetuning_type=finetuning_type,
        args=args,
        model=parse_model_facts(facts.get("config", {}), parameters=weights.model.parameters),
        datasets=[
            DatasetFacts.parse(_count_usable(dataset), standing.build_facts(dataset))
            for dataset, standing in zip(datasets, lengths, strict=True)
        ],
        gpu_kind=gpu_kind,
        gpu_count=gpu_count,
        memory_bytes=available.get("memory_bytes"),
        tier=body.tier,
        queue_seconds=queue_seconds,
        currency=get_settings().currency,
        tuned=tuned,
        correction=estimate_history.find_correction(session, group, modelled_on),
        probe=probe,
        gpu_counts=_list_counts(session, gpu_kind, gpu_count),
        host_bytes=_measure_host(session, gpu_kind, body.resources.max_nodes),
        packages=frozenset(OPTIONAL_PACKAGES) - nodes.list_lacking(session).get(gpu_kind, {}).keys(),
    )
    cutoff_len = (
        None if stage == "pt" else args.get("cutoff_len")
    )  # pre-training joins texts, or is cut anywhere
    told = {"dataset_profile": profiles.summarize(datasets, lengths, cutoff_len)}
    return estimate | told | {"group": group._asdict(), "modelled_on": modelled_on}


def _measure_host(session: Session, gpu_kind: str, max_nodes: int) -> int | None:
    """Return the main memory of so many nodes of the kind, None where they have not told."""
    of_one = nodes.find_host_memory(session, gpu_kind)
    return None if of_one is None else of_one * max_nodes


def _name_group_stage(kind: JobKind, stage: str, tuned: bool) -> str:
    """How long a model's answers are depends on whether it was taught when to stop."""
    if kind is JobKind.TRAIN:
        return stage
    return "evaluate" if tuned else "evaluate_untouched"


def _list_counts(session: Session, gpu_kind: str, asked: int) -> list[int]:
    """Return the numbers of devices worth comparing: as asked, and the powers of two that one node has."""
    largest = nodes.list_sizes(session).get(gpu_kind, [1])[0]
    return sorted({asked} | {1 << power for power in range(largest.bit_length())})
