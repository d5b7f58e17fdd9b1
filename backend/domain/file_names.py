"""Names of files and folders that people give: what may be one, and what is done to it first."""

from __future__ import annotations

import unicodedata

from backend.domain.errors import Invalid, Problem

MAX_NAME_BYTES = 255
"""The longest name that file systems hold, in UTF-8."""
MAX_DEPTH = 20
# Marks that turn the order of reading, so that a name shows as another one.
_TURNING = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def find_name_fault(name: str) -> tuple[str, str] | None:
    """Return what is wrong with one name of a file or folder, in English and Chinese, or None."""
    if not name.strip() or name in (".", ".."):
        return "a name is missing, or is only dots", "名称为空，或只有点号"
    if "/" in name or "\\" in name:
        return "a name may hold no slash", "名称中不能有斜杠"
    if any(unicodedata.category(letter) in ("Cc", "Cs") or letter in _TURNING for letter in name):
        return "a name may hold no control characters", "名称中不能有控制字符"
    if len(name.encode("utf-8", "surrogatepass")) > MAX_NAME_BYTES:
        return "a name is too long (255 bytes in UTF-8 at most)", "名称过长（UTF-8 编码最多 255 字节）"
    return None


def clean_name(name: str, loc: str = "file_name") -> str:
    """Return a name as it is kept, composed (NFC) and without spaces around it; raises Invalid if it can be none."""
    cleaned = unicodedata.normalize("NFC", name).strip()
    fault = find_name_fault(cleaned)
    if fault:
        raise Invalid([Problem((loc,), *fault)])
    return cleaned


def split_path(path: str, loc: str = "path") -> tuple[str, ...]:
    """Return the names of a path below a person's space; the empty path, or one slash, is the space itself."""
    parts = path.strip("/").split("/") if path.strip("/") else []
    if len(parts) > MAX_DEPTH:
        raise Invalid([Problem((loc,), f"at most {MAX_DEPTH} folders deep", f"文件夹最多 {MAX_DEPTH} 层")])
    return tuple(clean_name(part, loc) for part in parts)
