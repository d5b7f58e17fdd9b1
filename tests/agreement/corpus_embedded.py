"""Datasets whose pictures lie in the rows themselves, as the Hugging Face hub's Parquet files have them."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass, field
from typing import Any

import av
import pyarrow as pa
import pyarrow.parquet as parquet
from PIL import Image

STRUCT = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
_TAGS = {"role_tag": "role", "content_tag": "content", "user_tag": "user", "assistant_tag": "assistant"}
TALKS: dict[str, Any] = {
    "formatting": "sharegpt",
    "columns": {"messages": "messages", "images": "images"},
    "tags": _TAGS,
}
_IMAGE = {"_type": "Image"}
_TEXTS = {
    "messages": [
        {"role": {"dtype": "string", "_type": "Value"}, "content": {"dtype": "string", "_type": "Value"}}
    ]
}
_BAD = 1
"""The row that differs, so that the line told is the second."""

EmbeddedCase = tuple[str, dict[str, bytes], dict[str, Any], str, str | None, int | None]


@dataclass(frozen=True)
class _Shape:
    """How a file holds its pictures: the column's type, its name in `datasets` (None: not said), the kind of file."""

    name: str
    kind: pa.DataType
    feature: Any = None
    suffix: str = "parquet"
    wrap: Any = field(default=lambda pictures: pictures)


def list_embedded_cases(pictures: dict[str, bytes]) -> list[EmbeddedCase]:
    """Return (name, files, mapping, stage, code, line) of all."""
    return [
        *_list_shapes(pictures),
        *_list_contents(pictures),
        *_list_forms(pictures),
        *_list_other_media(pictures),
    ]


def _list_shapes(pictures: dict[str, bytes]) -> list[EmbeddedCase]:
    """The same good rows in every shape, each with and without what `datasets` writes into the schema."""

    def first(items: list[Any]) -> Any:
        return items[0]

    def raw(items: list[Any]) -> list[Any]:
        return [item["bytes"] for item in items]

    shapes = [
        _Shape("list of structs", pa.list_(STRUCT)),
        _Shape("list of images", pa.list_(STRUCT), [_IMAGE]),
        _Shape("sequence of images", pa.list_(STRUCT), {"feature": _IMAGE, "_type": "Sequence"}),
        _Shape("list of images", pa.list_(STRUCT), {"feature": _IMAGE, "_type": "List"}, "arrow"),
        _Shape("images not decoded", pa.list_(STRUCT), [{"_type": "Image", "decode": False}]),
        _Shape("large list of structs", pa.large_list(STRUCT)),
        _Shape("list of structs", pa.list_(STRUCT), None, "arrow"),
        _Shape("one struct", STRUCT, None, "parquet", first),
        _Shape("one image", STRUCT, _IMAGE, "parquet", first),
        _Shape("one image", STRUCT, _IMAGE, "arrow", first),
        _Shape("bytes", pa.binary(), None, "parquet", lambda items: raw(items)[0]),
        _Shape("large bytes", pa.large_binary(), None, "parquet", lambda items: raw(items)[0]),
        _Shape("list of bytes", pa.list_(pa.binary()), None, "parquet", raw),
        _Shape("bytes as image", pa.binary(), _IMAGE, "parquet", lambda items: raw(items)[0]),
        _Shape(
            "paths as images",
            pa.list_(pa.string()),
            [_IMAGE],
            "parquet",
            lambda items: [i["path"] for i in items],
        ),
    ]
    good = [[_hold(pictures["images/0.png"], "images/0.png")] for _ in range(3)]
    return [_make(f"{shape.name}", shape, good, files=pictures) for shape in shapes]


def _list_contents(pictures: dict[str, bytes]) -> list[EmbeddedCase]:
    """Rows of which the second differs, in a list of structs, without and with a feature."""
    png = pictures["images/0.png"]
    contents: dict[str, tuple[Any, str | None]] = {
        "words": ([_hold(b"this is no picture")], "media_unreadable"),
        "no bytes": ([_hold(b"")], "media_unreadable"),
        "cut jpeg": ([_hold(pictures["images/cut.jpg"])], "media_unreadable"),
        "cut png": ([_hold(pictures["images/cut.png"])], "media_unreadable"),
        "webp": ([_hold(pictures["images/one.webp"])], None),
        "gif": ([_hold(pictures["images/palette.gif"])], None),
        "grey": ([_hold(pictures["images/grey.png"])], None),
        "path only": ([_hold(None, "images/0.png")], "media_as_object"),
        "path to nothing": ([_hold(None, "images/none.png")], "media_missing"),
        "neither": ([_hold(None)], "media_entry_broken"),
        "null in list": ([None], "media_entry_broken"),
        "null": (None, "placeholder_count"),
        "empty list": ([], "placeholder_count"),
        "two of them": ([_hold(png), _hold(png)], "placeholder_count"),
        "bytes and a path to nothing": ([_hold(png, "none.png")], None),
    }
    cases = []
    for shape in (_Shape("struct", pa.list_(STRUCT)), _Shape("image", pa.list_(STRUCT), [_IMAGE])):
        for name, (content, code) in contents.items():
            rows = [[_hold(png)] for _ in range(4)]
            rows[_BAD] = content
            cases.append(_make(f"{shape.name}/{name}", shape, rows, files=pictures, code=code))
    return cases


