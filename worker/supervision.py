"""One attempt under supervision: prepare, launch, follow, finish; or adopt what another supervisor began."""

from __future__ import annotations

import errno
import os
import select
import shutil
import signal
import sys
import time
from contextlib import suppress

from backend.domain.job import EndReason, JobKind, is_vague_end
from backend.domain.protocol import LaunchOrder, Phase, Want
from worker import process, workspace
from worker.account import RunAccount
from worker.api import Away, BackendClient
from worker.dataset_files import BadDataset
from worker.device_readings import read_devices
from worker.endings import Ending, decide_ending
from worker.gathering import MeetingPoint, choose_meeting_point, wait_for_folder
from worker.marks import build_attempt_mark, kill_attempt
from worker.notes import STOP_FILE, read_stopped_step
from worker.reporter import LeaseLost, Reporter
from worker.roster import Seat
from worker.settings import WorkerSettings
from worker.tail import read_log_end
from worker.versions import find_lack
from worker.workspace import Workspace, replace_text

_TICK_SECONDS = 0.2
_STOP_SECONDS = {EndReason.NODE_STOPPED: 75.0}
_DEFAULT_STOP_SECONDS = 300.0
"""How long a run may take to end a step and save its checkpoint before it is killed."""
_PEER_SECONDS = 15.0
"""Of a job over several nodes: how long a run may take to end by itself once another node's part has, so that its
own words can be judged, and how long rank 0 waits for what the others have to say."""
_FIRST_STEP_SECONDS = 5.0
"""How long a run that is in its first step may take to end it, as it has nothing to save before."""
_LAST_WORD_SECONDS = 15.0
"""How long a supervisor says the last word to a silent backend once its node is stopping; the next node goes on."""
_MAX_FAULTS = 3
"""After so many faults of supervisors themselves an attempt is ended, not adopted once more."""
_FULL_BYTES = 16 << 20
"""With less than this free, a run that failed without a word failed for want of room."""

_WISHES = {Want.STOP: EndReason.USER_CANCELLED, Want.PREEMPT: EndReason.PREEMPTED}


class StopSignal:
    """Notes that the node is stopping (SIGTERM)."""

    def __init__(self) -> None:
        self.at: float | None = None
        signal.signal(signal.SIGTERM, self._note)

    def _note(self, _number: int, _frame: object) -> None:
        self.at = self.at or time.monotonic()


