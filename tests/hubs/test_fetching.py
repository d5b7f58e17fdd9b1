"""Fetching from a hub: verified, resumed where it stopped, and every failure told in words."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import pytest

from backend.domain.errors import TuneforgeError
from backend.domain.hub_files import HubName
from backend.hubs import HubSource, Snapshot, connection, fetch, fetching
from tests.hubs.conftest import DATASET, MODEL, FakeHub

HUBS: list[HubName] = ["huggingface", "modelscope"]
WEIGHTS = "model.safetensors"
WANTED = {"config.json", "tokenizer.json", WEIGHTS, "LICENSE", "README.md"}


class Stopped(Exception):
    """Stands for a process that was killed."""


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching, "_WAITS", (0.01,))


def _fetch(
    draft: Path,
    hub: HubName = "huggingface",
    kind: Literal["model", "dataset"] = "model",
    repo: str = MODEL,
    on_progress: Callable[[int, int], None] = lambda received, total: None,
    **more: Any,
) -> Snapshot:
    return fetch(HubSource(hub, kind, repo, **more), draft, on_progress)


def _list(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", HUBS)
def test_a_model_arrives_whole_and_nothing_that_runs_code(
    hub: FakeHub, tmp_path: Path, name: HubName
) -> None:
    told: list[tuple[int, int]] = []
    snapshot = _fetch(tmp_path, name, on_progress=lambda received, total: told.append((received, total)))
    assert _list(tmp_path) == WANTED
    for file in WANTED:
        assert (tmp_path / file).read_bytes() == (hub.root / "models" / MODEL / file).read_bytes()
    assert len(snapshot.commit) == 40
    assert told[-1] == (snapshot.total_bytes, snapshot.total_bytes)
    assert [received for received, _ in told] == sorted(received for received, _ in told)


@pytest.mark.parametrize("name", HUBS)
def test_a_dataset_arrives_without_its_script(hub: FakeHub, tmp_path: Path, name: HubName) -> None:
    _fetch(tmp_path, name, "dataset", DATASET)
    assert _list(tmp_path) == {"data.json"}


@pytest.mark.parametrize("name", HUBS)
def test_it_goes_on_from_the_byte_it_reached(hub: FakeHub, tmp_path: Path, name: HubName) -> None:
    def stop(received: int, total: int) -> None:
        if received > total // 2:
            raise Stopped

    hub.break_with({"place": "bytes", "path": WEIGHTS, "kind": "slow", "seconds": 0.01})
    with pytest.raises(Stopped):
        _fetch(tmp_path, name, on_progress=stop)
    had = (tmp_path / f"{WEIGHTS}.part").stat().st_size
    assert had > 0
    before = hub.list_requests()
    hub.break_with()
    _fetch(tmp_path, name)
    size = (hub.root / "models" / MODEL / WEIGHTS).stat().st_size
    assert hub.count_sent(WEIGHTS) == size - had
    asked = [one["path"] for one in hub.list_requests()]
    assert not [one for one in asked if "revision" in one or "repo/files" in one], "the list is kept"
    whole = [one["path"] for one in before if "config.json" in one["path"]]
    assert whole
    assert not [one for one in asked if "config.json" in one]
    assert (tmp_path / WEIGHTS).read_bytes() == (hub.root / "models" / MODEL / WEIGHTS).read_bytes()


@pytest.mark.parametrize("name", HUBS)
@pytest.mark.parametrize(
    "fault",
    [
        {"place": "bytes", "path": WEIGHTS, "kind": "cut", "times": 3},
        {"place": "bytes", "path": WEIGHTS, "kind": 500, "times": 2},
        {"place": "bytes", "path": WEIGHTS, "kind": 429},
        {"place": "bytes", "path": WEIGHTS, "kind": "hang", "seconds": 5},
        {"place": "list", "kind": 503, "times": 2},
        {"place": "list", "kind": 429},
    ],
    ids=str,
)
def test_what_passes_is_waited_for(
    hub: FakeHub, tmp_path: Path, name: HubName, fault: dict[str, Any]
) -> None:
    hub.break_with(fault)
    _fetch(tmp_path, name)
    assert (tmp_path / WEIGHTS).read_bytes() == (hub.root / "models" / MODEL / WEIGHTS).read_bytes()
    if fault["kind"] == "cut":
        assert hub.count_sent(WEIGHTS) == (hub.root / "models" / MODEL / WEIGHTS).stat().st_size


@pytest.mark.parametrize("name", HUBS)
@pytest.mark.parametrize(
    ("fault", "code"),
    [
        ({"place": "list", "kind": 401}, "hub_refused"),
        ({"place": "bytes", "path": WEIGHTS, "kind": 403}, "hub_refused"),
        ({"place": "list", "kind": 404}, "hub_not_found"),
        ({"place": "list", "kind": 429, "times": 9}, "hub_busy"),
        ({"place": "bytes", "path": WEIGHTS, "kind": 500, "times": 9}, "hub_unavailable"),
        ({"place": "bytes", "path": WEIGHTS, "kind": "wrong"}, "hub_wrong_content"),
        ({"place": "bytes", "path": WEIGHTS, "kind": "longer"}, "hub_wrong_content"),
        ({"place": "hash", "path": WEIGHTS, "kind": "hash"}, "hub_wrong_content"),
    ],
    ids=str,
)
def test_what_stays_is_told_in_two_languages(
    hub: FakeHub,
    tmp_path: Path,
    name: HubName,
    fault: dict[str, Any],
    code: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(fetching, "_LONGEST_WAIT", 0.05)
    hub.break_with(fault)
    with pytest.raises(TuneforgeError) as refusal:
        _fetch(tmp_path, name)
    assert refusal.value.code == code
    assert refusal.value.detail_zh
    assert not (tmp_path / WEIGHTS).exists(), "only what was verified gets its name"
    if code == "hub_wrong_content":
        assert not (tmp_path / f"{WEIGHTS}.part").exists()


def test_a_small_file_is_verified_too(hub: FakeHub, tmp_path: Path) -> None:
    hub.break_with({"place": "bytes", "path": "config.json", "kind": "wrong"})
    with pytest.raises(TuneforgeError, match=r"config\.json"):
        _fetch(tmp_path)


@pytest.mark.parametrize(
    "hostile",
    [
        "../../escaped.json", "/etc/cron.d/x.json", "a/../../b.json", "a//b.json", "./x.json", "..\\x.json", "x\n.json",
        "\u202egnp.json", "tokenizer.json/x.json", "x" * 300 + ".json", "a/" * 600 + "x.json", "config.json.part",
        "\x1b[31m.json", "", "a/",
    ],
)  # fmt: skip
@pytest.mark.parametrize("name", HUBS)
def test_hostile_names_are_refused(hub: FakeHub, tmp_path: Path, name: HubName, hostile: str) -> None:
    names = hub.root / "models" / f"{MODEL}.names.json"
    names.write_text(json.dumps({"README.md": hostile}))
    draft = tmp_path / "draft"
    with pytest.raises(TuneforgeError) as refusal:
        _fetch(draft, name)
    assert refusal.value.code == "hub_unsafe_names"
    assert _list(tmp_path) == set()


def test_a_redirect_into_our_own_network_is_not_followed(
    hub: FakeHub, tmp_path: Path, configure: Callable[[str, str], None]
) -> None:
    configure("TUNEFORGE_HUB_REDIRECTS", "public")
    with pytest.raises(TuneforgeError) as refusal:
        _fetch(tmp_path)
    assert refusal.value.code == "hub_private_redirect"
    assert not [one for one in hub.list_requests() if one["path"].startswith("/cdn/")]


def test_a_redirects_name_is_looked_up_once(
    hub: FakeHub, tmp_path: Path, configure: Callable[[str, str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    configure("TUNEFORGE_HUB_REDIRECTS", "public")
    asked: list[str] = []
    look_up = socket.getaddrinfo

    def note_name(host: str, *more: Any, **options: Any) -> Any:
        asked.append(host)
        return look_up("127.0.0.1" if host == "localhost" else host, *more, **options)

    monkeypatch.setattr(connection, "_is_public", lambda address: address == "127.0.0.1")
    monkeypatch.setattr(socket, "getaddrinfo", note_name)
    hub.break_with()
    _fetch(tmp_path)
    redirected = [one for one in hub.list_requests() if one["path"].startswith("/cdn/")]
    assert {one["Host"].partition(":")[0] for one in redirected} == {"localhost"}
    assert asked.count("localhost") == len(redirected), "asked when it was checked, and not again to connect"


def test_the_token_stays_with_the_hub(
    hub: FakeHub, tmp_path: Path, configure: Callable[[str, str], None]
) -> None:
    configure("TUNEFORGE_HUGGINGFACE_TOKEN", "hf_secret")
    _fetch(tmp_path)
    sent = [(one["path"], one["Authorization"]) for one in hub.list_requests()]
    assert all(token == "Bearer hf_secret" for path, token in sent if "resolve" in path)
    assert {token for path, token in sent if path.startswith("/cdn/")} == {None}


def test_pickled_weights_are_refused_unless_allowed(
    hub: FakeHub, tmp_path: Path, configure: Callable[[str, str], None]
) -> None:
    (hub.root / "models" / MODEL / WEIGHTS).unlink()
    with pytest.raises(TuneforgeError) as refusal:
        _fetch(tmp_path / "one")
    assert refusal.value.code == "unsafe_weights"
    configure("TUNEFORGE_PICKLED_WEIGHTS", "on")
    _fetch(tmp_path / "two")
    assert "pytorch_model.bin" in _list(tmp_path / "two")
    assert "modeling_evil.py" not in _list(tmp_path / "two")


def test_code_is_fetched_for_a_trusted_revision_only(
    hub: FakeHub, tmp_path: Path, configure: Callable[[str, str], None]
) -> None:
    commit = _fetch(tmp_path / "one").commit
    configure("TUNEFORGE_TRUSTED_MODEL_CODE", f"{MODEL}@{commit}")
    _fetch(tmp_path / "two")
    assert "modeling_evil.py" in _list(tmp_path / "two")
    hub.write("models", MODEL, "README.md", b"# another commit")
    _fetch(tmp_path / "three")
    assert "modeling_evil.py" not in _list(tmp_path / "three")


@pytest.mark.parametrize(
    "answer", [[], {}, {"siblings": 5, "sha": "x"}, {"siblings": [{"rfilename": 1}], "sha": 0}]
)
def test_a_list_that_makes_no_sense_is_said_to_be_one(
    hub: FakeHub, tmp_path: Path, answer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("backend.hubs.connection.HubConnection.read_json", lambda *_: answer)
    with pytest.raises(TuneforgeError) as refusal:
        _fetch(tmp_path)
    assert refusal.value.code == "hub_unavailable"