def _list_forms(pictures: dict[str, bytes]) -> list[EmbeddedCase]:
    """Other forms of rows, other fields beside the bytes, and JSON."""
    png = pictures["images/0.png"]
    only = pa.struct([("bytes", pa.binary())])
    more = pa.struct([("bytes", pa.binary()), ("path", pa.string()), ("width", pa.int64())])
    paths = pa.struct([("path", pa.string())])
    alpaca = {"columns": {"prompt": "instruction", "response": "output", "images": "image"}}
    table = pa.table(
        {
            "instruction": ["<image>what"] * 2,
            "output": ["a", "b"],
            "image": pa.array([_hold(png)] * 2, STRUCT),
        }
    )
    pairs = {
        "ranking": True,
        "columns": {"prompt": "instruction", "chosen": "chosen", "rejected": "rejected", "images": "image"},
    }
    pair = pa.table(
        {
            "instruction": ["<image>what"] * 2,
            "chosen": ["a", "b"],
            "rejected": ["c", "d"],
            "image": pa.array([[_hold(png)]] * 2, pa.list_(STRUCT)),
        }
    )
    return [
        _make("bytes only", _Shape("", pa.list_(only)), [[{"bytes": png}]] * 2, files={}),
        _make("more fields", _Shape("", pa.list_(more)), [[_hold(png) | {"width": 5}]] * 2, files={}),
        _make(
            "path only",
            _Shape("", pa.list_(paths)),
            [[{"path": "images/0.png"}]] * 2,
            files=pictures,
            code="media_as_object",
        ),
        (
            "embedded/alpaca.parquet",
            {"data.parquet": write_table(table, "parquet")},
            alpaca | {"file_name": "data.parquet"},
            "sft",
            None,
            None,
        ),
        (
            "embedded/pairs.parquet",
            {"data.parquet": write_table(pair, "parquet")},
            pairs | {"file_name": "data.parquet"},
            "rm",
            None,
            None,
        ),
        _make_lines("path only", [{"path": "images/0.png"}], pictures),
        _make_lines("null bytes", [{"bytes": None, "path": "images/0.png"}], pictures),
    ]


def _make_lines(name: str, images: list[Any], files: dict[str, bytes]) -> EmbeddedCase:
    row = json.dumps({"messages": _talk(0), "images": images}) + "\n"
    info = TALKS | {"file_name": "data.jsonl"}
    return f"embedded/{name}.jsonl", files | {"data.jsonl": row.encode()}, info, "sft", "media_as_object", 1


def _list_other_media(pictures: dict[str, bytes]) -> list[EmbeddedCase]:
    """Videos as bytes and as lists of pictures, which LLaMA-Factory takes as files only, and what is none."""
    png, film = pictures["images/0.png"], make_film()
    frames = pa.list_(pa.list_(STRUCT))
    return [
        _make_film_case("frames", frames, [[_hold(png), _hold(png)]], "media_as_object"),
        _make_film_case(
            "frames cut", frames, [[_hold(png), _hold(pictures["images/cut.png"])]], "media_unreadable"
        ),
        _make_film_case("films", pa.list_(STRUCT), [_hold(film)], "media_as_object"),
        _make_film_case("films as bytes", pa.list_(pa.binary()), [film], "media_as_object"),
        _make_film_case("pictures as films", pa.list_(STRUCT), [_hold(png)], "media_unreadable"),
    ]


def _make_film_case(name: str, kind: pa.DataType, value: Any, code: str) -> EmbeddedCase:
    table = pa.table({"messages": [_talk(0, "<video>")], "videos": pa.array([value], kind)})
    info = TALKS | {"columns": {"messages": "messages", "videos": "videos"}, "file_name": "data.parquet"}
    return f"embedded/{name}.parquet", {"data.parquet": write_table(table, "parquet")}, info, "sft", code, 1


def make_film() -> bytes:
    """Return a film of eight pictures."""
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as film:
        stream = film.add_stream("mpeg4", rate=4)
        stream.width, stream.height = 64, 64
        for number in range(8):
            picture = Image.new("RGB", (64, 64), (number * 30, 80, 80))
            for packet in stream.encode(av.VideoFrame.from_image(picture)):
                film.mux(packet)
        for packet in stream.encode():
            film.mux(packet)
    return file.getvalue()


def _hold(data: bytes | None, path: str | None = None) -> dict[str, Any]:
    return {"bytes": data, "path": path}


def _talk(number: int, mark: str = "<image>") -> list[dict[str, str]]:
    return [{"role": "user", "content": f"{mark}what is {number}"}, {"role": "assistant", "content": "a car"}]


def _make(
    name: str, shape: _Shape, rows: list[Any], *, files: dict[str, bytes], code: str | None = None
) -> EmbeddedCase:
    values = [None if row is None else shape.wrap(row) for row in rows]
    table = pa.table(
        {"messages": [_talk(number) for number in range(len(rows))], "images": pa.array(values, shape.kind)}
    )
    if shape.feature is not None:
        told = {"info": {"features": _TEXTS | {"images": shape.feature}}}
        table = table.replace_schema_metadata({"huggingface": json.dumps(told)})
    file_name = f"data.{shape.suffix}"
    info = TALKS | {"file_name": file_name}
    line = _BAD + 1 if code else None
    return (
        f"embedded/{name}.{shape.suffix}",
        files | {file_name: write_table(table, shape.suffix)},
        info,
        "sft",
        code,
        line,
    )


def write_table(table: pa.Table, suffix: str) -> bytes:
    """Return the table as a Parquet file, or as a stream of Arrow."""
    file = io.BytesIO()
    if suffix == "parquet":
        parquet.write_table(table, file)
    else:
        with pa.ipc.new_stream(file, table.schema) as writer:
            writer.write_table(table)
    return file.getvalue()
