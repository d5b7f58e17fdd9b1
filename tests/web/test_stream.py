"""Live pages' streams over a real server: nothing lost, nothing twice, and nothing held."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from backend.app import build_app
from backend.database import get_engine, transaction
from backend.domain.protocol import LaunchOrder, Report
from backend.services import live, reports
from backend.web.api import stream
from backend.web.server import Server
from tests.conftest import find_free_port
from tests.factories import (
    Person,
    assign_jobs,
    claim_job,
    finish_job,
    register_node,
    start_job,
    submit_job,
    write_attempt_file,
)

CAR = "🚗".encode()


@dataclass(frozen=True)
class Event:
    """One server-sent event."""

    name: str
    id: str
    data: Any


class Stream:
    """An open stream, read event by event."""

    def __init__(self, response: httpx.Response) -> None:
        self.response = response
        self.lines = response.iter_lines()

    def read(self) -> Event | None:
        """Return the next event, or None when the stream has ended."""
        fields: dict[str, str] = {}
        for line in self.lines:
            name, _, value = line.partition(": ")
            if name:
                fields[name] = value
            elif "event" in fields:
                return Event(fields["event"], fields["id"], json.loads(fields["data"]))
        return None

    def read_until(self, *names: str) -> list[Event]:
        """Return the events up to where each of these names came."""
        events = []
        while event := self.read():
            events.append(event)
            if {event.name for event in events} >= set(names):
                return events
        raise AssertionError(f"the stream ended before {names}: {[event.name for event in events]}")

    def read_all(self) -> list[Event]:
        """Return the events until the stream ends."""
        events = []
        while event := self.read():
            events.append(event)
        return events


Follow = Callable[..., Any]


def _start_server() -> tuple[Server, threading.Thread]:
    server = Server(build_app(), "127.0.0.1", find_free_port())
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive(), "the server did not start"
        time.sleep(0.01)
    return server, thread


@pytest.fixture(scope="module")
def server(migrated_database: str) -> Iterator[Server]:
    """A real server of the application, that looks often."""
    server, thread = _start_server()
    yield server
    server.should_exit = True
    thread.join(30)


@pytest.fixture
def follow(server: Server, monkeypatch: pytest.MonkeyPatch) -> Follow:
    """Opens a stream of a job: `with follow(person, job_id) as stream`."""
    monkeypatch.setattr(stream, "LOOK_SECONDS", 0.03)

    @contextmanager
    def open_stream(
        person: Person, job_id: str, last_event_id: str | None = None, *, in_address: bool = False
    ) -> Iterator[Stream]:
        headers = person.headers | (
            {"Last-Event-ID": last_event_id} if last_event_id and not in_address else {}
        )
        url = f"http://127.0.0.1:{server.config.port}/api/v1/jobs/{job_id}/stream"
        params = {"last_event_id": last_event_id} if last_event_id and in_address else None
        with httpx.stream(
            "GET", url, headers=headers, params=params, timeout=10, trust_env=False
        ) as response:
            assert response.status_code == 200, response.read()
            assert response.headers["content-type"].startswith("text/event-stream")
            assert response.headers["cache-control"] == "no-store"
            yield Stream(response)

    return open_stream


@pytest.fixture
def order(owner: Person) -> LaunchOrder:
    """A running job of the owner."""
    register_node()
    return start_job(owner.id)


def _send(order: LaunchOrder, *steps: int, loss: float = 1.0, **values: Any) -> None:
    points = [{"step": step, "loss": loss, "at": datetime.now(UTC)} for step in steps]
    message = {"phase": "training", "step": max(steps, default=1), "log_bytes": 0, "points": points} | values
    with transaction() as session:
        report = Report.model_validate(message)
        reports.report(session, order.job_id, order.attempt, order.lease_token, report)


def _write_log(order: LaunchOrder, content: bytes) -> None:
    write_attempt_file(order.job_id, order.attempt, "job.log", content)


def _collect(events: list[Event]) -> tuple[list[int], str]:
    """Return the steps and the log's text that these events told, checking that the log's pieces join."""
    steps, text, offset = [], "", None
    for event in events:
        if event.name == "metric":
            steps += [point["step"] for point in event.data["points"]]
        if event.name == "log":
            assert offset is None or event.data["offset"] == offset
            text, offset = text + event.data["text"], event.data["next"]
    return steps, text


# -- what a stream tells -----------------------------------------------------------------------------------


def test_a_job_is_followed_from_the_queue_to_its_end(owner: Person, follow: Follow) -> None:
    register_node()
    job_id = submit_job(owner.id)
    with follow(owner, job_id) as stream:
        (first,) = stream.read_until("status")
        assert (first.data["status"], first.data["queue_position"]) == ("queued", 1)
        assert first.data == owner.get(f"/jobs/{job_id}").json()
        assign_jobs()
        assert stream.read_until("status")[-1].data["status"] == "assigned"
        order = claim_job(job_id)
        assert stream.read_until("status")[-1].data["assignment"] == {"node": "node-1", "gpus": ["node-1-0"]}
        _send(order, 5, total_steps=10)
        told = stream.read_until("progress", "metric")
        assert [event.data["step"] for event in told if event.name == "progress"] == [5]
        assert _collect(told)[0] == [5]
        _write_log(order, "第一行\n".encode())
        assert stream.read_until("log")[-1].data == {"offset": 0, "text": "第一行\n", "next": 10}
        finish_job(order)
        rest = stream.read_all()
    assert [event.name for event in rest] == ["status", "end"]
    assert rest[0].data["status"] == "succeeded"
    assert rest[-1].data == {"status": "succeeded"}


def test_a_finished_job_is_told_whole_and_the_stream_ends(
    owner: Person, order: LaunchOrder, follow: Follow
) -> None:
    _send(order, 1, 2, 3)
    _write_log(order, b"half \xf0\x9f")
    finish_job(order)
    with follow(owner, order.job_id) as stream:
        events = stream.read_all()
    assert [event.name for event in events] == ["status", "metric", "log", "log", "end"]
    assert _collect(events) == ([1, 2, 3], "half \ufffd")


@pytest.mark.parametrize("in_address", [False, True])
def test_a_dropped_stream_goes_on_without_losing_or_doubling(
    owner: Person, order: LaunchOrder, follow: Follow, in_address: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The line is cut after every single event; together the pieces are what one whole stream tells."""
    monkeypatch.setattr(live, "LOG_PIECE_BYTES", 7)
    first, whole = "第一行 🚗\n第二行\n".encode(), "第一行 🚗\n第二行\n最后".encode()
    _send(order, 1, 2)
    _write_log(order, first)
    events: list[Event] = []
    is_finished = False
    while not events or events[-1].name != "end":
        last = events[-1].id if events else None
        with follow(owner, order.job_id, last, in_address=in_address) as stream:
            event = stream.read()
            assert event is not None
            if event.name == "status":
                if last is not None and last.endswith(f".{len(first)}") and not is_finished:
                    _send(order, 3)
                    _write_log(order, whole)
                    finish_job(order)
                    is_finished = True
                event = stream.read()
                assert event is not None
            events.append(event)
    steps, told = _collect(events)
    assert steps == [1, 2, 3]
    assert told == whole.decode()


