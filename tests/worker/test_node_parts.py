"""Settings, devices (by a fake NVML, as there is no GPU here), the roster, the phases, the backend's client."""

from __future__ import annotations

import http.server
import os
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from backend.domain.protocol import AttemptKey, Device, Heartbeat, Phase
from worker import api, gpus
from worker.api import Away, BackendClient, Refused, retry_while_away
from worker.device_readings import read_devices, write_devices
from worker.gpus import DeviceInventory, build_kind_id
from worker.phases import PhaseClock
from worker.roster import Roster
from worker.settings import SettingsError, read_settings

GIVEN = {
    "TUNEFORGE_HOME": "/data",
    "TUNEFORGE_SERVER_URL": "http://web:8000/",
    "TUNEFORGE_NODE_TOKEN": "a-token",
    "TUNEFORGE_NODE_NAME": "gpu-1",
}
KEY = AttemptKey(job_id="job12345", attempt=2)

# -- settings ------------------------------------------------------------------------------------------------


def test_settings_come_from_the_environment() -> None:
    settings = read_settings(GIVEN | {"TUNEFORGE_RUN_COMMAND": "python 'a fake.py'"})
    assert settings.server_url == "http://web:8000"
    assert settings.run_folder == Path("/data/run/nodes/gpu-1")
    assert settings.run_command == ("python", "a fake.py")
    assert "a-token" not in repr(settings)


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("TUNEFORGE_HOME", "", "TUNEFORGE_HOME"),
        ("TUNEFORGE_SERVER_URL", "web:8000", "TUNEFORGE_SERVER_URL"),
        ("TUNEFORGE_NODE_TOKEN", "", "TUNEFORGE_NODE_TOKEN"),
        ("TUNEFORGE_NODE_NAME", "../up", "name"),
        ("TUNEFORGE_CPU_SLOTS", "0", "CPU_SLOTS"),
        ("TUNEFORGE_CPU_SLOTS", "many", "CPU_SLOTS"),
    ],
)
def test_a_wrong_setting_is_named(name: str, value: str, told: str) -> None:
    with pytest.raises(SettingsError, match=told):
        read_settings(GIVEN | {name: value})


# -- devices -------------------------------------------------------------------------------------------------


class FakeNvml:
    """Stands in for pynvml with two H100s; `foreign` and `ecc_errors` are of the second."""

    NVML_TEMPERATURE_GPU = 0
    NVML_MEMORY_ERROR_TYPE_UNCORRECTED = 1
    NVML_VOLATILE_ECC = 0

    class NVMLError(Exception):
        """What every call may raise."""

    def __init__(self, foreign: list[int] | None = None, ecc_errors: int = 0, broken: bool = False) -> None:
        self.foreign, self.ecc_errors, self.broken = foreign or [], ecc_errors, broken

    def __getattr__(self, name: str) -> Any:
        answers: dict[str, Any] = {
            "nvmlDeviceGetHandleByIndex": lambda index: index,
            "nvmlDeviceGetName": lambda _: "NVIDIA H100 80GB HBM3",
            "nvmlDeviceGetUUID": lambda handle: f"GPU-{handle}".encode(),
            "nvmlDeviceGetMemoryInfo": lambda _: type("Memory", (), {"total": 81559 << 20, "used": 5 << 20}),
            "nvmlDeviceGetUtilizationRates": lambda _: type("Rates", (), {"gpu": 40}),
            "nvmlDeviceGetPowerUsage": lambda _: 250_000,
            "nvmlDeviceGetTotalEccErrors": lambda handle, *_: self.ecc_errors if handle == 1 else 0,
            "nvmlDeviceGetComputeRunningProcesses": lambda handle: [
                type("Process", (), {"pid": pid}) for pid in (self.foreign if handle == 1 else [])
            ],
            "nvmlShutdown": lambda: None,
        }
        if name == "nvmlDeviceGetCount":
            if self.broken:
                raise self.NVMLError("driver gone")
            return lambda: 2
        if name in answers:
            return answers[name]
        if name.startswith("nvml"):
            raise self.NVMLError(name)
        raise AttributeError(name)


def test_gpus_are_read_and_what_they_do_not_tell_is_left_open() -> None:
    first, second = DeviceInventory(nvml=FakeNvml()).list_devices()
    assert (first.uuid, first.kind, first.index, second.uuid) == ("GPU-0", "h100-80g", 0, "GPU-1")
    assert (first.utilization, first.power_watts, first.temperature_celsius) == (40, 250, None)
    assert first.trouble is None


def test_a_gpu_with_faults_or_strangers_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    _, faulty = DeviceInventory(nvml=FakeNvml(ecc_errors=3)).list_devices()
    assert faulty.trouble is not None
    assert "3 uncorrectable" in faulty.trouble
    monkeypatch.setattr(gpus, "is_stranger", lambda pid: pid == 4711)
    _, used = DeviceInventory(nvml=FakeNvml(foreign=[12, 4711])).list_devices()
    assert used.trouble == "used by processes that are not ours: 4711"


def test_a_process_without_a_gpu_open_or_of_another_pid_space_is_no_stranger() -> None:
    assert not gpus.is_stranger(os.getpid())
    assert not gpus.is_stranger(2**30)


def test_a_node_offers_only_the_gpus_it_may_use() -> None:
    for visible in ("1", "GPU-1", " GPU-1 ,GPU-7"):
        assert [device.uuid for device in DeviceInventory(1, visible, FakeNvml()).list_devices()] == ["GPU-1"]


