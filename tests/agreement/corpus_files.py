"""Datasets that are broken, or odd, as files: encodings, broken JSON, CSV, tables, folders, stages, large ones."""

from __future__ import annotations

import io
import json
from typing import Any

import pyarrow as pa
import pyarrow.parquet as parquet

from tests.agreement.corpus_rows import (
    OPENAI_TAGS,
    dump,
    make_alpaca,
    make_kto,
    make_pair,
    make_pictures,
    make_sharegpt,
    make_talk_kto,
    talk,
)

ALPACA: dict[str, Any] = {"columns": {"prompt": "instruction", "query": "input", "response": "output"}}
SHAREGPT: dict[str, Any] = {"formatting": "sharegpt", "columns": {"messages": "conversations"}}
_QA: dict[str, Any] = {"columns": {"prompt": "q", "response": "a"}}
FileCase = tuple[str, dict[str, bytes], dict[str, Any], str, str | None, int | None]


def list_file_cases(pictures: dict[str, bytes]) -> list[FileCase]:
    """Return (name, files, mapping, stage, code, line) of all."""
    return [
        *_list_json(),
        *_list_encodings(),
        *_list_csv(),
        *_list_text(),
        *_list_tables(),
        *_list_mappings(),
        *_list_stages(),
        *_list_large(pictures),
    ]


def _one(
    name: str, text: str | bytes, info: dict[str, Any], code: str | None = None, line: int | None = None
) -> FileCase:
    file_name = f"data.{name.rpartition('.')[2]}"
    data = text.encode() if isinstance(text, str) else text
    return name, {file_name: data}, {"file_name": file_name} | info, "sft", code, line


def lines(*rows: Any) -> str:
    """Return rows as JSON lines; text stands as it is."""
    return "".join((row if isinstance(row, str) else dump(row)) + "\n" for row in rows)


