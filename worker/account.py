"""What is known of a run: read from the files it writes, in the words in which the backend is told."""

from __future__ import annotations

import time
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from backend.domain.job import EndReason, JobKind
from backend.domain.protocol import Device, LaunchOrder, MetricPoint, Phase
from worker import process, workspace
from worker.checkpoints import find_whole_checkpoint, remove_half_written
from worker.device_readings import read_devices
from worker.endings import Ending
from worker.gathering import read_meeting_point
from worker.phases import PhaseClock
from worker.settings import WorkerSettings
from worker.tail import LogTail, MetricsTail, read_log_end
from worker.tracking import read_tracking
from worker.workspace import Workspace


class RunAccount:
    """Keeps the account of one attempt."""

    def __init__(self, settings: WorkerSettings, place: Workspace, order: LaunchOrder) -> None:
        self._settings = settings
        self._place = place
        self._order = order
        self._metrics = MetricsTail(place.folder)
        self._log = LogTail(place.log)
        self._devices_read_at = 0.0
        self._told_earlier_points = order.resume_from_attempt is None
        self.phases = PhaseClock(place.private / "phases.json")

    @property
    def log_bytes(self) -> int:
        """The log's size when last looked at."""
        return self._log.size

    @property
    def has_begun_training(self) -> bool:
        """Whether this attempt trains, or has trained, when last looked at."""
        return self._metrics.first_step is not None

    @property
    def steps_made(self) -> int:
        """How many steps this attempt has made."""
        return self._metrics.steps_made

    def look(self) -> list[MetricPoint]:
        """Read what the run has written since; return its new points."""
        self._log.poll()
        points = self._metrics.poll(datetime.now(UTC))
        for phase in self._log.phases:
            self.phases.enter(phase, self._metrics.train_began_at if phase is Phase.TRAINING else None)
        has_begun = self._metrics.first_step is not None  # an evaluation notes its memory, and trains nothing
        if self._metrics.events and has_begun and self._metrics.step != self._metrics.total_steps:
            self.phases.enter(Phase.TRAINING)
        # The notes are one for all nodes, and rank 0 tells of them.
        return [] if self._order.node_rank else self._list_earlier_points() + points

    def _list_earlier_points(self) -> list[MetricPoint]:
        """Return, once, the points up to our first step that earlier attempts made but could not report.

        A cut-off node trains and saves until its fence: going on from what it saved would leave a hole in the curve.
        """
        first = self._metrics.first_step
        if self._told_earlier_points or first is None:
            return []
        self._told_earlier_points = True
        points: list[MetricPoint] = []
        for attempt in range(1, self._order.attempt):
            points += MetricsTail(self._place.attempts / str(attempt)).poll(datetime.now(UTC))
        return [point for point in points if self._order.last_known_step < point.step <= first]

    def build_facts(self) -> dict[str, Any]:
        """Return the fields that every report has."""
        tracking = read_tracking(self._place.folder)
        step, total = self._metrics.step, self._metrics.total_steps
        if self._order.kind is JobKind.EVALUATE and self._log.progress is not None:
            step, total = self._log.progress
        if self.phases.phase is Phase.FINISHED and self._order.kind is JobKind.EVALUATE:
            step = total or step  # the bar's last stroke may be missing
        return {
            "phase": self.phases.phase,
            "step": step,
            "total_steps": total or self._order.total_steps,
            "eta_seconds": self._metrics.estimate_eta(),
            "log_bytes": self._log.size,
            "peak_memory_bytes": self._metrics.peak_memory_bytes,
            "tracking_mode": tracking.mode if tracking else None,
            "tracking_url": tracking.url if tracking else None,
            "devices": self._read_own_devices(),
            "master_port": self._read_master_port(),
        }

    def _read_master_port(self) -> int | None:
        """Return where the processes of several nodes gather, once this node, as rank 0, has begun to."""
        if self._order.node_count == 1 or self._order.node_rank or process.read_record(self._place) is None:
            return None
        meeting = read_meeting_point(self._place)
        return meeting.port if meeting else None

    def _read_own_devices(self) -> list[Device]:
        """Return the node's last readings of this attempt's devices, each reading once."""
        readings = read_devices(self._settings.run_folder)
        if readings.at == self._devices_read_at:
            return []
        self._devices_read_at = readings.at
        return [device for device in readings.devices if device.uuid in self._order.devices]

    def build_ending(self, ending: Ending) -> dict[str, Any]:
        """Put right what the run left, and return the fields that only the last word has."""
        log_excerpt = "\n".join(read_log_end(self._place.log))[-20000:]
        told: dict[str, Any] = {
            "end_reason": ending.reason,
            "detail": ending.detail[:4000],
            "log_excerpt": log_excerpt,
        }
        told |= {"run_seconds": self.measure_run()}
        if self._order.node_rank:
            workspace.clean_up(self._place)
            return told
        with suppress(OSError):
            workspace.name_base_model(self._place, self._order.model_path)
        workspace.clean_up(self._place)
        if ending.reason is EndReason.DISK_FULL:
            remove_half_written(self._place.output)  # the other runs here need the room
        checkpoint = find_whole_checkpoint(self._place.output)
        return told | {
            "results": workspace.read_results(self._place),
            "artifacts": workspace.list_artifacts(self._place),
            "checkpoint_step": checkpoint[0] if checkpoint else None,
            "step_seconds_median": self._metrics.step_seconds_median,
            "phase_seconds": self.phases.close(),
        }

    def measure_run(self) -> float:
        """Return the seconds from launch to exit."""
        record = process.read_record(self._place)
        if record is None:
            return 0.0
        try:
            ended_at = self._place.exit_code_file.stat().st_mtime
        except OSError:
            ended_at = time.time()
        return max(0.0, ended_at - record.launched_at)
