"""How an attempt gets its one supervisor: a seat on the roster, a claim (or the order of an earlier one), a run."""

from __future__ import annotations

import sys
import time
import traceback
from contextlib import suppress

from pydantic import ValidationError

from backend.domain.protocol import AttemptKey, LaunchOrder
from worker.api import Away, BackendClient, Refused, retry_while_away
from worker.roster import Roster
from worker.settings import WorkerSettings
from worker.supervision import StopSignal, Supervision
from worker.workspace import Workspace, replace_text

_CLAIM_SECONDS = 600.0


def supervise_safely(settings: WorkerSettings, client: BackendClient, key: AttemptKey) -> None:
    """Supervise; a fault of ours is logged, and the attempt stays on the roster to be adopted."""
    try:
        supervise(settings, client, key)
    except Exception:
        traceback.print_exc()


def supervise(settings: WorkerSettings, client: BackendClient, key: AttemptKey) -> None:
    """Run an attempt from claim to finish, in this process; returns at once when somebody else does."""
    seat = Roster(settings.run_folder).take_seat(key)
    if seat is None:
        return
    signals = StopSignal()
    place = Workspace(settings.home, key)
    order = read_order(place)
    try:
        if order is None:
            order = _claim(settings, client, key, signals, seat.claim_name)
        if order is None:
            seat.give_up()
            return
        with suppress(OSError):  # on a full disk; laying out the folder will fail too, and say so
            _write_order(place, order)
        Supervision(settings, client, place, order, signals, seat).run()
    finally:
        seat.leave()


def _claim(
    settings: WorkerSettings, client: BackendClient, key: AttemptKey, signals: StopSignal, name: str
) -> LaunchOrder | None:
    """Return the order, or None when the attempt is not ours or the backend is away (the node asks again).

    An answer may be lost after the backend has given us the attempt, so we ask again under the same name.
    """
    if signals.at is not None:
        return None
    end = time.monotonic() + _CLAIM_SECONDS
    try:
        return retry_while_away(
            lambda: client.claim(key, settings.node_name, name),
            lambda: signals.at is not None or time.monotonic() > end,
            _say,
        )
    except (Away, Refused) as error:
        _say(f"{key.job_id}.{key.attempt} was not claimed: {error}")
        return None


def read_order(place: Workspace) -> LaunchOrder | None:
    """Return the order of an attempt that was claimed before, or None."""
    try:
        return LaunchOrder.model_validate_json((place.private / "order.json").read_bytes())
    except (OSError, ValidationError):
        return None


def _write_order(place: Workspace, order: LaunchOrder) -> None:
    """Keep the order, its lease token with it, for our eyes only; the tracking key is never on disk."""
    place.private.mkdir(parents=True, exist_ok=True)
    place.private.chmod(0o700)
    kept = order.model_copy(update={"tracking": order.tracking.model_copy(update={"api_key": None})})
    replace_text(place.private / "order.json", kept.model_dump_json(), 0o600)


def _say(text: str) -> None:
    print(f"supervisor: {text}", file=sys.stderr, flush=True)
