"""A model's download by the librarian: killed in the middle it goes on, and what fails is told at the model."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

from backend import storage
from backend.database import transaction
from backend.services import catalogue, chores
from backend.tables.base import utc_now
from backend.tables.chore import Chore
from backend.tables.user import User
from tests.factories import Person
from tests.hubs.conftest import MODEL, FakeHub, build_weights, fill, kill, wait_for

PRESET = "qwen2.5-vl-7b-instruct"
PRESET_REPO = "Qwen/Qwen2.5-VL-7B-Instruct"
WEIGHTS = "model.safetensors"
BODY = {"hub": {"hub": "huggingface", "repo_id": MODEL}}
ROOT = Path(__file__).resolve().parents[2]


def _ended(model: dict[str, Any]) -> bool:
    return model["status"] in ("ready", "failed")


def _forget_heartbeats() -> None:
    """Let the chores of a killed librarian look as old as they would be after a while."""
    with transaction() as session:
        for chore in session.query(Chore).filter(Chore.status == "running"):
            chore.heartbeat_at = utc_now() - timedelta(seconds=chores.STALE_SECONDS + 1)


def test_a_model_arrives_and_says_what_it_is(
    hub: FakeHub, owner: Person, start_librarian: Callable[[], Any], tuneforge_home: Path
) -> None:
    start_librarian()
    model = owner.post("/models", json=BODY).json()
    ready = wait_for(owner, f"/models/{model['id']}", _ended)
    assert ready["status"] == "ready", ready["error"]
    assert (ready["parameters"], ready["licence"]) == (200_000, "apache-2.0")
    assert ready["modalities"] == ["text", "image", "video"]
    assert ready["template"] == "qwen2_vl"
    assert len(ready["origin"]["commit"]) == 40
    folder = tuneforge_home / ready["path"]
    assert (folder / WEIGHTS).read_bytes() == (hub.root / "models" / MODEL / WEIGHTS).read_bytes()
    assert not list(folder.parent.glob(".*")), "no draft is left"
    assert owner.request("DELETE", f"/models/{model['id']}").status_code == 204
    assert not folder.exists()


def test_killed_in_the_middle_of_a_presets_download_it_goes_on(
    hub: FakeHub, owner: Person, start_librarian: Callable[[], Any], configure: Callable[[str, str], None]
) -> None:
    configure("TUNEFORGE_PRESETS", "on")
    with transaction() as session:
        catalogue.discover(session)
    for file in (hub.root / "models" / MODEL).iterdir():
        hub.write("models", PRESET_REPO, file.name, file.read_bytes())
    weights = hub.write("models", PRESET_REPO, WEIGHTS, build_weights(2_000_000))
    hub.break_with({"place": "bytes", "path": WEIGHTS, "kind": "slow", "seconds": 0.05})
    first = start_librarian()
    assert owner.post(f"/models/{PRESET}/download").status_code == 202
    half = weights.stat().st_size // 4
    seen = wait_for(
        owner,
        f"/models/{PRESET}",
        lambda model: ((model["progress"] or {}).get("received_bytes") or 0) > half,
    )
    assert seen["progress"]["stage"] == "downloading"
    assert 0 < seen["progress"]["fraction"] < 1
    kill(first)
    before = seen["progress"]["received_bytes"]
    hub.break_with()
    _forget_heartbeats()
    start_librarian()
    ready = wait_for(owner, f"/models/{PRESET}", _ended)
    assert ready["status"] == "ready", ready["error"]
    sent = hub.count_sent(WEIGHTS)
    assert 0 < sent <= weights.stat().st_size - before + 100_000, "what had arrived was not asked for again"
    asked = [one["path"] for one in hub.list_requests()]
    assert not [path for path in asked if "config.json" in path or "/revision/" in path]
    assert ready["parameters"] == 2_000_000
    assert ready["approximate"] == []


def test_a_failure_is_told_and_going_on_mends_it(
    hub: FakeHub, owner: Person, start_librarian: Callable[[], Any]
) -> None:
    hub.break_with({"place": "list", "kind": 401, "times": 1})
    start_librarian()
    model = owner.post("/models", json=BODY).json()
    failed = wait_for(owner, f"/models/{model['id']}", _ended)
    assert (failed["status"], failed["error"]["code"]) == ("failed", "hub_refused")
    assert failed["error"]["detail"]
    assert failed["error"]["detail_zh"]
    assert owner.post(f"/models/{model['id']}/download").status_code == 202
    assert wait_for(owner, f"/models/{model['id']}", _ended)["status"] == "ready"


def test_stopped_it_keeps_what_it_has_and_goes_on(
    hub: FakeHub, owner: Person, start_librarian: Callable[[], Any]
) -> None:
    fill(hub, elements=2_000_000)
    hub.break_with({"place": "bytes", "path": WEIGHTS, "kind": "slow", "seconds": 0.05})
    start_librarian()
    model = owner.post("/models", json=BODY).json()
    wait_for(
        owner,
        f"/models/{model['id']}",
        lambda one: ((one["progress"] or {}).get("received_bytes") or 0) > 500_000,
    )
    assert owner.post(f"/models/{model['id']}/cancel").status_code == 202
    wait_for(owner, f"/models/{model['id']}", lambda one: one["status"] == "paused")
    hub.break_with()
    owner.post(f"/models/{model['id']}/download")
    assert wait_for(owner, f"/models/{model['id']}", _ended)["status"] == "ready"
    assert 0 < hub.count_sent(WEIGHTS) < 4_000_000 - 400_000


def test_a_quota_that_is_short_refuses_before_the_first_byte(
    hub: FakeHub, owner: Person, start_librarian: Callable[[], Any]
) -> None:
    with transaction() as session:
        session.get_one(User, owner.id).storage_quota_bytes = 100_000
    start_librarian()
    model = owner.post("/models", json=BODY).json()
    failed = wait_for(owner, f"/models/{model['id']}", _ended)
    assert failed["error"]["code"] == "quota_exceeded"
    assert hub.count_sent(WEIGHTS) == 0


def test_what_is_no_model_is_refused(hub: FakeHub, owner: Person, start_librarian: Callable[[], Any]) -> None:
    (hub.root / "models" / MODEL / "config.json").unlink()
    start_librarian()
    model = owner.post("/models", json=BODY).json()
    assert wait_for(owner, f"/models/{model['id']}", _ended)["error"]["code"] == "not_a_model"


def test_a_folder_of_this_machine_is_copied(
    hub: FakeHub,
    owner: Person,
    start_librarian: Callable[[], Any],
    configure: Callable[[str, str], None],
    tmp_path: Path,
) -> None:
    folder = tmp_path / "roots" / "mine"
    folder.mkdir(parents=True)
    for name in ("config.json", WEIGHTS, "modeling_evil.py"):
        (folder / name).write_bytes((hub.root / "models" / MODEL / name).read_bytes())
    (folder / "secret.json").symlink_to("/etc/passwd")
    configure("TUNEFORGE_IMPORT_ROOTS", str(tmp_path / "roots"))
    start_librarian()
    model = owner.post("/models", json={"path": str(folder)}).json()
    ready = wait_for(owner, f"/models/{model['id']}", _ended)
    assert ready["status"] == "ready", ready["error"]
    names = {path.name for path in (storage.get_home() / ready["path"]).iterdir()}
    assert names == {"config.json", WEIGHTS, storage.FACTS_FILE}