def test_a_machine_whose_driver_fails_is_one_of_cpus_until_it_is_back() -> None:
    slots = DeviceInventory(2, nvml=FakeNvml(broken=True)).list_devices()
    assert [(slot.uuid, slot.kind) for slot in slots] == [("cpu-0", "cpu"), ("cpu-1", "cpu")]
    assert slots[0].memory_bytes == gpus.measure_memory() // 2 > 1 << 28


@pytest.mark.parametrize(
    ("name", "mebibytes", "kind"),
    [
        ("NVIDIA H200", 143_771, "h200-141g"),
        ("NVIDIA A100-SXM4-40GB", 40_960, "a100-40g"),
        ("NVIDIA A100-SXM4-80GB", 81_920, "a100-80g"),
        ("NVIDIA GeForce RTX 4090", 24_564, "rtx-4090-24g"),
        ("Tesla V100-SXM2-32GB", 32_768, "v100-32g"),
        ("", 1024, "gpu-1g"),
    ],
)
def test_kinds_are_named_by_model_and_memory(name: str, mebibytes: int, kind: str) -> None:
    assert build_kind_id(name, mebibytes << 20) == kind


def test_readings_are_left_for_supervisors(tmp_path: Path) -> None:
    assert read_devices(tmp_path).devices == []
    device = Device(uuid="cpu-0", kind="cpu", name="CPU", index=0, memory_bytes=1)
    write_devices(tmp_path, [device])
    assert read_devices(tmp_path).devices == [device]
    (tmp_path / "devices.json").write_text('{"at": 1, "devices": [{"uuid": 1}]}')
    assert read_devices(tmp_path).devices == []


# -- roster and phases ---------------------------------------------------------------------------------------


def test_a_seat_is_taken_once_and_stays_on_the_roster_until_it_is_given_up(tmp_path: Path) -> None:
    roster = Roster(tmp_path / "roster")
    assert roster.list_entries() == []
    seat = roster.take_seat(KEY)
    assert seat is not None
    assert roster.take_seat(KEY) is None
    (entry,) = roster.list_entries()
    assert (entry.key, entry.supervisor is not None) == (KEY, True)
    seat.leave()
    again = roster.take_seat(KEY)
    assert again is not None
    again.give_up()
    assert roster.list_entries() == []


def test_strange_files_are_no_entries(tmp_path: Path) -> None:
    for name in (".lock", "devices.json", "job12345.x", "../up.1".replace("/", "-")):
        (tmp_path / name).write_text("{}")
    (tmp_path / "job12345.3").write_text("not json")
    (entry,) = Roster(tmp_path).list_entries()
    assert (entry.key.attempt, entry.supervisor) == (3, None)


def test_phases_add_up_over_supervisors(tmp_path: Path) -> None:
    clock = PhaseClock(tmp_path / "phases.json")
    began = time.time()
    time.sleep(0.05)
    clock.enter(Phase.LOADING)
    time.sleep(0.05)
    clock.enter(Phase.TRAINING, began + 0.06)
    del clock
    time.sleep(0.05)
    seconds = PhaseClock(tmp_path / "phases.json").close()
    assert seconds.keys() == {"preparing", "loading", "training"}
    assert sum(seconds.values()) == pytest.approx(time.time() - began, abs=0.03)
    assert seconds["loading"] < 0.03


# -- the client ----------------------------------------------------------------------------------------------


class _Answers(http.server.BaseHTTPRequestHandler):
    """Answers every POST as the test says."""

    status, body, delay = 200, b"{}", 0.0
    seen: list[dict[str, str]] = []  # noqa: RUF012 (emptied by each test)

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        type(self).seen.append(dict(self.headers))
        time.sleep(self.delay)
        with suppress(BrokenPipeError):  # a client that did not wait
            self.send_response(self.status)
            self.send_header("Content-Length", str(len(self.body)))
            self.end_headers()
            self.wfile.write(self.body)

    def log_message(self, *_: object) -> None:
        return


@pytest.fixture
def backend() -> Iterator[str]:
    """The address of a server that answers as `_Answers` is set."""
    _Answers.status, _Answers.body, _Answers.delay, _Answers.seen = 200, b"{}", 0.0, []
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Answers)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


BEAT = Heartbeat(name="gpu-1", devices=[])


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (500, b"", Away), (503, b"{}", Away), (401, b"{}", Away), (429, b"{}", Away), (200, b"<html>", Away),
        (200, b'{"assigned": [], "surprise": 1}', Away), (302, b"", Away), (404, b'{"detail": "gone"}', Refused),
        (409, b'"text"', Refused), (422, b"no json", Refused),
    ],
)  # fmt: skip
def test_every_bad_answer_is_away_or_refused(
    backend: str, status: int, body: bytes, error: type[Exception]
) -> None:
    _Answers.status, _Answers.body = status, body
    with pytest.raises(error):
        BackendClient(backend, "token").beat(BEAT)


def test_a_call_is_bounded_and_shows_its_token(backend: str) -> None:
    _Answers.delay = 2.0
    began = time.monotonic()
    with pytest.raises(Away):
        BackendClient(backend, "the-token", answer_seconds=0.3).beat(BEAT)
    assert time.monotonic() - began < 1.5
    assert _Answers.seen[0]["Authorization"] == "Bearer the-token"
    with pytest.raises(Away):
        BackendClient("http://127.0.0.1:9", "token").beat(BEAT)


def test_away_is_tried_again_until_it_is_hopeless(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api.time, "sleep", lambda _: None)
    tries, said = [0], []

    def act() -> str:
        tries[0] += 1
        if tries[0] < 4:
            raise Away("not there")
        return "done"

    assert retry_while_away(act, lambda: False, said.append) == "done"
    assert said == ["the backend is away (not there); trying again"]
    tries[0] = -100
    with pytest.raises(Away):
        retry_while_away(act, lambda: tries[0] > -90, said.append)
