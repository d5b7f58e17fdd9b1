"""Requests to one hub: its token stays with it, redirects are looked at before they are followed."""

from __future__ import annotations

import ipaddress
import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import httpx

from backend.domain.hub_files import HubName
from backend.hubs import faults
from backend.settings import get_settings

NAMES = {"huggingface": "Hugging Face", "modelscope": "ModelScope"}
_MOST_REDIRECTS = 5
MOST_LISTING_BYTES = 64 << 20


@dataclass(frozen=True)
class HubAddress:
    """Where a hub is, and who we are there."""

    hub: HubName
    endpoint: str
    token: str | None
    timeout_seconds: float
    any_redirect: bool

    @property
    def name(self) -> str:
        return NAMES[self.hub]


def read_address(hub: HubName) -> HubAddress:
    """Return a hub's address as the settings have it."""
    settings = get_settings()
    endpoint, token = (
        (settings.huggingface_endpoint, settings.huggingface_token)
        if hub == "huggingface"
        else (settings.modelscope_endpoint, settings.modelscope_token)
    )
    redirects = settings.hub_redirects == "any"
    return HubAddress(hub, endpoint.rstrip("/"), token, settings.hub_timeout_seconds, redirects)


class HubConnection:
    """Speaks to one hub until it is closed."""

    def __init__(self, address: HubAddress) -> None:
        self.address = address
        timeout = httpx.Timeout(address.timeout_seconds)
        self._client = httpx.Client(timeout=timeout, follow_redirects=False)

    def __enter__(self) -> HubConnection:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    @contextmanager
    def open(self, path: str, headers: dict[str, str] | None = None) -> Iterator[httpx.Response]:
        """Yield the answer to a GET below the endpoint, its body unread, after all redirects."""
        url = httpx.URL(self.address.endpoint + path)
        for _ in range(_MOST_REDIRECTS + 1):
            # Bytes as they are: a compressed answer could not be resumed, nor compared with its listed size.
            response = self._client.send(
                self._build_request(url, {"Accept-Encoding": "identity"} | (headers or {})), stream=True
            )
            if not response.is_redirect:
                try:
                    yield response
                finally:
                    response.close()
                return
            response.close()
            url = url.join(response.headers["location"])
        raise faults.unavailable(self.address.name, "too many redirects")

    def _identify(self) -> dict[str, str]:
        token = self.address.token
        if not token:
            return {}
        if self.address.hub == "modelscope":
            return {"Cookie": f"m_session_id={token}"}
        return {"Authorization": f"Bearer {token}"}

    def _build_request(self, url: httpx.URL, headers: dict[str, str]) -> httpx.Request:
        """Return a request to the hub itself, or to where it redirects: then to the very address that was looked at,
        as a name may lead elsewhere when it is asked a second time."""
        if _get_origin(url) == _get_origin(httpx.URL(self.address.endpoint)):
            return self._client.build_request("GET", url, headers=headers | self._identify())
        if self.address.any_redirect:
            return self._client.build_request("GET", url, headers=headers)
        return self._client.build_request(
            "GET",
            url.copy_with(host=self._find_public(url)),
            headers=headers | {"Host": url.netloc.decode("ascii")},
            extensions={"sni_hostname": url.host},
        )

    def _find_public(self, url: httpx.URL) -> str:
        """Return an address of the URL's host; a host of which any is not public is refused."""
        addresses = _look_up(url.host, url.port or 443) if url.scheme in ("http", "https") else []
        if not addresses or not all(map(_is_public, addresses)):
            raise faults.private_redirect(self.address.name)
        return addresses[0]

    def read_json(self, path: str) -> Any:
        """Return the JSON that the hub answers with; httpx's errors and ValueError where it is none."""
        return json.loads(self._read(path))

    def read_text(self, path: str) -> str:
        """Return a text file."""
        return self._read(path).decode("utf-8", "replace")

    def _read(self, path: str) -> bytes:
        with self.open(path) as response:
            response.raise_for_status()
            pieces, size = [], 0
            for piece in response.iter_bytes():
                size += len(piece)
                if size > MOST_LISTING_BYTES:
                    raise ValueError("the list of files is too long")
                pieces.append(piece)
        return b"".join(pieces)


def _get_origin(url: httpx.URL) -> tuple[str, str, int | None]:
    parts = urlsplit(str(url))
    return parts.scheme, parts.hostname or "", parts.port


def _look_up(host: str, port: int) -> list[str]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return [""]
    return [str(entry[4][0]) for entry in found]


def _is_public(address: str) -> bool:
    try:
        return ipaddress.ip_address(address.partition("%")[0]).is_global
    except ValueError:
        return False