class Supervision:
    """One attempt under supervision."""

    def __init__(
        self,
        settings: WorkerSettings,
        client: BackendClient,
        place: Workspace,
        order: LaunchOrder,
        signals: StopSignal,
        seat: Seat,
    ) -> None:
        self._settings = settings
        self._place = place
        self._order = order
        self._signals = signals
        self._seat = seat
        self._mark = build_attempt_mark(order.job_id, order.attempt, order.node_rank)
        self._reporter = Reporter(client, place, order)
        self._account = RunAccount(settings, place, order)
        self._wish: EndReason | None = None
        self._wished_at = 0.0
        self._was_killed = False
        self._memory_kills = read_memory_kills()
        self._ended_elsewhere_at: float | None = None

    def run(self) -> None:
        """Do all that is left to do for the attempt; keep it on the roster when the last word was not taken."""
        _redirect_output(self._place)
        try:
            self._run_counting_faults()
        except LeaseLost as error:
            _say(f"{error}; the run is ended")
            kill_attempt(self._mark)
            workspace.clean_up(self._place)
        except Away as error:
            _say(f"left to the next node: {error}")
            return
        (self._place.private / "order.json").unlink(missing_ok=True)
        self._seat.give_up()

    def _run_counting_faults(self) -> None:
        faults = self._place.private / "faults"
        count = faults.stat().st_size if faults.exists() else 0
        if count >= _MAX_FAULTS:
            self._give_up()
            return
        try:
            failure = self._start()
            if failure is None:
                self._follow()
            self._finish(failure or self._judge())
        except (LeaseLost, Away):
            raise
        except Exception:
            with suppress(OSError), faults.open("a") as file:
                file.write("x")
            raise

    def _give_up(self) -> None:
        """End the attempt with as few words as can be, as it may be one of them that our supervisors fail at."""
        kill_attempt(self._mark)
        facts = {"phase": Phase.PREPARING, "step": 0, "log_bytes": 0}
        detail = "Its supervisors failed again and again; supervisor.log in the attempt's folder says how."
        ending = {
            "end_reason": EndReason.INTERNAL_ERROR,
            "detail": detail,
            "run_seconds": self._account.measure_run(),
        }
        self._reporter.finish(facts, ending, lambda: self._signals.at is not None)

    # -- prepare and launch --------------------------------------------------------------------------------

    def _start(self) -> Ending | None:
        """Lay out and launch, unless that was done before; return why that was not possible, or None."""
        if process.read_record(self._place) is not None or process.is_running(self._place):
            self._wish = self._read_wish()
            self._wished_at = time.monotonic()
            return None
        if self._signals.at is not None:
            return Ending(EndReason.NODE_STOPPED)
        lack = find_lack(self._order.config_yaml)
        if lack is not None:
            return Ending(EndReason.BAD_CONFIG, lack)
        try:
            meeting = self._lay_out()
            if self._wish is not None or self._ended_elsewhere_at is not None:
                return Ending(self._wish or EndReason.NODE_LOST, "It ended before this node could begin.")
            environment = process.build_environment(
                self._order, self._place, os.environ, len(read_devices(self._settings.run_folder).devices)
            )
            if meeting is not None:
                environment |= process.build_gathering_environment(self._order, meeting)
            command = process.build_command(self._order, self._settings.run_command, meeting)
            process.launch(self._place, command, environment, self._order.fence_seconds)
        except BadDataset as error:
            return Ending(EndReason.BAD_DATASET, str(error))
        except FileNotFoundError as error:
            return Ending(EndReason.BAD_CONFIG, str(error))
        except OSError as error:
            full = error.errno in (errno.ENOSPC, errno.EDQUOT) or self._is_disk_full()
            return Ending(EndReason.DISK_FULL if full else EndReason.INTERNAL_ERROR, str(error))
        self._account.phases.enter(Phase.LOADING)
        return None

    def _lay_out(self) -> MeetingPoint | None:
        """Make the folder ready; return where the processes gather if the job is over several nodes."""
        if self._order.node_rank:
            workspace.lay_out_further(self._place)
            return self._wait_for_meeting_point()
        workspace.lay_out(self._place, self._order)
        if self._order.node_count == 1:
            return None
        return choose_meeting_point(self._place, self._settings.address)

    def _wait_for_meeting_point(self) -> MeetingPoint | None:
        """Hold the lease until rank 0 has begun; return where it gathers, None when that will not be."""
        while self._wish is None and self._ended_elsewhere_at is None:
            self._guard()
            if self._reporter.is_due:
                self._take_want(self._reporter.report(self._account.build_facts()))
            reply = self._reporter.last_reply
            if reply is not None and reply.master_address and reply.master_port:
                wait_for_folder(self._place, lambda: self._signals.at is not None)
                return MeetingPoint(reply.master_address, reply.master_port)
            time.sleep(_TICK_SECONDS / 4)
        return None

    # -- follow --------------------------------------------------------------------------------------------

    def _follow(self) -> None:
        """Watch the run until it has ended and nothing of it is left."""
        record = process.read_record(self._place)
        watched = _open_process(record.wrapper.pid if record is not None else None)
        try:
            while not self._has_ended():
                self._reporter.add_points(self._account.look())
                self._guard()
                if self._reporter.is_due:
                    self._take_want(self._reporter.report(self._account.build_facts()))
                _wait(watched, _TICK_SECONDS)
        finally:
            if watched is not None:
                os.close(watched)
        kill_attempt(self._mark)
        self._reporter.add_points(self._account.look())

    def _has_ended(self) -> bool:
        if self._place.read_exit_code() is not None:
            return True
        record = process.read_record(self._place)
        return not process.is_running(self._place) and (record is None or not record.is_alive)

    def _guard(self) -> None:
        """End the run where it must not go on: log too long, fenced, node stopping, stop not obeyed."""
        if self._account.log_bytes > self._order.log_limit_bytes and self._wish is not EndReason.LOG_LIMIT:
            self._end_now(EndReason.LOG_LIMIT)
            megabytes = self._order.log_limit_bytes >> 20
            self._append_to_log(
                f"The log has reached its limit of {megabytes} MiB, so the run was ended. Raise logging_steps. "
                f"日志已达 {megabytes} MiB 上限，运行已终止；请调大 logging_steps。"
            )
        elif process.is_fenced(self._place, self._order.fence_seconds):
            self._end_now(EndReason.NODE_LOST)
        elif self._ended_elsewhere_at is not None:
            if time.monotonic() - self._ended_elsewhere_at > _PEER_SECONDS:
                self._end_now(EndReason.NODE_LOST)
        elif self._signals.at is not None:
            self._stop(EndReason.NODE_STOPPED)
        if self._wish is not None and not self._was_killed:
            patience = _STOP_SECONDS.get(self._wish, _DEFAULT_STOP_SECONDS)
            waited = time.monotonic() - self._wished_at
            if waited > patience:
                _say(f"the run did not end within {patience:.0f} s of being asked to; it is killed")
            if waited > patience or (waited > _FIRST_STEP_SECONDS and self._account.steps_made == 0):
                self._kill()

    def _take_want(self, want: Want | None) -> None:
        if want in _WISHES:
            self._stop(_WISHES[want])
        elif want is Want.END and self._ended_elsewhere_at is None:
            self._ended_elsewhere_at = time.monotonic()

    def _stop(self, reason: EndReason) -> None:
        """Have the run save this step and end; one that has made no step has nothing to save."""
        if self._wish is not None:
            return
        self._note_wish(reason)
        # Looked at anew: while a report was under way, a run that had been loading may have made steps.
        self._reporter.add_points(self._account.look())
        if self._order.kind is not JobKind.TRAIN or not self._account.has_begun_training:
            self._kill()

    def _end_now(self, reason: EndReason) -> None:
        if self._wish is not reason:
            self._note_wish(reason)
        self._kill()

    def _note_wish(self, reason: EndReason) -> None:
        self._wish, self._wished_at = reason, time.monotonic()
        with suppress(OSError):
            replace_text(self._place.folder / STOP_FILE, reason.value + "\n")

    def _read_wish(self) -> EndReason | None:
        try:
            return EndReason((self._place.folder / STOP_FILE).read_text().strip())
        except (OSError, ValueError):
            return None

    def _kill(self) -> None:
        if not self._was_killed:
            self._was_killed = True
            kill_attempt(self._mark)

    def _append_to_log(self, text: str) -> None:
        with suppress(OSError), self._place.log.open("a", encoding="utf-8") as log:
            log.write(f"\n[tuneforge] {text}\n")

    # -- finish --------------------------------------------------------------------------------------------

    def _judge(self) -> Ending:
        """Return why the run ended; a wish may also be another node's, noted in the folder they share."""
        exit_code = self._place.read_exit_code()
        if self._order.node_rank and exit_code == 0:
            return Ending(EndReason.COMPLETED)  # what it came to, rank 0 says
        return decide_ending(
            exit_code=exit_code,
            wish=self._wish or self._read_wish(),
            was_killed=self._was_killed,
            stopped_on_request=read_stopped_step(self._place.folder) is not None,
            has_results=bool(workspace.read_results(self._place)),
            lines=read_log_end(self._place.log, lines=200),
            killed_for_memory=read_memory_kills() > self._memory_kills,
            disk_is_full=self._is_disk_full(),
            has_peers=self._order.node_count > 1,
        )

    def _hear_others(self) -> None:
        """Wait a little for the other nodes' last words: theirs may say why ours ended."""
        end = time.monotonic() + _PEER_SECONDS
        while time.monotonic() < end:
            if self._reporter.is_due:
                self._reporter.report(self._account.build_facts())
                reply = self._reporter.last_reply
                if reply is not None and reply.peers_running == 0:
                    return
            time.sleep(_TICK_SECONDS)

    def _is_disk_full(self) -> bool:
        place = self._place.folder if self._place.folder.exists() else self._place.home
        return shutil.disk_usage(place).free < _FULL_BYTES

    def _finish(self, ending: Ending) -> None:
        """Put right what the run left and say the last word."""
        if self._order.node_count > 1 and not self._order.node_rank and is_vague_end(ending.reason):
            self._hear_others()
        last = self._account.build_ending(ending)
        if ending.reason is EndReason.COMPLETED:
            self._account.phases.enter(Phase.FINISHED)
        facts = self._account.build_facts()
        began = time.monotonic()

        def is_hopeless() -> bool:
            return self._signals.at is not None and time.monotonic() - began > _LAST_WORD_SECONDS

        self._reporter.finish(facts | {"eta_seconds": None}, last, is_hopeless)
        _say(f"{self._mark} ended: {ending.reason}")


def _open_process(pid: int | None) -> int | None:
    try:
        return os.pidfd_open(pid) if pid is not None else None
    except OSError:
        return None


def _wait(watched: int | None, seconds: float) -> None:
    """Wait for the tick, or for the wrapper's end if that comes first."""
    if watched is None:
        time.sleep(seconds)
        return
    poll = select.poll()
    poll.register(watched, select.POLLIN)
    if poll.poll(seconds * 1000):
        time.sleep(0.005)  # it has ended: what is left to see is there within moments


def _redirect_output(place: Workspace) -> None:
    """Have what the supervisor itself says lie with the attempt."""
    with suppress(OSError):
        log = os.open(place.private / "supervisor.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.close(log)


def _say(text: str) -> None:
    print(f"supervisor: {text}", file=sys.stderr, flush=True)


def read_memory_kills() -> int:
    """Return how many processes the kernel has killed for want of memory, in this cgroup if that is told."""
    for path in ("/sys/fs/cgroup/memory.events", "/proc/vmstat"):
        with suppress(OSError, ValueError), open(path) as lines:
            for line in lines:
                name, _, value = line.partition(" ")
                if name == "oom_kill":
                    return int(value)
    return 0
