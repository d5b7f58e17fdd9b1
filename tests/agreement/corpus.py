"""The corpus: over 300 small datasets, good ones and ones broken in every way that people report."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
from PIL import Image

from tests.agreement.corpus_embedded import list_embedded_cases, write_table
from tests.agreement.corpus_files import list_file_cases
from tests.agreement.corpus_rows import BAD, FORMS, Form, dump

_SUFFIXES = ("json", "jsonl", "parquet", "arrow")


@dataclass(frozen=True)
class Case:
    """A dataset: its files, its mapping and stage; the finding that it must have, and at which line (None: anywhere)."""

    name: str
    files: dict[str, bytes]
    info: dict[str, Any]
    stage: str
    code: str | None = None
    line: int | None = None

    def write(self, folder: Path) -> None:
        """Write the files."""
        for name, data in self.files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)


def list_cases() -> list[Case]:
    """Return all cases; their names are their own."""
    cases = [case for form in FORMS for suffix in _SUFFIXES for case in _list_form_cases(form, suffix)]
    pictures = build_pictures()
    cases += [Case(*case) for case in (*list_file_cases(pictures), *list_embedded_cases(pictures))]
    assert len({case.name for case in cases}) == len(cases)
    return cases


def _list_form_cases(form: Form, suffix: str) -> Iterator[Case]:
    pictures = build_pictures() if "pictures" in form.name else {}
    for name, (_, code) in form.breaks.items():
        data = write_rows(form.build(name), suffix)
        if data is None:
            continue
        line = {"json": BAD + 2}.get(suffix, BAD + 1) if code else None
        info = form.info | {"file_name": f"data.{suffix}"}
        yield Case(
            f"{form.name}/{name}/{suffix}",
            {f"data.{suffix}": data} | pictures,
            info,
            form.stage,
            code,
            line,
        )


def write_rows(rows: list[Any], suffix: str) -> bytes | None:
    """Return the rows as a file of this kind, one row a line; None where it cannot hold them."""
    if suffix == "json":
        return ("[\n" + ",\n".join(dump(row) for row in rows) + "\n]\n").encode()
    if suffix == "jsonl":
        return "".join(dump(row) + "\n" for row in rows).encode()
    names = list(dict.fromkeys(name for row in rows for name in row))
    try:
        table = pa.table({name: pa.array([row.get(name) for row in rows]) for name in names})
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        return None
    return write_table(table, suffix)


def build_pictures() -> dict[str, bytes]:
    """Return the pictures that rows name, whole and broken."""
    whole = Image.effect_noise((64, 48), 80).convert("RGB")
    pictures = {f"images/{number}.png": _encode(whole, "PNG") for number in range(6)}
    jpeg, webp = _encode(whole, "JPEG"), _encode(whole, "WEBP")
    return pictures | {
        "images/1.jpg": jpeg,
        "images/cut.jpg": jpeg[: len(jpeg) // 2],
        "images/cut.png": pictures["images/0.png"][:1500],
        "images/one.webp": webp,
        "images/cut.webp": webp[: len(webp) // 2],
        "images/grey.png": _encode(whole.convert("L"), "PNG"),
        "images/palette.gif": _encode(whole.convert("P"), "GIF"),
        "images/tiny.png": _encode(whole.resize((3, 2)), "PNG"),
        "images/words.png": b"this is no picture",
        "images/empty.png": b"",
    }


def _encode(picture: Image.Image, kind: str) -> bytes:
    file = io.BytesIO()
    picture.save(file, kind)
    return file.getvalue()