def _list_json() -> list[FileCase]:
    a, b, c = (make_alpaca(number) for number in range(3))
    x, y, z = dump(a), dump(b), dump(c)
    cases: list[tuple[str, str, str | None, int | None]] = [
        ("blank lines.jsonl", f"\n{x}\n\n  \n{y}\n\n", None, None),
        ("no newline at the end.jsonl", f"{x}\n{y}", None, None),
        ("windows lines.jsonl", f"{x}\r\n{y}\r\n", None, None),
        ("windows list.json", f"[\r\n{x},\r\n{y}\r\n]", None, None),
        ("two on a line.jsonl", f"{x} {y}\n{z}\n", None, None),
        ("spread over lines.jsonl", json.dumps(a, indent=2) + "\n" + json.dumps(b, indent=2), None, None),
        ("pretty list.json", json.dumps([a, b, c], indent=4), None, None),
        ("one line list.json", json.dumps([a, b, c]), None, None),
        ("one object.json", x, None, None),
        ("lines in json.json", f"{x}\n{y}\n", None, None),
        ("list in jsonl.jsonl", f"[{x},\n{y}]", None, None),
        ("broken line.jsonl", f"{x}\n{y[:-4]}\n{z}\n", "json_broken", 2),
        ("cut line at the end.jsonl", f"{x}\n{y}\n{z[:-9]}", "json_truncated", 3),
        ("comma after line.jsonl", f"{x},\n{y},\n", "json_broken", 1),
        ("words between.jsonl", f"{x}\nhello\n{y}\n", "json_broken", 2),
        ("single quotes.jsonl", f"{x}\n{{'instruction': 'a'}}\n", "json_broken", 2),
        ("comment.jsonl", f"# a comment\n{x}\n", "json_broken", 1),
        ("python words.jsonl", f'{x}\n{{"instruction": None}}\n', "json_broken", 2),
        ("bare key.jsonl", f'{x}\n{{instruction: "a"}}\n', "json_broken", 2),
        ("list line.jsonl", f'{x}\n["a", "b"]\n', "row_not_object", 2),
        ("number line.jsonl", f"{x}\n5\n", "row_not_object", 2),
        ("text line.jsonl", f'{x}\n"hello"\n', "row_not_object", 2),
        ("null line.jsonl", f"{x}\nnull\n{y}\n", "answer_missing", 2),
        ("null first.jsonl", f"null\n{x}\n", "row_not_object", 1),
        ("two lists.jsonl", f"[{x}]\n[{y}]\n", "json_broken", 2),
        (
            "key twice.jsonl",
            f'{x}\n{{"instruction": "a", "instruction": "b", "input": "", "output": "c"}}\n',
            "duplicate_key",
            2,
        ),
        (
            "key twice in list.json",
            f'[{x},\n{{"instruction": "a", "instruction": "b", "output": "c"}}]',
            None,
            None,
        ),
        ("cut list.json", f"[\n{x},\n{y},\n", "json_truncated", 4),
        ("cut in row.json", f"[\n{x},\n{y[:-9]}", "json_truncated", 3),
        ("comma at the end.json", f"[\n{x},\n{y},\n]", "json_broken", 4),
        ("comma missing.json", f"[\n{x}\n{y}\n]", "json_broken", 3),
        ("broken row.json", f'[\n{x},\n{{"instruction": "a" "output": "b"}},\n{y}\n]', "json_broken", 3),
        ("more after the end.json", f"[\n{x}\n]\nmore", "json_broken", 4),
        ("second list.json", f"[{x}]\n[{y}]", "json_broken", 2),
        ("null in list.json", f"[\n{x},\nnull,\n{y}\n]", "row_not_object", 3),
        ("number in list.json", f"[\n{x},\n7\n]", "row_not_object", 3),
        ("text in list.json", f'[\n{x},\n"seven"\n]', "row_not_object", 3),
        ("list in list.json", f"[\n{x},\n[1]\n]", "row_not_object", 3),
        ("list of text.json", '["a", "b"]', "row_not_object", 1),
        ("empty list.json", "[]", "file_empty", None),
        ("list of nothing.json", "[{}]", "column_missing", None),
        ("empty object.json", "{}", "column_missing", None),
        ("empty.json", "", "file_empty", None),
        ("empty.jsonl", "", "file_empty", None),
        ("only space.jsonl", "  \n\n", "file_empty", None),
        ("a word.json", "hello", "json_broken", 1),
        ("html.json", "<html><body>404</body></html>", "json_broken", 1),
        ("wrapped.json", json.dumps({"data": [a, b]}), "column_missing", None),
        ("wrapped pretty.json", json.dumps({"data": [a, b]}, indent=1), "column_missing", None),
        ("by number.json", json.dumps({"0": a, "1": b}), "column_missing", None),
        ("not a number.jsonl", f'{x}\n{{"instruction": "a", "output": "b", "score": NaN}}\n', None, None),
        (
            "big number.jsonl",
            f'{x}\n{{"instruction": "a", "output": "b", "id": 99999999999999999999}}\n',
            None,
            None,
        ),
        (
            "big number.json",
            f'[{x},\n{{"instruction": "a", "output": "b", "id": 99999999999999999999}}]',
            "value_unfit",
            2,
        ),
        ("tab in text.jsonl", f'{x}\n{{"instruction": "a\tb", "output": "c"}}\n', "json_broken", 2),
        ("tab in text.json", f'[{x},\n{{"instruction": "a\tb", "output": "c"}}]', None, None),
        ("newline in text.jsonl", f'{x}\n{{"instruction": "a\nb", "output": "c"}}\n', "json_broken", 2),
        ("bad escape.jsonl", f'{x}\n{{"instruction": "a\\x", "output": "c"}}\n', "json_broken", 2),
        ("bad escape.json", f'[{x},\n{{"instruction": "a\\x", "output": "c"}}]', "json_broken", 2),
        ("half a pair.jsonl", f'{x}\n{{"instruction": "a\\ud83d", "output": "c"}}\n', "json_broken", 2),
        ("half a pair.json", f'[{x},\n{{"instruction": "a\\ud83d", "output": "c"}}]', None, None),
        ("emoji.jsonl", f'{x}\n{{"instruction": "a\\ud83d\\ude00", "output": "c"}}\n', None, None),
        (
            "dates.jsonl",
            lines(*({"instruction": "when", "input": "", "output": f"2024-01-0{n}"} for n in (1, 2))),
            "answer_missing",
            1,
        ),
        (
            "dates.json",
            json.dumps([{"instruction": "when", "input": "", "output": "2024-01-01"}]),
            None,
            None,
        ),
        (
            "dates and words.jsonl",
            lines({"instruction": "when", "input": "", "output": "2024-01-01"}, b),
            None,
            None,
        ),
        (
            "dates aside.jsonl",
            lines(a | {"created": "2024-01-01"}, b | {"created": "2024-01-02"}),
            None,
            None,
        ),
        ("mixed aside.jsonl", lines(a | {"id": 1}, b | {"id": "x"}), "types_differ", None),
        ("whole and fraction.jsonl", lines(a | {"id": 1}, b | {"id": 1.5}), None, None),
        ("object and list aside.json", json.dumps([a | {"m": {}}, b | {"m": []}]), "types_differ", None),
        ("other columns.jsonl", lines(a, {"instruction": "only"}, c), "answer_missing", 2),
        ("nested deep.jsonl", f'{x}\n{{"instruction": {"[" * 100_000}{"]" * 100_000}}}\n', "json_broken", 2),
        ("nested deep.json", f'[{x},\n{{"instruction": {"[" * 100_000}{"]" * 100_000}}}]', "json_broken", 2),
        ("zero byte.jsonl", f'{x}\n{{"instruction": "a\0b", "output": "c"}}\n', "json_broken", 2),
    ]
    return [_one(name, text, ALPACA, code, line) for name, text, code, line in cases]


