"""Pictures, videos and sounds that lie in the rows themselves: as bytes, or as objects with `bytes` and `path`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from hashlib import blake2b
from typing import Any

Keep = Callable[[str, int, int, bytes], str]
"""Is given the kind of media, the row's number, the place within the row and the bytes; says what to call them."""

_KINDS = (
    (0, b"\xff\xd8\xff", ".jpg", "image/jpeg"),
    (0, b"\x89PNG\r\n\x1a\n", ".png", "image/png"),
    (0, b"GIF8", ".gif", "image/gif"),
    (8, b"WEBP", ".webp", "image/webp"),
    (0, b"BM", ".bmp", "image/bmp"),
    (8, b"WAVE", ".wav", "audio/wav"),
    (8, b"AVI ", ".avi", "video/x-msvideo"),
    (4, b"ftypM4A", ".m4a", "audio/mp4"),
    (4, b"ftyp", ".mp4", "video/mp4"),
    (0, b"\x1aE\xdf\xa3", ".webm", "video/webm"),
    (0, b"fLaC", ".flac", "audio/flac"),
    (0, b"OggS", ".ogg", "audio/ogg"),
    (0, b"ID3", ".mp3", "audio/mpeg"),
    (0, b"\xff\xfb", ".mp3", "audio/mpeg"),
    (0, b"\xff\xf3", ".mp3", "audio/mpeg"),
)


def find_kind(data: bytes) -> tuple[str, str]:
    """Return the ending of a file name, and the media type, for what these bytes begin like."""
    for place, mark, ending, media_type in _KINDS:
        if data[place : place + len(mark)] == mark:
            return ending, media_type
    return ".bin", "application/octet-stream"


def get_bytes(item: Any) -> bytes | None:
    """Return what an item of a row's media holds itself, None where it holds nothing."""
    data = item.get("bytes") if isinstance(item, dict) else item
    return data if isinstance(data, bytes) else None


def is_embedded(item: Any) -> bool:
    """Whether an item is no path, or, as a video of pictures, a list of what is none."""
    return any(is_embedded(one) for one in item) if isinstance(item, list) else isinstance(item, dict | bytes)


def list_items(items: list[Any]) -> Iterator[Any]:
    """Yield all items, those of lists within too, in order."""
    for item in items:
        if isinstance(item, list):
            yield from list_items(item)
        else:
            yield item


def name_embedded(kind: str, row: int, items: list[Any], keep: Keep) -> list[Any]:
    """Return the items with a name for each that holds bytes, and with the path of each that is an object."""
    place = 0

    def name(item: Any) -> Any:
        nonlocal place
        if isinstance(item, list):
            return [name(one) for one in item]
        place += 1
        data = get_bytes(item)
        if data is not None:
            return keep(kind, row, place - 1, data)
        return item.get("path") if isinstance(item, dict) else item

    return [name(item) for item in items]


def name_by_content(_kind: str, _row: int, _place: int, data: bytes) -> str:
    """Return a name that equal bytes share: all that a check needs of a picture that it has looked at."""
    return f"embedded {blake2b(data, digest_size=16).hexdigest()}"
