"""An attempt's folder under the home: laid out before a run, read and put right after it.

jobs/<id>/attempts/<n>/
  train.yaml              the configuration, byte for byte as the user was shown it
  ds_*.json, fsdp_*.json  what it reads of DeepSpeed or FSDP
  model, adapter          links
  data/                   links to (or copies of) the datasets, dataset_info.json for this job only
  output/                 LLaMA-Factory's output_dir; for a resume with the checkpoint to go on from
  job.log                 the run's output
  swanlog/, tracking.json SwanLab's local records; how the run is tracked
  exit_code               the run's exit code, once it has ended
  supervisor/             what a new supervisor needs to take the attempt over (0700)
  nodes/<rank>/           of a job over several nodes: job.log, exit_code, supervisor/ of each further one
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from backend.domain.protocol import ArtifactFile, AttemptKey, LaunchOrder
from worker import checkpoints
from worker.checkpoints import read_json
from worker.dataset_files import lay_out_datasets, resolve_inside
from worker.notes import RUN_FILES
from worker.tracking import TRACKING_FILE

MAX_ARTIFACTS = 5000
_CARD_LINE = re.compile(r"^(base_model: |- base_model:adapter:)model$", re.MULTILINE)


@dataclass(frozen=True)
class Workspace:
    """The paths of one attempt."""

    home: Path
    key: AttemptKey

    @property
    def folder(self) -> Path:
        """The attempt's folder, working directory of its run on every node."""
        return self.attempts / str(self.key.attempt)

    @property
    def own(self) -> Path:
        """The folder of what this node alone writes: the attempt's own on rank 0."""
        return self.folder / "nodes" / str(self.key.node_rank) if self.key.node_rank else self.folder

    @property
    def attempts(self) -> Path:
        """The folder of all attempts of the job."""
        return self.home / "jobs" / self.key.job_id / "attempts"

    @property
    def output(self) -> Path:
        """LLaMA-Factory's `output_dir`."""
        return self.folder / "output"

    @property
    def log(self) -> Path:
        """The run's output on this node."""
        return self.own / "job.log"

    @property
    def exit_code_file(self) -> Path:
        """Holds the run's exit code on this node once it has ended."""
        return self.own / "exit_code"

    @property
    def private(self) -> Path:
        """The supervisor's own folder."""
        return self.own / "supervisor"

    def read_exit_code(self) -> int | None:
        """Return the run's exit code (negative: the signal that killed it), or None without one."""
        try:
            return int(self.exit_code_file.read_text().strip())
        except (OSError, ValueError):
            return None

    def has_successor(self) -> bool:
        """Whether the home shows a later attempt of the job: then this one must not run on."""
        with contextlib.suppress(OSError):
            return any(
                entry.name.isdigit() and int(entry.name) > self.key.attempt
                for entry in os.scandir(self.attempts)
            )
        return False


def lay_out(workspace: Workspace, order: LaunchOrder) -> int | None:
    """Write the attempt's folder; return the step training will go on from, None for a start from nothing.

    Raises BadDataset or OSError. What an earlier try of this very attempt left is removed first.
    """
    folder = workspace.folder
    for name in ("data", "output", "swanlog", "cache"):
        shutil.rmtree(folder / name, ignore_errors=True)
    for name in ("model", "adapter", "exit_code", "job.log", TRACKING_FILE, *RUN_FILES):
        (folder / name).unlink(missing_ok=True)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "data").mkdir()
    workspace.output.mkdir()
    _link(workspace.home, order.model_path, folder / "model")
    if order.adapter_path is not None:
        _link(workspace.home, order.adapter_path, folder / "adapter")
    lay_out_datasets(workspace.home, folder / "data", order.datasets)
    for name, content in order.config_files.items():
        (folder / name).write_text(content, encoding="utf-8")
    (folder / "train.yaml").write_bytes(order.config_yaml.encode("utf-8"))
    return _bring_checkpoint(workspace, order.resume_from_attempt)