def test_points_that_changed_are_told_again_and_a_later_attempt_goes_on(
    owner: Person, order: LaunchOrder, follow: Follow
) -> None:
    with follow(owner, order.job_id) as stream:
        _send(order, 1, 2)
        assert _collect(stream.read_until("metric"))[0] == [1, 2]
        _send(order, 1, 2)
        _send(order, 2, loss=0.5)
        assert _collect(stream.read_until("metric"))[0] == [2]
        _write_log(order, b"one\n")
        stream.read_until("log")
        finish_job(order, "node_stopped")
        assign_jobs()
        second = claim_job(order.job_id)
        _write_log(second, b"two\n")
        _send(second, 2, 3)
        told = stream.read_until("log", "metric")
        _send(second, 4)
        told += stream.read_until("metric")
        assert "two\n" in _collect(told)[1]
        finish_job(second)
        told += stream.read_all()
    steps, text = _collect(told)
    assert (sorted(set(steps)), text) == ([2, 3, 4], "two\n")
    assert len(steps) == 3


def test_half_a_character_waits_for_its_other_half(owner: Person, order: LaunchOrder, follow: Follow) -> None:
    with follow(owner, order.job_id) as stream:
        _write_log(order, b"go " + CAR[:2])
        assert stream.read_until("log")[-1].data["text"] == "go "
        time.sleep(0.2)
        _write_log(order, b"go " + CAR + b"!")
        assert stream.read_until("log")[-1].data == {"offset": 3, "text": "🚗!", "next": 8}


