"""Checking, masking and sealing a SwanLab key; the fake cloud answers as a process of its own."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable

import pytest

from backend.domain.errors import Invalid
from backend.swanlab import (
    KEY_LENGTH,
    SealBroken,
    check_key,
    is_key,
    mask_key,
    normalize_host,
    open_key,
    seal_key,
)
from tests.conftest import find_free_port
from tests.fakes.swanlab_cloud import DEFAULT_KEY, USERNAME
from tests.swanlab.conftest import FakeCloud

SECRET = b"a platform's secret key of 32 characters"
UNKNOWN_KEY = "x" * KEY_LENGTH


def test_a_known_key_is_verified_with_its_owner(start_cloud: Callable[..., FakeCloud]) -> None:
    cloud = start_cloud()
    check = check_key(DEFAULT_KEY, cloud.url, cloud.url)
    assert (check.status, check.username, check.reason) == ("verified", USERNAME, "verified")
    (request,) = cloud.requests
    assert (request["method"], request["path"]) == ("POST", "/api/login/api_key")
    assert request["headers"].pop("authorization") == DEFAULT_KEY
    assert DEFAULT_KEY not in json.dumps(request)


@pytest.mark.parametrize(
    ("mode", "key", "status", "reason"),
    [
        ("ok", UNKNOWN_KEY, "rejected", "refused"),
        ("unverified", DEFAULT_KEY, "rejected", "unverified_account"),
        ("error", DEFAULT_KEY, "unreachable", "no_connection"),
        ("garbage", DEFAULT_KEY, "unreachable", "odd_answer"),
        ("redirect", DEFAULT_KEY, "unreachable", "odd_answer"),
        ("die", DEFAULT_KEY, "unreachable", "no_connection"),
    ],
)
def test_what_the_answer_says(
    mode: str, key: str, status: str, reason: str, start_cloud: Callable[..., FakeCloud]
) -> None:
    cloud = start_cloud(mode)
    check = check_key(key, cloud.url)
    assert (check.status, check.reason, check.username) == (status, reason, None)
    assert check.detail
    assert check.detail_zh
    assert len(cloud.requests) == 1, "no redirect is followed"


def test_silence_is_unreachable_in_time(start_cloud: Callable[..., FakeCloud]) -> None:
    cloud = start_cloud("hang")
    began = time.monotonic()
    check = check_key(DEFAULT_KEY, cloud.url, timeout=1.0)
    assert (check.status, check.reason) == ("unreachable", "timeout")
    assert time.monotonic() - began < 3


def test_an_answer_in_drops_is_unreachable_in_time() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()

        def drip() -> None:
            connection, _ = listener.accept()
            with connection:
                try:
                    for letter in b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 100:
                        connection.sendall(bytes([letter]))
                        time.sleep(0.1)
                except OSError:
                    return

        threading.Thread(target=drip, daemon=True).start()
        began = time.monotonic()
        check = check_key(DEFAULT_KEY, f"http://127.0.0.1:{listener.getsockname()[1]}", timeout=1.0)
    assert (check.status, check.reason) == ("unreachable", "timeout")
    assert time.monotonic() - began < 3


def test_nobody_there_is_unreachable() -> None:
    assert check_key(DEFAULT_KEY, f"http://127.0.0.1:{find_free_port()}").reason == "no_connection"
    assert check_key(DEFAULT_KEY, "https://swanlab.invalid").status == "unreachable"


@pytest.mark.parametrize("key", ["", "short", "x" * 20, "x" * 22, "密" * 21, "x" * 20 + "\n", "x" * 20 + " "])
def test_what_is_no_key_is_rejected_without_asking(key: str, start_cloud: Callable[..., FakeCloud]) -> None:
    cloud = start_cloud()
    check = check_key(key, cloud.url)
    assert (check.status, check.reason) == ("rejected", "format")
    assert cloud.requests == []
    assert not is_key(key)


@pytest.mark.parametrize(
    "host", ["http://127.0.0.1", "http://localhost", "http://10.0.0.8", "http://169.254.169.254"]
)
def test_private_hosts_are_not_asked_where_the_administrator_says_so(host: str) -> None:
    check = check_key(DEFAULT_KEY, host, allow_private_hosts=False, timeout=3)
    assert (check.status, check.reason) == ("unreachable", "private_host")


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("https://api.swanlab.cn", "https://api.swanlab.cn"),
        ("  swanlab.example.com/ ", "https://swanlab.example.com"),
        ("http://192.168.1.5:8000", "http://192.168.1.5:8000"),
        ("HTTPS://SwanLab.Example.COM", "https://swanlab.example.com"),
        ("http://swanlab-server_1:80/", "http://swanlab-server_1:80"),
    ],
)
def test_hosts_are_normalized(text: str, host: str) -> None:
    assert normalize_host(text) == host


@pytest.mark.parametrize(
    "text",
    [
        "", " ", "https://", "ftp://a.b", "file:///etc/passwd", "gopher://a", "https://user:pw@a.b", "https://@a.b",
        "https://a.b/path", "https://a.b/../x", "https://a.b?x=1", "https://a.b?", "https://a.b#f", "https://a.b:99999",
        "https://a.b:x", "https://[::1]:80", "https://a b", "https://a.b\nX: y", "https://a.b\\@c.d", "https://a..b",
        "https://-a.b", "https://例子.cn", "javascript:alert(1)", "https://" + "a" * 400,
    ],
)  # fmt: skip
def test_what_is_no_host_is_refused_by_name(text: str) -> None:
    with pytest.raises(Invalid) as caught:
        normalize_host(text, "web_host")
    assert caught.value.problems[0].loc == ("web_host",)
    with pytest.raises(Invalid):
        check_key(DEFAULT_KEY, text)


def test_a_masked_key_shows_five_characters_at_most() -> None:
    masked = mask_key(DEFAULT_KEY)
    assert len(masked) == KEY_LENGTH
    assert masked.startswith("fak")
    assert masked.endswith("01")
    assert DEFAULT_KEY[3:-2] not in masked
    assert set(mask_key("short")) == {"•"}


def test_a_sealed_key_opens_for_its_owner_only() -> None:
    sealed = seal_key(SECRET, "user1", DEFAULT_KEY)
    assert DEFAULT_KEY not in sealed
    assert open_key(SECRET, "user1", sealed) == DEFAULT_KEY
    assert sealed != seal_key(SECRET, "user1", DEFAULT_KEY), "no two seals are alike"
    with pytest.raises(SealBroken):
        open_key(SECRET, "user2", sealed)


def test_a_seal_survives_a_change_of_the_secret_key_when_the_old_one_is_given() -> None:
    sealed = seal_key(SECRET, "user1", DEFAULT_KEY)
    new = b"the next secret key, also long enough"
    assert open_key(new, "user1", sealed, SECRET) == DEFAULT_KEY
    with pytest.raises(SealBroken):
        open_key(new, "user1", sealed)


@pytest.mark.parametrize(
    "damage", ["", "v1", "v1.x", "v1.00000000.AAAA", "v2.{id}.{body}", "v1.{id}.AAAA", "v1.{id}.!"]
)
def test_a_damaged_seal_is_told_as_such(damage: str) -> None:
    _, key_id, body = seal_key(SECRET, "user1", DEFAULT_KEY).split(".")
    with pytest.raises(SealBroken):
        open_key(SECRET, "user1", damage.format(id=key_id, body=body))
