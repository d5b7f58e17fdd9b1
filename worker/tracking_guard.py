"""The guard between LLaMA-Factory and the SwanLab client: whatever tracking does, the run goes on."""

from __future__ import annotations

import atexit
import os
import sys
import threading
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any

import httpx
from transformers import TrainerCallback

from worker.tracking import Tracking, write_tracking

PROBE_SECONDS = 6.0
SETUP_SECONDS = 40.0
"""Longer than the client's own five retries of a failing request (about 16 s)."""
FINISH_SECONDS = 20.0

_active: TrackingGuard | None = None


def install(plan: Mapping[str, Any]) -> None:
    """Make LLaMA-Factory build our guard around its SwanLab callback."""
    from llamafactory.train import tuner

    build_real = tuner.get_swanlab_callback

    def get_guarded_callback(finetuning_args: Any) -> TrackingGuard:
        global _active
        _active = TrackingGuard(plan, finetuning_args, build_real)
        return _active

    tuner.get_swanlab_callback = get_guarded_callback
    if plan.get("mode") not in ("cloud", "local") and _is_first_rank():
        write_tracking(Tracking("off"))


def finish(error: str | None = None) -> bool:
    """End the active run, if any, within its bound; False when the client was left behind."""
    return _active.finish(error) if _active is not None else True


