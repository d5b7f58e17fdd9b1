"""A job's board by the platform's own address: who may see it, and what of it exists."""

from __future__ import annotations

from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from tests.factories import Person, read_job, register_node, start_job
from tests.swanlab.test_board import make_attempt
from tests.web.browsing import open_page


@pytest.fixture
def job_id(owner: Person) -> str:
    """A job of the owner that runs."""
    register_node()
    return start_job(owner.id).job_id


def test_strangers_and_other_users_see_no_board(
    web_client: TestClient, owner: Person, colleague: Person, administrator: Person, job_id: str
) -> None:
    address = f"/jobs/{job_id}/board/"
    assert web_client.get(address).status_code == 401
    assert open_page(web_client, address).headers["location"].startswith("/login?next=")
    assert web_client.get(address, headers=colleague.headers).status_code == 404
    for person in (owner, administrator):
        answer = web_client.get(address, headers=person.headers)
        assert (answer.status_code, "还没有本地跟踪数据" in answer.text) == (404, True)


@pytest.mark.parametrize(
    "path",
    [
        "api/v1/media//etc/passwd?run_id=x&experiment_id=1",
        "api/v1/media/%2Fetc%2Fpasswd",
        "api/v1/experiment/1/stop",
        "..%2f..%2f..%2fetc%2fpasswd",
        "assets/../../../etc/passwd",
    ],
)
def test_what_reads_files_or_stops_runs_does_not_exist(
    web_client: TestClient, owner: Person, job_id: str, path: str
) -> None:
    answer = web_client.get(f"/jobs/{job_id}/board/{path}", headers=owner.headers)
    assert answer.status_code == 404
    assert "root:" not in answer.text


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_the_board_changes_nothing(web_client: TestClient, owner: Person, job_id: str, method: str) -> None:
    answer = web_client.request(method, f"/jobs/{job_id}/board/api/v1/project", headers=owner.headers)
    assert answer.status_code == 405


def test_the_owner_sees_the_run(
    web_client: TestClient, owner: Person, job_id: str, tuneforge_home: Path
) -> None:
    make_attempt(tuneforge_home / "jobs" / job_id / "attempts", 1, "my-run", "finish")
    assert read_job(job_id).status == "running"
    address = f"/jobs/{job_id}/board"
    led = web_client.get(address, headers=owner.headers, follow_redirects=False)
    assert led.headers["location"] == f"{address}/"
    page = web_client.get(f"{address}/", headers=owner.headers)
    assert page.status_code == 200
    assert f'<base href="{address}/" />' in page.text
    assert web_client.head(f"{address}/", headers=owner.headers).content == b""
    project = web_client.get(f"{address}/api/v1/project", headers=owner.headers).json()
    assert [run["name"] for run in project["data"]["experiments"]] == ["my-run"]