def _list_encodings() -> list[FileCase]:
    rows = [{"instruction": f"问题{n}", "input": "", "output": f"回答{n}"} for n in range(3)]
    listed, lined = json.dumps(rows, ensure_ascii=False), lines(*rows)
    table = "instruction,input,output\n问题,,回答\n问题二,,回答二\n"
    cases: list[FileCase] = []
    for name, text in (("list.json", listed), ("lines.jsonl", lined), ("table.csv", table)):
        one_line = 1 if name == "list.json" else 2 if name == "table.csv" else 1
        cases += [
            _one(f"utf-8 {name}", text, ALPACA),
            _one(f"gbk {name}", text.encode("gbk"), ALPACA, "encoding_wrong", one_line),
            _one(f"utf-16 {name}", text.encode("utf-16"), ALPACA, "encoding_wrong", 1),
            _one(
                f"bom {name}",
                b"\xef\xbb\xbf" + text.encode(),
                ALPACA,
                "byte_order_mark" if name == "list.json" else None,
                1 if name == "list.json" else None,
            ),
        ]
    bad = lines(rows[0]).encode() + b'{"instruction": "\xff\xfe", "input": "", "output": "x"}\n'
    return [*cases, _one("one bad byte lines.jsonl", bad, ALPACA, "encoding_wrong", 2)]