def lay_out_further(workspace: Workspace) -> None:
    """Make this further node's own folder; what an earlier try left in it is removed."""
    for name in ("exit_code", "job.log"):
        (workspace.own / name).unlink(missing_ok=True)
    workspace.own.mkdir(parents=True, exist_ok=True)


def _link(home: Path, place: str, link: Path) -> None:
    target = resolve_inside(home, place)
    if not target.is_dir():
        raise FileNotFoundError(f"{place} is not in the platform's home any more")
    link.symlink_to(target, target_is_directory=True)


def _bring_checkpoint(workspace: Workspace, resume_from: int | None) -> int | None:
    """Link the last whole checkpoint of the newest earlier attempt that has one into `output`."""
    for attempt in range(resume_from or 0, 0, -1):
        earlier = workspace.attempts / str(attempt) / "output"
        found = checkpoints.find_whole_checkpoint(earlier)
        if found is not None:
            checkpoints.link_checkpoints(earlier, found[0], workspace.output)
            return found[0]
    return None


# -- after the run -----------------------------------------------------------------------------------------


def name_base_model(workspace: Workspace, model_path: str) -> None:
    """Have adapters name the model they were trained on, not our link to it, which PEFT recorded.

    Files are replaced, never written into: a checkpoint's may be hard links to an earlier attempt's.
    """
    facts = read_json(workspace.home / model_path / "tuneforge.json")
    parts = Path(model_path).parts
    # What a job trained in full lies in `jobs/<id>/attempts/<n>/output` and is called by the job's id.
    name = parts[1] if parts[:1] == ("jobs",) else parts[-1]
    if isinstance(facts, dict):
        name = str(facts.get("name") or name)
    for file in workspace.output.glob("**/adapter_config.json"):
        config = read_json(file)
        if isinstance(config, dict) and config.get("base_model_name_or_path") == "model":
            replace_text(file, json.dumps(config | {"base_model_name_or_path": name}, indent=2))
            card = file.with_name("README.md")
            with contextlib.suppress(OSError, UnicodeDecodeError):
                replace_text(
                    card, _CARD_LINE.sub(lambda found: found.group(1) + name, card.read_text("utf-8"))
                )


def list_artifacts(workspace: Workspace) -> list[ArtifactFile]:
    """Return the files the attempt leaves, by name; the weights of the result first if there are too many."""
    files = []
    for folder, _, names in os.walk(workspace.output):
        for name in names:
            path = Path(folder) / name
            relative = path.relative_to(workspace.output).as_posix()
            with contextlib.suppress(OSError):
                if path.is_file() and not path.is_symlink() and len(relative) <= 500 and _is_text(relative):
                    files.append(ArtifactFile(name=relative, size_bytes=path.stat().st_size))
    files.sort(key=lambda file: (file.name.count("/"), file.name))
    return sorted(files[:MAX_ARTIFACTS], key=lambda file: file.name)


def _is_text(name: str) -> bool:
    """Whether the name is Unicode without control characters; a run may write any bytes as a name."""
    return name.isprintable()


def read_results(workspace: Workspace) -> dict[str, Any]:
    """Return LLaMA-Factory's `all_results.json` without what is not a finite number or text."""
    results = read_json(workspace.output / "all_results.json")
    if not isinstance(results, dict):
        return {}
    return {name: value for name, value in results.items() if _is_plain(value)}


def _is_plain(value: Any) -> bool:
    if isinstance(value, float):
        return value == value and abs(value) != float("inf")
    return isinstance(value, (int, str, bool))


def clean_up(workspace: Workspace) -> None:
    """Remove what only the run itself needed: copies of data files, caches."""
    shutil.rmtree(workspace.own / "cache", ignore_errors=True)
    if workspace.key.node_rank:
        return
    for copy in (workspace.folder / "data").glob("*.prefixed.json*"):
        copy.unlink(missing_ok=True)


def replace_text(file: Path, text: str, mode: int = 0o644) -> None:
    """Write a file whole or not at all."""
    draft = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        with os.fdopen(
            os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "w", encoding="utf-8"
        ) as opened:
            opened.write(text)
        draft.replace(file)
    except OSError:
        draft.unlink(missing_ok=True)
        raise
