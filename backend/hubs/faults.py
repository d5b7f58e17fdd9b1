"""What a hub's failures are called, and what a person is told to do about them."""

from __future__ import annotations

from backend.domain.errors import TuneforgeError


class HubFault(TuneforgeError):
    """The hub did not give what was asked for; asking again later may help, or never, as its text says."""

    code = "hub_unavailable"
    status = 502
    title = "The hub did not give this"


def refused(hub: str, repo_id: str) -> HubFault:
    """The hub wants somebody known, who has accepted the repository's licence."""
    return HubFault(
        f"{hub} does not give {repo_id!r} to us: accept its licence on the hub's site, and have an administrator set "
        "a token of that account; then start again.",
        zh=f"{hub} 拒绝提供“{repo_id}”：请先在该网站接受许可证，并由管理员设置相应账号的令牌，然后重新开始。",
        code="hub_refused",
    )


def not_found(hub: str, repo_id: str, revision: str | None) -> HubFault:
    """There is no such repository or revision."""
    which = f"{repo_id!r} at {revision!r}" if revision else f"{repo_id!r}"
    return HubFault(
        f"{hub} has no repository {which}, or it is private. Check the name.",
        zh=f"{hub} 上没有“{repo_id}”{'的版本 ' + revision if revision else ''}，或它未公开。请检查名称。",
        code="hub_not_found",
    )


def busy(hub: str) -> HubFault:
    """The hub limits how much we may ask."""
    return HubFault(
        f"{hub} answers that we ask too often (429). Go on in some minutes; what has arrived is kept.",
        zh=f"{hub} 提示请求过于频繁（429）。请几分钟后继续，已下载的部分会保留。",
        code="hub_busy",
    )


def unavailable(hub: str, why: str) -> HubFault:
    """The hub is broken, or the way to it."""
    return HubFault(
        f"{hub} cannot be reached or does not answer properly ({why}). Go on later; what has arrived is kept.",
        zh=f"无法从 {hub} 正常获取内容（{why}）。请稍后继续，已下载的部分会保留。",
        code="hub_unavailable",
    )


def wrong_content(hub: str, path: str) -> HubFault:
    """What arrived is not what the hub itself says the file is."""
    return HubFault(
        f"{path}: the bytes that arrived are not those that {hub} lists (size or hash differ). They were thrown away; "
        "start again, or choose the other hub.",
        zh=f"{path}：收到的内容与 {hub} 列出的大小或哈希不符，已丢弃。请重试，或换另一个站点。",
        code="hub_wrong_content",
    )


def private_redirect(hub: str) -> HubFault:
    """The hub sent us to an address inside our own network."""
    return HubFault(
        f"{hub} redirects to an address that is not public. If that is meant, an administrator sets "
        "TUNEFORGE_HUB_REDIRECTS=any.",
        zh=f"{hub} 重定向到了非公网地址。如确有需要，请管理员设置 TUNEFORGE_HUB_REDIRECTS=any。",
        code="hub_private_redirect",
    )