def _list_csv() -> list[FileCase]:
    cases: list[tuple[str, str, str | None, int | None]] = [
        ("plain", "q,a\nb,c\nd,e\n", None, None),
        ("quoted", 'q,a\n"b, c","d ""e"""\nf,g\n', None, None),
        ("newline in quotes", 'q,a\n"b\nc",d\ne,f\n', None, None),
        ("windows", "q,a\r\nb,c\r\nd,e\r\n", None, None),
        ("blank lines", "q,a\n\nb,c\n\n\nd,e\n", None, None),
        ("too many fields", "q,a\nb,c\nd,e,f\n", "csv_broken", 3),
        ("more fields than names", "q,a\nb,c,d\ne,f,g\n", None, None),
        ("commas at the ends", "q,a\nb,c,\ne,f,\n", "answer_missing", 2),
        ("first row short", "q,a\nb\nc,d\n", "answer_missing", 2),
        ("too few fields", "q,a\nb,c\nd\n", "answer_missing", 3),
        ("open quote", 'q,a\nb,c\n"d,e\nf,g\n', "csv_broken", 3),
        ("quote inside", 'q,a\nb "x" y,c\nd,e\n', None, None),
        ("empty answer", "q,a\nb,\nd,e\n", "answer_missing", 2),
        ("empty question", "q,a\n,c\nd,e\n", "prompt_empty", 2),
        ("NA answer", "q,a\nb,NA\nd,e\n", "answer_missing", 2),
        ("null answer", "q,a\nb,null\nd,None\nf,g\n", "answer_missing", 2),
        ("all numbers answered", "q,a\nb,1\nd,2\n", "answer_missing", 2),
        ("all fractions answered", "q,a\nb,1.5\nd,2\n", "answer_missing", 2),
        ("some numbers answered", "q,a\nb,1\nd,two\n", None, None),
        ("truths answered", "q,a\nb,True\nd,False\n", "answer_missing", 2),
        ("numbers asked", "q,a\n1,x\n2,y\n", "prompt_not_text", 2),
        ("semicolons", "q;a\nb;c\n", "column_missing", None),
        ("tabs", "q\ta\nb\tc\n", "column_missing", None),
        ("other names", "question,answer\nb,c\n", "column_missing", None),
        ("header only", "q,a\n", "file_empty", None),
        ("empty", "", "file_empty", None),
        ("no header", "b,c\nd,e\n", "column_missing", None),
        ("column twice", "q,q,a\nb,x,c\n", None, None),
        ("spaces in header", "q, a\nb,c\n", "column_missing", None),
        ("more columns", "id,q,a,score\n1,b,c,0.5\n2,d,e,0.7\n", None, None),
        ("zero padded", "q,a\n007,x\nb,y\n", None, None),
        ("copies", "q,a\nb,c\nb,c\n", "row_duplicate", 3),
        ("infinite", "q,a\nb,inf\nc,1.0\n", "answer_missing", 2),
        ("all empty answers", "q,a\nb,\nc,\n", "answer_missing", 2),
    ]
    return [_one(f"{name} table.csv", text, _QA, code, line) for name, text, code, line in cases]


def _list_text() -> list[FileCase]:
    info = {"columns": {"prompt": "text"}}
    cases = [
        _one("plain text.txt", "one\ntwo\nthree\n", info),
        _one("no newline text.txt", "one\ntwo", info),
        _one("blank lines text.txt", "one\n\ntwo\n", info, "prompt_empty", 2),
        _one("windows text.txt", "one\r\ntwo\r\n", info),
        _one("old mac text.txt", "one\rtwo\r", info),
        _one("form feed text.txt", "one\x0cstill one\u2028still\n two\n", info),
        _one("gbk text.txt", "第一行\n第二行\n".encode("gbk"), info, "encoding_wrong", 1),
        _one("latin text.txt", b"one\ncaf\xe9\n", info, "encoding_wrong", 2),
        _one("bom text.txt", b"\xef\xbb\xbfone\ntwo\n", info),
        _one("empty text.txt", "", info, "file_empty", None),
        _one("one newline text.txt", "\n", info, "prompt_empty", 1),
        _one("wrong column text.txt", "one\n", {"columns": {"prompt": "content"}}, "column_missing", None),
    ]
    return [(*case[:3], "pt", *case[4:]) for case in cases]


