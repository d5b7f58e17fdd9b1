"""In which encoding a text file is, said clearly."""

from __future__ import annotations

import codecs
from dataclasses import dataclass
from pathlib import Path

from backend.dataset_files.reading import FileProblem

_MARKS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))
_BLOCK = 1 << 20


@dataclass(frozen=True)
class Encoding:
    """`name` for Python's codecs; `line` is the first line that is not UTF-8, None where all are."""

    name: str
    line: int | None

    @property
    def is_utf8(self) -> bool:
        """Whether LLaMA-Factory can decode the file."""
        return self.name in ("utf-8", "utf-8-sig")


def find_encoding(path: Path) -> Encoding:
    """Read the file once, in blocks, and return its encoding: UTF-8 if it can be, else UTF-16, GBK or Latin-1."""
    with path.open("rb") as file:
        start = file.read(4)
        for mark, name in _MARKS:
            if start.startswith(mark):
                return Encoding(name, None if name == "utf-8-sig" and _find_bad_line(path) is None else 1)
    line = _find_bad_line(path)
    if line is None:
        return Encoding("utf-8", None)
    if start[1:2] == b"\0" or start[:1] == b"\0":
        return Encoding("utf-16-le" if start[1:2] == b"\0" else "utf-16-be", 1)
    return Encoding("gb18030" if _decodes(path, "gb18030") else "latin-1", line)


def _find_bad_line(path: Path) -> int | None:
    line, decoder = 1, codecs.getincrementaldecoder("utf-8")()
    with path.open("rb") as file:
        while True:
            block = file.read(_BLOCK)
            try:
                text = decoder.decode(block, final=not block)
            except UnicodeDecodeError as error:
                return line + error.object[: error.start].count(b"\n")
            if not block:
                return None
            line += text.count("\n")


def _decodes(path: Path, name: str) -> bool:
    decoder = codecs.getincrementaldecoder(name)()
    with path.open("rb") as file:
        try:
            while block := file.read(_BLOCK):
                decoder.decode(block)
            decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            return False
    return True


def report_encoding(name: str, line: int | None) -> FileProblem:
    """Return the finding that a file is not UTF-8."""
    title = {"gb18030": "GBK", "latin-1": "Latin-1"}.get(name, "UTF-16")
    return FileProblem(
        "encoding_wrong", line, None, None, f"It looks like {title}.", f"看起来是 {title} 编码。"
    )
