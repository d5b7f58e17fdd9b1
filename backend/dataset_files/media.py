"""Pictures, videos and audio that rows name: whether they are there, inside the dataset, and can be read."""

from __future__ import annotations

import io
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any

from PIL import Image, UnidentifiedImageError

from backend.dataset_files.embedded import get_bytes, is_embedded

_ENDINGS = {"JPEG": b"\xff\xd9", "PNG": b"IEND\xaeB\x60\x82", "GIF": b"\x3b"}
_VIDEO_MARKS = (
    (4, b"ftyp"),
    (0, b"\x1aE\xdf\xa3"),
    (0, b"RIFF"),
    (0, b"FLV"),
    (0, b"\x00\x00\x01\xba"),
    (0, b"\x47"),
)
_AUDIO_MARKS = (
    (0, b"RIFF"),
    (0, b"ID3"),
    (0, b"fLaC"),
    (0, b"OggS"),
    (0, b"\xff\xfb"),
    (0, b"\xff\xf3"),
    (4, b"ftyp"),
)

_WORDS = {"videos": ("video", "视频"), "audios": ("audio", "音频")}
AS_OBJECT = "media_as_object"
"""Of what can be read, but not by LLaMA-Factory; the cleaned copy has it in files that are named by their paths."""
Fault = tuple[str, str, str]
"""A finding's code, and the particulars in English and Chinese."""


class MediaFolder:
    """The media of one dataset; what was found out of a file is remembered, up to a limit."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._root = folder, folder.resolve()
        self._probe = lru_cache(maxsize=100_000)(self._probe_file)

    def probe(self, kind: str, item: Any) -> tuple[Fault | None, tuple[int, int] | None]:
        """Return what is wrong with one item of a row's media, and the size of a picture in pixels."""
        if isinstance(item, dict | bytes):
            return self._probe_embedded(kind, item)
        if isinstance(item, list):
            return self._probe_frames(item)
        if not isinstance(item, str) or not item:
            return ("media_entry_broken", f"{item!r} is no path.", f"{item!r} 不是路径。"), None
        return self._probe(kind, item)

    def _probe_frames(self, frames: list[Any]) -> tuple[Fault | None, tuple[int, int] | None]:
        size = None
        for frame in frames:
            fault, size = self.probe("images", frame)
            if fault and fault[0] != AS_OBJECT:
                return fault, None
        if is_embedded(frames):
            return _report_object("pictures of a video", "视频的各帧图片"), size
        return None, size

    def _probe_embedded(
        self, kind: str, item: dict[str, Any] | bytes
    ) -> tuple[Fault | None, tuple[int, int] | None]:
        """LLaMA-Factory opens bytes as pictures only, and a path in an object from its own folder, where it is not."""
        data = get_bytes(item)
        if data is None:
            assert isinstance(item, dict)
            fault, size = self.probe(kind, item.get("path"))
            return fault or _report_object("a path in an object", "写在对象中的路径"), size
        if kind == "images":
            return _probe_bytes(data)
        if not _is_film_or_sound(kind, data[:16]):
            word, word_zh = _WORDS[kind]
            return ("media_unreadable", f"These bytes are no {word}.", f"内嵌数据不是{word_zh}。"), None
        return _report_object(f"{_WORDS[kind][0]} as bytes", f"内嵌的{_WORDS[kind][1]}数据"), None

    def _probe_file(self, kind: str, name: str) -> tuple[Fault | None, tuple[int, int] | None]:
        path = self.find(name)
        if path is None:
            parts = PurePosixPath(name)
            if parts.is_absolute() or ".." in parts.parts or (self._folder / parts).is_symlink():
                return ("media_outside", f"{name!r}", f"{name!r}"), None
            return ("media_missing", f"{name!r} is not there.", f"找不到 {name!r}。"), None
        if kind == "images":
            return _probe_picture(path, name)
        with path.open("rb") as file:
            if _is_film_or_sound(kind, file.read(16)):
                return None, None
        word, word_zh = _WORDS[kind]
        return ("media_unreadable", f"{name!r} is no {word} file.", f"{name!r} 不是{word_zh}文件。"), None

    def find(self, name: str) -> Path | None:
        """Return the file that a row names, or None when it is not there or not inside the dataset."""
        parts = PurePosixPath(name)
        if parts.is_absolute() or ".." in parts.parts or "\0" in name:
            return None
        path = self._folder / parts
        try:
            inside = path.is_file() and path.resolve().is_relative_to(self._root)
        except (OSError, RuntimeError):
            return None
        return path if inside else None


def _is_film_or_sound(kind: str, start: bytes) -> bool:
    marks = _VIDEO_MARKS if kind == "videos" else _AUDIO_MARKS
    return any(start[place : place + len(mark)] == mark for place, mark in marks)


def _report_object(what: str, what_zh: str) -> Fault:
    return AS_OBJECT, f"LLaMA-Factory does not take {what}.", f"LLaMA-Factory 不支持{what_zh}。"


def _probe_picture(path: Path, name: str) -> tuple[Fault | None, tuple[int, int] | None]:
    try:
        with path.open("rb") as file:
            return None, _open_picture(file)
    except _UNREADABLE as error:
        why = str(error).replace(str(path), name)[:120]
        return ("media_unreadable", f"{name!r}: {why}", f"{name!r} 无法读取：{why}"), None


def _probe_bytes(data: bytes) -> tuple[Fault | None, tuple[int, int] | None]:
    try:
        return None, _open_picture(io.BytesIO(data))
    except _UNREADABLE as error:
        return ("media_unreadable", f"{str(error)[:120]}", f"内嵌图片无法读取：{str(error)[:120]}"), None


def _open_picture(file: Any) -> tuple[int, int]:
    """Return a picture's size from its header; one whose end is not as it should be is decoded, to be sure."""
    with Image.open(file) as picture:
        size: tuple[int, int] = picture.size
        ending = _ENDINGS.get(picture.format or "")
        if ending is None or not _ends_well(file, ending):
            file.seek(0)
            with Image.open(file) as whole:
                whole.load()
    return size


def _ends_well(file: Any, ending: bytes) -> bool:
    file.seek(0, io.SEEK_END)
    length = file.tell()
    file.seek(max(0, length - 64))
    return ending in file.read()


_UNREADABLE = (
    UnidentifiedImageError,
    Image.DecompressionBombError,
    OSError,
    ValueError,
    SyntaxError,
    EOFError,
)