def _list_tables() -> list[FileCase]:
    table = pa.table({"q": ["a", "b", "c"], "a": ["x", "y", "z"]})
    good, stream, file = (
        _write_parquet(table),
        _write_arrow(table, pa.ipc.new_stream),
        _write_arrow(table, pa.ipc.new_file),
    )
    large = pa.table(
        {"q": pa.array(["a", "b"], pa.large_string()), "a": pa.array(["x", None], pa.large_string())}
    )
    return [
        _one("good.parquet", good, _QA),
        _one("groups.parquet", _write_parquet(table, row_group_size=1), _QA),
        _one("stream.arrow", stream, _QA),
        _one("file.arrow", file, _QA),
        _one("cut.parquet", good[:-20], _QA, "table_broken", None),
        _one("cut.arrow", file[: len(file) // 2], _QA, "table_broken", None),
        _one("words.parquet", "no parquet", _QA, "table_broken", None),
        _one("words.arrow", "no arrow", _QA, "table_broken", None),
        _one("empty.parquet", b"", _QA, "table_broken", None),
        _one("no rows.parquet", _write_parquet(table.slice(0, 0)), _QA, "file_empty", None),
        _one("large strings.parquet", _write_parquet(large), _QA, "answer_missing", 2),
        _one("numbers.parquet", _write_parquet(pa.table({"q": ["a"], "a": [1]})), _QA, "answer_missing", 1),
        _one(
            "numbers asked.parquet",
            _write_parquet(pa.table({"q": [1], "a": ["x"]})),
            _QA,
            "prompt_not_text",
            1,
        ),
        _one(
            "nulls.parquet",
            _write_parquet(pa.table({"q": ["a"], "a": pa.nulls(1)})),
            _QA,
            "answer_missing",
            1,
        ),
    ]


def _write_parquet(table: pa.Table, **settings: Any) -> bytes:
    file = io.BytesIO()
    parquet.write_table(table, file, **settings)
    return file.getvalue()


def _write_arrow(table: pa.Table, make: Any) -> bytes:
    file = io.BytesIO()
    with make(file, table.schema) as writer:
        writer.write_table(table)
    return file.getvalue()


def _list_mappings() -> list[FileCase]:
    two = lines(make_alpaca(0), make_alpaca(1)).encode()
    bare = lines({"instruction": "a", "output": "b"}).encode()
    chat = lines({"messages": talk(("user", "a"), ("assistant", "b"), role="role", text="content")}).encode()
    system = lines(
        {"messages": talk(("system", "s"), ("user", "a"), ("assistant", "b"), role="role", text="content")}
    ).encode()
    short = {"role_tag": "role", "content_tag": "content", "user_tag": "user", "assistant_tag": "assistant"}
    messages = {"formatting": "sharegpt", "columns": {"messages": "messages"}}
    file = {"file_name": "data.jsonl"}
    return [
        ("mapping/none", {"data.jsonl": two}, file, "sft", None, None),
        ("mapping/no input column", {"data.jsonl": bare}, file, "sft", "column_missing", None),
        (
            "mapping/prompt only",
            {"data.jsonl": two},
            file | {"columns": {"prompt": "instruction"}},
            "sft",
            "answer_missing",
            1,
        ),
        (
            "mapping/wrong answer",
            {"data.jsonl": two},
            file | {"columns": {"prompt": "instruction", "response": "answer"}},
            "sft",
            "column_missing",
            None,
        ),
        (
            "mapping/wrong system",
            {"data.jsonl": two},
            file | {"columns": ALPACA["columns"] | {"system": "system"}},
            "sft",
            "column_missing",
            None,
        ),
        (
            "mapping/wrong images",
            {"data.jsonl": two},
            file | {"columns": ALPACA["columns"] | {"images": "images"}},
            "sft",
            "column_missing",
            None,
        ),
        ("mapping/no tags", {"data.jsonl": chat}, file | messages, "sft", "column_missing", None),
        ("mapping/tags", {"data.jsonl": chat}, file | messages | {"tags": OPENAI_TAGS}, "sft", None, None),
        (
            "mapping/tags of roles only",
            {"data.jsonl": chat},
            file | messages | {"tags": {"user_tag": "user", "assistant_tag": "assistant"}},
            "sft",
            "column_missing",
            None,
        ),
        ("mapping/short tags", {"data.jsonl": chat}, file | messages | {"tags": short}, "sft", None, None),
        (
            "mapping/short tags and system",
            {"data.jsonl": system},
            file | messages | {"tags": short},
            "sft",
            "role_unknown",
            1,
        ),
        (
            "mapping/other roles",
            {"data.jsonl": chat},
            file | messages | {"tags": OPENAI_TAGS | {"user_tag": "human"}},
            "sft",
            "role_unknown",
            1,
        ),
        ("mapping/wrong messages", {"data.jsonl": chat}, file | SHAREGPT, "sft", "column_missing", None),
        (
            "mapping/openai",
            {"data.jsonl": chat},
            file | messages | {"formatting": "openai", "tags": OPENAI_TAGS},
            "sft",
            "formatting_openai",
            None,
        ),
        (
            "mapping/formatting unknown",
            {"data.jsonl": two},
            file | {"formatting": "chatml"},
            "sft",
            "mapping_broken",
            None,
        ),
        ("mapping/split", {"data.jsonl": two}, file | {"split": "test"}, "sft", "split_unknown", None),
        (
            "mapping/file missing",
            {"data.jsonl": two},
            {"file_name": "other.jsonl"},
            "sft",
            "file_missing",
            None,
        ),
        (
            "mapping/excel",
            {"data.xlsx": b"PK\x03\x04"},
            {"file_name": "data.xlsx"},
            "sft",
            "file_type_unknown",
            None,
        ),
        ("mapping/no ending", {"data": two}, {"file_name": "data"}, "sft", "file_type_unknown", None),
        (
            "mapping/capital ending",
            {"data.JSONL": two},
            {"file_name": "data.JSONL"},
            "sft",
            "file_type_unknown",
            None,
        ),
        (
            "mapping/brackets",
            {"data[1].jsonl": two},
            {"file_name": "data[1].jsonl"},
            "sft",
            "file_name_unfit",
            None,
        ),
        ("mapping/chinese name", {"数据 1.jsonl": two}, {"file_name": "数据 1.jsonl"}, "sft", None, None),
        (
            "mapping/folder",
            {"all/a.jsonl": two, "all/b.jsonl": two},
            {"file_name": "all"},
            "sft",
            "row_duplicate",
            None,
        ),
        (
            "mapping/folder of two kinds",
            {"all/a.jsonl": two, "all/b.csv": b"q,a\n"},
            {"file_name": "all"},
            "sft",
            "file_types_mixed",
            None,
        ),
        (
            "mapping/folder with another column",
            {
                "all/a.jsonl": lines(make_alpaca(1) | {"old": 1}).encode(),
                "all/b.jsonl": lines(make_alpaca(2) | {"new": 1}).encode(),
            },
            {"file_name": "all"},
            "sft",
            "columns_differ",
            None,
        ),
        (
            "mapping/file in a folder",
            {"deep/er/data.json": json.dumps([make_alpaca(0)]).encode()},
            {"file_name": "deep/er/data.json"},
            "sft",
            None,
            None,
        ),
    ]


def _list_stages() -> list[FileCase]:
    alpaca, pairs = lines(*map(make_alpaca, range(4))).encode(), lines(*map(make_pair, range(4))).encode()
    kto, chats = lines(*map(make_kto, range(4))).encode(), lines(*map(make_sharegpt, range(4))).encode()
    empty = lines(*map(make_sharegpt, range(3)), {"conversations": []}).encode()
    ranked = {
        "ranking": True,
        "columns": {"prompt": "instruction", "chosen": "chosen", "rejected": "rejected"},
    }
    labelled = {"columns": ALPACA["columns"] | {"kto_tag": "label"}}
    half = {"ranking": True, "columns": {"prompt": "instruction", "chosen": "chosen"}}
    good = lines(*(make_kto(n) | {"label": True} for n in range(3))).encode()
    broken_kto = [make_talk_kto(n) for n in range(4)]
    broken_kto[1]["conversations"][0]["from"] = "bot"
    talk_kto = SHAREGPT | {"columns": {"messages": "conversations", "kto_tag": "label"}}
    file = {"file_name": "data.jsonl"}
    return [
        ("stage/pairs for sft", {"data.jsonl": pairs}, file | ranked, "sft", "stage_unfit", None),
        ("stage/answers for dpo", {"data.jsonl": alpaca}, file | ALPACA, "dpo", "stage_unfit", None),
        ("stage/pairs for reward", {"data.jsonl": pairs}, file | ranked, "rm", None, None),
        ("stage/pairs without rejected", {"data.jsonl": pairs}, file | half, "dpo", "column_missing", None),
        ("stage/answers for kto", {"data.jsonl": alpaca}, file | ALPACA, "kto", "label_missing", 1),
        ("stage/labels for sft", {"data.jsonl": kto}, file | labelled, "sft", "answer_missing", 1),
        ("stage/one kind of label", {"data.jsonl": good}, file | labelled, "kto", "label_one_sided", None),
        ("stage/answers for pt", {"data.jsonl": alpaca}, file | ALPACA, "pt", None, None),
        ("stage/chats for pt", {"data.jsonl": chats}, file | SHAREGPT, "pt", None, None),
        ("stage/broken chat for pt", {"data.jsonl": empty}, file | SHAREGPT, "pt", "nothing_to_read", 4),
        (
            "stage/questions for ppo",
            {"data.jsonl": alpaca},
            file | {"columns": {"prompt": "instruction"}},
            "ppo",
            None,
            None,
        ),
        ("stage/answers for ppo", {"data.jsonl": alpaca}, file | ALPACA, "ppo", None, None),
        ("stage/empty chat for ppo", {"data.jsonl": empty}, file | SHAREGPT, "ppo", "messages_empty", 4),
        (
            "stage/kto after a broken row",
            {"data.jsonl": lines(*broken_kto).encode()},
            file | talk_kto,
            "kto",
            "label_neighbour",
            3,
        ),
    ]


def _list_large(pictures: dict[str, bytes]) -> list[FileCase]:
    """Return what only shows in large files: the first thousand rows, and the first 10 MiB, settle the types."""
    plain = [{"messages": make_pictures(n)["messages"], "images": []} for n in range(1100)]
    for row in plain:
        row["messages"][0]["content"] = "what?"
    late = [*plain[:1050], make_pictures(0), *plain[1050:]]
    early = [*plain[:900], make_pictures(0), *plain[900:]]
    info = {
        "file_name": "data.jsonl",
        "formatting": "sharegpt",
        "columns": {"messages": "messages", "images": "images"},
        "tags": OPENAI_TAGS,
    }
    system = {"file_name": "data.jsonl", "columns": ALPACA["columns"] | {"system": "system"}}
    prompts = [make_alpaca(n) | {"system": None} for n in range(1100)]
    broken = [make_sharegpt(n) for n in range(1100)]
    for row in broken[:1000]:
        row["conversations"] = []
    hollow = [make_alpaca(n) | ({"output": None} if 1000 <= n < 2000 else {}) for n in range(2100)]
    dropped = [*plain[:500], make_pictures(0), *plain[500:1049], make_pictures(1), *plain[1049:]]
    dropped[500]["messages"] = dropped[500]["messages"][:1]
    file = {"file_name": "data.jsonl"}
    wide = [make_alpaca(n) | {"input": "x" * 10_000} for n in range(1200)]
    first = [row | {"extra": None} for row in wide]
    cases: list[tuple[str, list[Any], dict[str, Any], str | None, int | None]] = [
        ("pictures late", late, info, "value_late", 1051),
        ("pictures early", early, info, None, None),
        ("system late", [*prompts[:1050], prompts[0] | {"system": "be brief"}], system, "value_late", 1051),
        ("first thousand empty", broken, file | SHAREGPT, "messages_empty", 1),
        ("second thousand without answers", hollow, file | ALPACA, "answer_missing", 1001),
        ("early picture in a dropped row", dropped, info, "value_late", 1051),
        ("wide", wide, file | ALPACA, None, None),
        ("new column late", [*wide[:1150], wide[1150] | {"new": 1}], file | ALPACA, "columns_differ", 1151),
        (
            "other type late",
            [*(row | {"id": 1} for row in wide[:1150]), wide[1150] | {"id": "x"}],
            file | ALPACA,
            "types_differ",
            1151,
        ),
        (
            "column missing late",
            [*(row | {"id": 1} for row in wide[:1150]), wide[1150]],
            file | ALPACA,
            None,
            None,
        ),
        (
            "null column filled late",
            [*first[:1150], wide[1150] | {"extra": "x"}],
            file | ALPACA,
            "types_differ",
            1151,
        ),
        (
            "broken late",
            [*wide[:1150], '{"instruction": "a"', wide[1151]],
            file | ALPACA,
            "json_broken",
            1151,
        ),
    ]
    made: list[FileCase] = [
        (f"large/{name}", {"data.jsonl": lines(*rows).encode()} | pictures, mapping, "sft", code, line)
        for name, rows, mapping, code, line in cases
    ]
    listed = ("[\n" + ",\n".join(map(dump, late)) + "\n]").encode()
    made.append(
        (
            "large/pictures late in a list",
            {"data.json": listed} | pictures,
            info | {"file_name": "data.json"},
            "sft",
            "value_late",
            1052,
        )
    )
    return made
