"""Where a stream goes on: a cursor survives its text form, and no text is a bad cursor."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from backend.database import transaction
from backend.services import live, reports
from backend.services.live import Cursor, parse_cursor
from tests.factories import finish_job, make_user, register_node, start_job, write_attempt_file


@pytest.mark.parametrize(
    "cursor",
    [
        Cursor(),
        Cursor(datetime(2026, 11, 24, 13, 0, 0, 123456, tzinfo=UTC), 57, 10_000_000_000),
        Cursor(datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC), 2**31 - 1, 0),
    ],
)
def test_a_cursor_comes_back_from_its_text(cursor: Cursor) -> None:
    assert parse_cursor(str(cursor)) == cursor


@pytest.mark.parametrize(
    "text",
    [None, "", "x", "1.2", "1.2.3.4", "-1.0.0", "0.-2.0", "0.0.-1", f"{10**40}.0.0", "0.99999999999.0",
     "1" * 5000 + ".0.0", "nan.0.0", "0.0.0x", "\x00"],
)  # fmt: skip
def test_what_is_no_cursor_begins_at_the_beginning(text: str | None) -> None:
    assert parse_cursor(text) == Cursor()


@pytest.mark.parametrize(
    "text", ["0.-1.0", f"0.-1.{2**62}", f"0.-1.{10**30}", "253402300799999999.2147483647.5"]
)
def test_a_cursor_from_anywhere_can_be_read_from(database: None, text: str) -> None:
    register_node()
    order = start_job(make_user("ann"))
    write_attempt_file(order.job_id, 1, "job.log", b"hello\n")
    cursor = parse_cursor(text)
    assert live.read_points(order.job_id, cursor) == []
    text_read, following = live.read_log_piece(order.job_id, cursor.log_offset, is_finished=False)
    assert following == cursor.log_offset + len(text_read)


def test_points_are_read_as_they_came_and_not_twice(database: None) -> None:
    register_node()
    order = start_job(make_user("ann"))

    def send(*steps: int, loss: float = 1.0) -> None:
        points = [{"step": step, "loss": loss, "at": datetime.now(UTC)} for step in steps]
        message = {"phase": "training", "step": 1, "log_bytes": 0, "points": points}
        with transaction() as session:
            reports.report(
                session, order.job_id, 1, order.lease_token, reports.Report.model_validate(message)
            )

    cursor, seen = Cursor(), []
    for steps, loss in [((1, 2), 1.0), ((4, 3), 1.0), ((1, 2, 3, 4), 1.0), ((2,), 5.0), ((5,), 1.0)]:
        send(*steps, loss=loss)
        points = live.read_points(order.job_id, cursor)
        if points:
            cursor = Cursor(points[-1].noted_at, points[-1].step)
        seen.append([point.step for point in points])
    assert seen == [[1, 2], [3, 4], [], [2], [5]]


def test_the_end_of_a_finished_log_is_given_even_when_it_is_half_a_character(database: None) -> None:
    register_node()
    order = start_job(make_user("ann"))
    write_attempt_file(order.job_id, 1, "job.log", "好".encode()[:2])
    assert live.read_log_piece(order.job_id, 0, is_finished=False) == ("", 0)
    finish_job(order)
    assert live.read_log_piece(order.job_id, 0, is_finished=True) == ("\ufffd", 2)
    looks = live.read_jobs([order.job_id, "nosuchjob0"])
    assert list(looks) == [order.job_id]
    assert looks[order.job_id].is_finished
    assert looks[order.job_id].log_bytes == 2