@pytest.mark.parametrize("last_event_id", ["x", "-1.0.0", "9" * 90, "0.-1.999999999999"])
def test_an_odd_cursor_is_no_fault(
    owner: Person, order: LaunchOrder, follow: Follow, last_event_id: str
) -> None:
    _send(order, 1)
    finish_job(order)
    with follow(owner, order.job_id, last_event_id) as stream:
        assert stream.read_all()[-1].name == "end"


# -- what a stream bears -----------------------------------------------------------------------------------


def test_a_silent_stream_says_that_it_lives(
    owner: Person, order: LaunchOrder, follow: Follow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "KEEP_ALIVE_SECONDS", 0.2)
    with follow(owner, order.job_id) as opened:
        opened.read_until("status")
        began = time.monotonic()
        assert [opened.read_until("alive")[-1].data for _ in range(2)] == [{}, {}]
        assert 0.3 < time.monotonic() - began < 5


def test_a_stream_survives_an_outage_of_the_database(
    owner: Person, order: LaunchOrder, follow: Follow, monkeypatch: pytest.MonkeyPatch
) -> None:
    with follow(owner, order.job_id) as opened:
        opened.read_until("status")

        def fail(*_: object) -> None:
            raise ConnectionError("the database is away")

        with monkeypatch.context() as outage:
            outage.setattr(live, "read_points", fail)
            _send(order, 1)
            told = opened.read_until("progress")  # a look that had begun before may still tell of it
            outage.setattr(live, "read_jobs", fail)
            time.sleep(0.2)
        _send(order, 2)
        told += opened.read_until("metric")
        if 2 not in _collect(told)[0]:
            told += opened.read_until("metric")
        assert _collect(told)[0] == [1, 2]


def test_an_open_stream_holds_no_database_connection(
    owner: Person, order: LaunchOrder, follow: Follow
) -> None:
    with follow(owner, order.job_id) as first, follow(owner, order.job_id) as second:
        first.read_until("status"), second.read_until("status")
        held = []
        for _ in range(60):
            held.append(get_engine().pool.checkedout())  # type: ignore[attr-defined]
            time.sleep(0.005)
    # A look takes one for a moment; between looks there is none.
    assert min(held) == 0
    assert max(held) <= 3


def test_a_deleted_jobs_stream_ends(
    owner: Person, order: LaunchOrder, follow: Follow, server: Server
) -> None:
    with follow(owner, order.job_id) as opened:
        opened.read_until("status")
        with transaction() as session:
            session.execute(live.Job.__table__.delete())
        assert opened.read_all() == []


def test_only_who_may_see_the_job_may_follow_it(owner: Person, colleague: Person, order: LaunchOrder) -> None:
    assert colleague.get(f"/jobs/{order.job_id}/stream").status_code == 404
    assert owner.client.get(f"/api/v1/jobs/{order.job_id}/stream").status_code == 401


def test_streams_end_at_once_when_the_server_is_told_to_stop(owner: Person, order: LaunchOrder) -> None:
    server, thread = _start_server()
    url = f"http://127.0.0.1:{server.config.port}/api/v1/jobs/{order.job_id}/stream"
    with httpx.stream("GET", url, headers=owner.headers, timeout=20, trust_env=False) as response:
        opened = Stream(response)
        opened.read_until("status")
        began = time.monotonic()
        server.should_exit = True
        assert opened.read_all() == []
        thread.join(20)
    assert not thread.is_alive()
    assert time.monotonic() - began < 4
