"""SwanLab's cloud as seen by the platform: checking a person's key, and keeping it sealed at rest."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import ipaddress
import re
import secrets
import socket
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

import httpx
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from backend.domain.errors import Invalid, Problem, TuneforgeError

DEFAULT_HOST = "https://api.swanlab.cn"
DEFAULT_WEB_HOST = "https://swanlab.cn"
KEY_LENGTH = 21
CHECK_SECONDS = 8.0
"""How long a check may take in all, names looked up and answer read."""

KeyStatus = Literal["verified", "rejected", "unreachable"]

_KEY = re.compile(rf"[A-Za-z0-9_-]{{{KEY_LENGTH}}}")
_HOST_NAME = re.compile(
    r"(?=.{1,253}$)[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9])?(\.[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9])?)*\.?"
)
_ANSWER_LIMIT = 64 * 1024

# What a person reads, by the reason of a status: English, Chinese.
_SENTENCES: dict[str, tuple[str, str]] = {
    "verified": ("SwanLab knows this key.", "SwanLab 已确认该密钥有效。"),
    "format": (
        f"A SwanLab key has {KEY_LENGTH} letters, digits, - or _. Copy it again from SwanLab's settings.",
        f"SwanLab 密钥由 {KEY_LENGTH} 位字母、数字、- 或 _ 组成，请到 SwanLab 设置页重新复制。",
    ),
    "refused": (
        "SwanLab does not know this key. Copy it again from SwanLab's settings, or make a new one there.",
        "SwanLab 不认识该密钥，请到 SwanLab 设置页重新复制或新建一个。",
    ),
    "unverified_account": (
        "SwanLab wants this account to be verified first. Finish that on SwanLab's site, then check again.",
        "SwanLab 要求先完成该账号的认证，请在 SwanLab 网站完成后再校验。",
    ),
    "timeout": (
        "SwanLab did not answer in time. The key is kept and checked again before it is used.",
        "SwanLab 未在规定时间内响应。密钥已保留，使用前会再次校验。",
    ),
    "no_connection": (
        "SwanLab could not be reached at this address. The key is kept and checked again before it is used.",
        "无法连接到该 SwanLab 地址。密钥已保留，使用前会再次校验。",
    ),
    "odd_answer": (
        "Something answered at this address, but not as SwanLab does. Check the address.",
        "该地址有响应，但不是 SwanLab 的响应，请检查地址。",
    ),
    "private_host": (
        "This address lies in a private network, which the administrator does not allow.",
        "该地址位于内网，管理员未允许使用。",
    ),
}


@dataclass(frozen=True)
class KeyCheck:
    """What SwanLab said about a key; `reason` is stable, `detail` and `detail_zh` are for people."""

    status: KeyStatus
    username: str | None
    reason: str
    detail: str
    detail_zh: str


class SealBroken(TuneforgeError):
    """A sealed key cannot be opened: the platform's secret key changed, or the row is another person's."""

    code = "swanlab_seal_broken"
    status = 409
    title = "The stored SwanLab key cannot be read"


def check_key(
    api_key: str,
    host: str = DEFAULT_HOST,
    web_host: str = DEFAULT_WEB_HOST,
    timeout: float = CHECK_SECONDS,
    *,
    allow_private_hosts: bool = True,
) -> KeyCheck:
    """Ask SwanLab at `host` whether it knows `api_key`, in `timeout` seconds at most.

    The call is the one the client itself logs in with: `POST {host}/api/login/api_key`, the key in the header
    `authorization`. 401 and 403 reject; whatever else is not a log-in, silence included, is `unreachable`, as
    it says nothing about the key. No redirect is followed, so the key goes to this host only.
    Raises Invalid when `host` or `web_host` (where its pages are; not asked) is no address.
    """
    normalize_host(web_host, "web_host")
    if not is_key(api_key):
        return _conclude("rejected", "format")
    target = normalize_host(host, "host")
    try:
        return asyncio.run(asyncio.wait_for(_ask(target, api_key, allow_private_hosts), timeout))
    except (TimeoutError, httpx.TimeoutException):
        return _conclude("unreachable", "timeout")
    except (httpx.HTTPError, httpx.InvalidURL, OSError, UnicodeError):
        return _conclude("unreachable", "no_connection")


def is_key(text: str) -> bool:
    """Whether `text` has the form of a SwanLab key (21 characters of nanoid's alphabet)."""
    return _KEY.fullmatch(text) is not None


def mask_key(api_key: str) -> str:
    """Return what may be shown of a key: its first three and last two characters."""
    return f"{api_key[:3]}{'•' * 16}{api_key[-2:]}" if len(api_key) >= KEY_LENGTH else "•" * KEY_LENGTH


def normalize_host(host: str, field: str = "host") -> str:
    """Return `host` as `scheme://name[:port]`, the only form that the client keeps.

    A missing scheme means https. Raises Invalid, naming `field`, for another scheme, a user name, a path, a
    query, an IPv6 literal (the client loses its brackets) or a name that is none.
    """
    text = host.strip()
    if len(text) > 300 or re.search(r"[\s\x00-\x1f\x7f\\]", text):
        raise _bad_host(field, "is too long or holds blanks", "过长或含有空格")
    if "://" not in text:
        text = f"https://{text}"
    try:
        parts = urlsplit(text)
        name, port = parts.hostname, parts.port
    except ValueError:
        raise _bad_host(field, "is not an address", "不是有效地址") from None
    if parts.scheme not in ("http", "https"):
        raise _bad_host(field, "must begin with https:// or http://", "需以 https:// 或 http:// 开头")
    if parts.username is not None or parts.password is not None or "@" in parts.netloc:
        raise _bad_host(field, "must not hold a user name", "不能包含用户名")
    if parts.path not in ("", "/") or parts.query or parts.fragment or "?" in text or "#" in text:
        raise _bad_host(
            field, "must end after the name and port, without a path", "只能写到主机名和端口，不能带路径"
        )
    if name is None or not _HOST_NAME.fullmatch(name):
        raise _bad_host(
            field,
            "needs a host name or IPv4 address, such as https://swanlab.example.com",
            "需要主机名或 IPv4 地址，例如 https://swanlab.example.com",
        )
    return f"{parts.scheme}://{name}" + (f":{port}" if port is not None else "")


def seal_key(secret_key: bytes, user_id: str, api_key: str) -> str:
    """Return `api_key` encrypted (AES-256-GCM) for the row of `user_id`, as `v1.<key id>.<base64url>`."""
    cipher_key = _derive(secret_key)
    nonce = secrets.token_bytes(12)
    sealed = AESGCM(cipher_key).encrypt(nonce, api_key.encode(), _bind(user_id))
    return f"v1.{_name_key(cipher_key)}.{base64.urlsafe_b64encode(nonce + sealed).decode()}"


def open_key(secret_key: bytes, user_id: str, sealed: str, *older_keys: bytes) -> str:
    """Return the key that `seal_key` sealed for `user_id`; `older_keys` are secret keys used before a change.

    Raises SealBroken when no given secret key made the seal, or when it was made for somebody else.
    """
    try:
        version, key_id, body = sealed.split(".")
        raw = base64.urlsafe_b64decode(body)
    except ValueError:
        raise SealBroken("The stored SwanLab key is damaged. Enter it again.") from None
    for candidate in (secret_key, *older_keys):
        cipher_key = _derive(candidate)
        if version != "v1" or _name_key(cipher_key) != key_id:
            continue
        try:
            return AESGCM(cipher_key).decrypt(raw[:12], raw[12:], _bind(user_id)).decode()
        except (InvalidTag, ValueError):
            break
    raise SealBroken("The stored SwanLab key was sealed with another secret key. Enter it again.")


async def _ask(host: str, api_key: str, allow_private_hosts: bool) -> KeyCheck:
    url, headers = f"{host}/api/login/api_key", {"authorization": api_key}
    extensions: dict[str, str] = {}
    if not allow_private_hosts:
        address = await _find_public_address(host)
        if address is None:
            return _conclude("unreachable", "private_host")
        # The address looked at is the address asked, so that a name cannot change its mind in between.
        parts = urlsplit(host)
        headers["host"], extensions["sni_hostname"] = parts.netloc, parts.hostname or ""
        url = url.replace(parts.netloc, f"{address}:{parts.port}" if parts.port else address, 1)
    # The caller bounds the whole: this timeout is per read, and an answer could come in drops.
    client = httpx.AsyncClient(timeout=CHECK_SECONDS, follow_redirects=False, trust_env=allow_private_hosts)
    async with client, client.stream("POST", url, headers=headers, extensions=extensions) as response:
        if response.status_code == 401:
            return _conclude("rejected", "refused")
        if response.status_code == 403:
            return _conclude("rejected", "unverified_account")
        body = b""
        async for chunk in response.aiter_bytes():
            body += chunk
            if len(body) > _ANSWER_LIMIT:
                return _conclude("unreachable", "odd_answer")
        return _read_login(response.status_code, body)


def _read_login(status_code: int, body: bytes) -> KeyCheck:
    if not 200 <= status_code < 300:
        return _conclude("unreachable", "odd_answer" if status_code < 500 else "no_connection")
    try:
        answer = httpx.Response(200, content=body).json()
        username = answer["userInfo"]["username"]
        known = isinstance(answer["sid"], str) and isinstance(username, str)
    except (ValueError, KeyError, TypeError):
        known = False
    if not known:
        return _conclude("unreachable", "odd_answer")
    return _conclude("verified", "verified", username=re.sub(r"[\x00-\x1f\x7f]", "", username)[:100])


def _conclude(status: KeyStatus, reason: str, username: str | None = None) -> KeyCheck:
    english, chinese = _SENTENCES[reason]
    return KeyCheck(status=status, username=username, reason=reason, detail=english, detail_zh=chinese)


async def _find_public_address(host: str) -> str | None:
    """Return an address of `host`, or None when any address it has is not a public one."""
    parts = urlsplit(host)
    found = await asyncio.get_running_loop().getaddrinfo(
        parts.hostname, parts.port or 443, family=socket.AF_INET, type=socket.SOCK_STREAM
    )
    addresses = [str(entry[4][0]) for entry in found]
    if not addresses or not all(ipaddress.ip_address(address).is_global for address in addresses):
        return None
    return addresses[0]


def _bad_host(field: str, why: str, why_zh: str) -> Invalid:
    return Invalid([Problem((field,), f"the SwanLab address {why}", f"SwanLab 地址{why_zh}")])


def _derive(secret_key: bytes) -> bytes:
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=b"tuneforge swanlab api key v1").derive(
        secret_key
    )


def _name_key(cipher_key: bytes) -> str:
    return hashlib.sha256(b"key id" + cipher_key).hexdigest()[:8]


def _bind(user_id: str) -> bytes:
    return b"swanlab_api_key\x00" + user_id.encode()