class TrackingGuard(TrainerCallback):  # type: ignore[misc]
    """Passes the trainer's events to LLaMA-Factory's SwanLab callback, each under a bound.

    Cloud falls back to local, local to off, with a line in the log that says why.
    """

    def __init__(
        self, plan: Mapping[str, Any], finetuning_args: Any, build_real: Callable[[Any], Any]
    ) -> None:
        self._probe_seconds = float(plan.get("probe_seconds", PROBE_SECONDS))
        self._setup_seconds = float(plan.get("setup_seconds", SETUP_SECONDS))
        self._finish_seconds = float(plan.get("finish_seconds", FINISH_SECONDS))
        self._mode = str(plan.get("mode", "off"))
        self._arguments = finetuning_args
        self._build_real = build_real
        self._real: Any = None
        self._tracking: Tracking | None = None
        self._warned = False
        self._finish_result: bool | None = None

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Start tracking; the trainer waits for it, for some seconds at most."""
        self._pass_on("on_train_begin", args, state, control, kwargs)

    def on_log(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Queue the logged values; the client sends them from a thread of its own."""
        self._pass_on("on_log", args, state, control, kwargs)

    def on_evaluate(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Queue an evaluation's values."""
        self._pass_on("on_evaluate", args, state, control, kwargs)

    def on_predict(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Queue a prediction's values."""
        self._pass_on("on_predict", args, state, control, kwargs)

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Note the last checkpoint."""
        self._pass_on("on_save", args, state, control, kwargs)

    def finish(self, error: str | None) -> bool:
        """End the run in the client; see `worker.tracking.finish_tracking`."""
        if self._finish_result is not None:
            return self._finish_result
        self._finish_result = True
        if self._real is None:  # nor may the client be there to import
            return True
        import swanlab

        if not swanlab.has_run():
            return True
        state = "success" if error is None else "crashed"
        try:
            outcome = run_bounded(self._finish_seconds, lambda: swanlab.finish(state=state, error=error))
        except RuntimeError:  # the interpreter is going down and starts no more threads
            return True
        self._finish_result = outcome.ended
        if not outcome.ended and self._tracking is not None:
            self._say(
                f"SwanLab did not take the last records within {self._finish_seconds:.0f} s; they lie in "
                "swanlog, for `swanlab sync`. SwanLab 未及时接收剩余记录，已存于 swanlog，可补传。"
            )
            self._conclude(self._tracking.mode, self._tracking.url, "the last records were not uploaded")
        return self._finish_result

    def _pass_on(self, event: str, args: Any, state: Any, control: Any, kwargs: dict[str, Any]) -> None:
        if not getattr(state, "is_world_process_zero", True):
            return
        if self._tracking is None:
            self._start(args, state, kwargs.get("model"))
        if self._real is None:
            return
        try:
            getattr(self._real, event)(args, state, control, **kwargs)
        except Exception as error:
            if not self._warned:
                self._warned = True
                self._say(f"SwanLab did not take {event}: {describe(error)}. The run goes on. 训练不受影响。")

    def _start(self, args: Any, state: Any, model: Any) -> None:
        reason: str | None = None
        if self._mode == "cloud":
            reason = self._refuse_cloud()
            if reason is not None:
                self._mode = "local"
                self._say(f"No SwanLab cloud: {reason}. Tracking locally. SwanLab 云端不可用，改为本地跟踪。")
        while self._mode in ("cloud", "local"):
            failure = self._set_up(args, state, model)
            if failure is None:
                break
            # A client that still hangs holds its own lock: it is of no more use in this process.
            next_mode = "local" if self._mode == "cloud" and not failure.hangs else "off"
            self._say(
                f"SwanLab ({self._mode}) did not start: {failure.reason}. Now {next_mode}. 训练不受影响。"
            )
            self._mode, reason = next_mode, failure.reason
        os.environ.pop("SWANLAB_API_KEY", None)  # nothing started from here on needs it
        if self._mode not in ("cloud", "local"):
            self._mode, self._real = "off", None
            self._arguments.use_swanlab = False  # LLaMA-Factory's reporter would touch the client otherwise
        self._conclude(self._mode, self._find_url(), reason)

    def _refuse_cloud(self) -> str | None:
        key, host = (
            os.environ.get("SWANLAB_API_KEY"),
            os.environ.get("SWANLAB_API_HOST", "https://api.swanlab.cn"),
        )
        if not key:
            return "no key was given"
        outcome = run_bounded(self._probe_seconds, lambda: probe(host, key, self._probe_seconds))
        if not outcome.ended:
            return f"it did not answer within {self._probe_seconds:.0f} s"
        return describe(outcome.error) if outcome.error is not None else outcome.value

    def _set_up(self, args: Any, state: Any, model: Any) -> Failure | None:
        self._arguments.swanlab_mode = self._mode
        abandoned = threading.Event()

        def set_up() -> Any:
            import swanlab

            real = self._build_real(self._arguments)
            real.setup(args, state, model)
            if abandoned.is_set():  # it came up after all, but the run went on without it
                swanlab.finish(state="aborted", error="came up too late")
            return real

        outcome = run_bounded(self._setup_seconds, set_up)
        if not outcome.ended:
            abandoned.set()
            return Failure(f"it did not start within {self._setup_seconds:.0f} s", hangs=True)
        if outcome.error is not None:
            return Failure(describe(outcome.error), hangs=False)
        self._real = outcome.value
        self._outrun_the_client()
        return None

    def _outrun_the_client(self) -> None:
        """Have our bounded end run before the client's, which waits without end for a host that is gone."""
        atexit.register(self.finish, None)
        previous = sys.excepthook

        def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
            self.finish(describe(error))
            previous(kind, error, trace)

        sys.excepthook = hook

    def _find_url(self) -> str | None:
        if self._mode != "cloud":
            return None
        try:
            import swanlab

            return str(swanlab.get_run().url)
        except Exception:
            return None

    def _conclude(self, mode: str, url: str | None, detail: str | None) -> None:
        self._tracking = Tracking(mode, url, detail)
        try:
            write_tracking(self._tracking)
        except OSError as error:
            self._say(f"tracking.json was not written: {describe(error)}")

    def _say(self, text: str) -> None:
        print(f"[tuneforge] {text}", file=sys.stderr, flush=True)


class Failure:
    """Why tracking did not start, and whether the client still hangs."""

    def __init__(self, reason: str, *, hangs: bool) -> None:
        self.reason = reason
        self.hangs = hangs


class Outcome:
    """What became of a bounded action: it ended (with a value or an error), or it was left behind."""

    def __init__(self) -> None:
        self.ended = False
        self.value: Any = None
        self.error: BaseException | None = None


def run_bounded(seconds: float, action: Callable[[], Any]) -> Outcome:
    """Run `action` in a daemon thread and wait for at most `seconds`."""
    outcome = Outcome()

    def run() -> None:
        try:
            outcome.value = action()
        except BaseException as error:  # SystemExit of a client must not be lost silently either
            outcome.error = error
        outcome.ended = True

    thread = threading.Thread(target=run, name="tuneforge-tracking", daemon=True)
    thread.start()
    thread.join(seconds)
    return outcome


def probe(host: str, api_key: str, seconds: float) -> str | None:
    """Log in as the client will, once; return what is in the way, or None."""
    answer = httpx.post(
        f"{host.rstrip('/')}/api/login/api_key", headers={"authorization": api_key}, timeout=seconds
    )
    if answer.status_code == 200:
        return None
    reasons = {401: "SwanLab does not know the key", 403: "SwanLab wants the account verified first"}
    return reasons.get(answer.status_code, f"SwanLab answered with status {answer.status_code}")


def describe(error: BaseException | None) -> str:
    """Return an error's kind and first line, short, without anything that could hold a header."""
    lines = str(error).splitlines()
    return f"{type(error).__name__}: {lines[0][:200]}" if lines else type(error).__name__


def _is_first_rank() -> bool:
    return os.environ.get("RANK", "0") in ("", "0")
