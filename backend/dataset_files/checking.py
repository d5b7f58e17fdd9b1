"""A whole dataset checked row by row, streaming: what LLaMA-Factory would load of it, and all that is wrong."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Any, TextIO

from backend.dataset_files.arrow_types import Fields, find_field
from backend.dataset_files.judged import JudgedRow, JudgedRows
from backend.dataset_files.reading import FileProblem
from backend.dataset_files.sources import Source, open_source
from backend.domain.datasets.conversation import Conversation
from backend.domain.datasets.findings import Finding, FindingGroups
from backend.domain.datasets.mapping import MEDIA_COLUMNS, BadMapping, Mapping, find_stage, parse_mapping
from backend.domain.datasets.pictures import PictureRule
from backend.domain.datasets.rules import PLACEHOLDERS, Judge
from backend.domain.datasets.statistics import Lengths, Pictures, estimate_tokens, find_language

OnProgress = Callable[[str, float, int], None]
FINDINGS_FILE = "findings.jsonl"
_MOST_HASHES = 3_000_000
"""Of so many different rows duplicates are found; further ones are compared with these only."""
_TOKENS_PER_MESSAGE, _SYSTEM_TOKENS = 5, 11
"""What templates of Qwen's kind put around a message, and before the first; others differ by a few tokens."""


@dataclass
class CheckReport:
    """What a check found. `usable_count` is what LLaMA-Factory loads as it stands, 0 where it `stops`;
    `cleaned_count` is how many rows a cleaned copy holds, all of which load."""

    stage: str
    example_count: int = 0
    usable_count: int = 0
    cleaned_count: int = 0
    stops: bool = False
    finding_counts: dict[str, int] = field(default_factory=dict)
    findings: list[dict[str, Any]] = field(default_factory=list)
    statistics: dict[str, Any] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain values."""
        return asdict(self)


def check(
    folder: Path,
    info: dict[str, Any],
    *,
    stage: str | None = None,
    accepts: frozenset[str] | None = None,
    cutoff_len: int = 2048,
    on_progress: OnProgress | None = None,
    findings_file: Path,
) -> CheckReport:
    """Check the dataset in `folder`, mapped by `info`, for `stage` (None: the one it is made for).

    All findings are written to `findings_file`, one JSON object a line; the report holds the first few of each
    kind. Memory does not grow with the dataset. `accepts` are the media that the model takes, if one is known. Lengths
    are reckoned from the letters: `profiling` counts them by a model's tokenizer.
    """
    with findings_file.open("w", encoding="utf-8") as log:
        checking = _Checking(log, cutoff_len)
        try:
            mapping = parse_mapping(info)
        except BadMapping as error:
            checking.stop("mapping_broken", error.detail, error.detail_zh)
            return checking.build_report(stage or "sft")
        wanted = stage or find_stage(mapping)
        source = _open(folder, mapping, wanted, checking)
        if source is not None:
            judge = Judge(wanted, accepts or find_assumed_media(mapping))
            checking.run(JudgedRows(folder, source, mapping, judge), mapping, on_progress or _ignore)
        return checking.build_report(wanted)


def _ignore(stage: str, fraction: float, rows: int) -> None:
    return None


def find_assumed_media(mapping: Mapping) -> frozenset[str] | None:
    """Return which media a model is taken to take that nobody named: all, if the mapping names a column of media."""
    return frozenset(MEDIA_COLUMNS) if any(getattr(mapping, kind) for kind in MEDIA_COLUMNS) else None


def _open(folder: Path, mapping: Mapping, stage: str, checking: _Checking) -> Source | None:
    if mapping.ranking != (stage in ("rm", "dpo")):
        checking.stop(
            "stage_unfit",
            f"The mapping says ranking: {mapping.ranking}, the stage is {stage}.",
            f"映射中 ranking 为 {mapping.ranking}，而训练阶段是 {stage}。",
        )
    if mapping.split != "train":
        checking.stop("split_unknown", f"split: {mapping.split}", f"split：{mapping.split}")
    if mapping.formatting == "openai":
        checking.note("formatting_openai", "", "")
    source = open_source(folder, mapping.file_name)
    if isinstance(source, FileProblem):
        checking.add_problem(None, source, None)
        return None
    return source


class _Checking:
    """What has been found so far."""

    def __init__(self, log: TextIO, cutoff_len: int) -> None:
        self._log, self._cutoff, self._rule = log, cutoff_len, PictureRule()
        self._groups = FindingGroups()
        self._lengths, self._pictures = Lengths(), Pictures()
        self._languages: Counter[str] = Counter()
        self._labels: Counter[bool] = Counter()
        self._kinds: set[str] = set()
        self._hashes: set[int] = set()
        self._rows = self._usable = self._kept = 0
        self._stops = self._misread = False

    def run(self, rows: JudgedRows, mapping: Mapping, on_progress: OnProgress) -> None:
        """Take in all rows."""
        for passage in rows:
            for problem, number in passage.problems:
                self.add_problem(passage.file, problem, number)
            for row in passage.rows:
                self._add_row(row)
            for row in passage.rows:
                if row.kept:
                    self._measure(row)
            self._rows += len(passage.rows)
            on_progress("checking", min(1.0, passage.fraction), self._rows)
        self._check_columns(mapping, rows.source.fields)
        self._check_whole(mapping)

    def add_problem(self, file: str | None, problem: FileProblem, number: int | None) -> None:
        """Note what is wrong with a file."""
        self._stops = self._stops or problem.effect == "stops"
        self._add(
            Finding(
                problem.code,
                problem.effect,
                file,
                problem.line,
                number,
                problem.field,
                problem.detail,
                problem.detail_zh,
            )
        )

    def stop(self, code: str, detail: str, detail_zh: str, where: str | None = None) -> None:
        """Note what is wrong with the dataset as a whole; leaving rows out mends none of that."""
        self._stops = self._misread = True
        self._add(Finding(code, "stops", None, None, None, where, detail, detail_zh))

    def note(self, code: str, detail: str, detail_zh: str) -> None:
        """Note something that does no harm."""
        self._add(Finding(code, "none", None, None, None, None, detail, detail_zh))

    def _add(self, finding: Finding) -> None:
        self._groups.add(finding)
        self._log.write(json.dumps(finding.to_dict(), ensure_ascii=False) + "\n")

    def _add_row(self, row: JudgedRow) -> None:
        for problem in row.talk.problems:
            self._stops = self._stops or problem.effect == "stops"
            self._add_at(row, problem.code, problem.effect, problem.field, problem.detail, problem.detail_zh)
        if not row.kept:
            return
        self._kept += 1
        self._usable += row.usable
        if len(row.talk.response) == 2:
            self._labels[bool(row.talk.response[0]["content"])] += 1
        self._kinds.update(kind for kind in MEDIA_COLUMNS if getattr(row.talk, kind))
        if self._is_duplicate(row):
            self._add_at(
                row, "row_duplicate", "none", None, "It stands before already.", "前面已有相同的行。"
            )
        self._pictures.add_row()
        for size in row.sizes:
            self._pictures.add(size)

    def _add_at(
        self, row: JudgedRow, code: str, effect: str, where: str | None, detail: str, detail_zh: str
    ) -> None:
        self._add(Finding(code, effect, row.file, row.line, row.number, where, detail, detail_zh))

    def _is_duplicate(self, row: JudgedRow) -> bool:
        talk = row.talk
        texts = [f"{message['role']}\1{message['content']}" for message in [*talk.prompt, *talk.response]]
        whole = "\2".join([*texts, str(talk.system), str(talk.images), str(talk.videos), str(talk.audios)])
        key = hash_text(whole)
        if key in self._hashes:
            return True
        if len(self._hashes) < _MOST_HASHES:
            self._hashes.add(key)
        return False

    def _measure(self, row: JudgedRow) -> None:
        read, learnt = split_texts(row.talk)
        self._languages[find_language(learnt or read)] += 1
        label = estimate_tokens(learnt)
        pictures = sum(self._rule.count(*size) for size in row.sizes)
        messages = len(row.talk.prompt) + min(1, len(row.talk.response))
        around = _SYSTEM_TOKENS + _TOKENS_PER_MESSAGE * messages
        total = estimate_tokens(read) + label + pictures + around
        self._lengths.add(total, label, pictures)
        if total > self._cutoff:
            over = total - self._cutoff
            self._add_at(
                row,
                "row_long",
                "none",
                None,
                f"about {total} tokens, {over} more than cutoff_len {self._cutoff}.",
                f"约 {total} 个 token，超出 cutoff_len {self._cutoff} 共 {over} 个。",
            )

    def _check_columns(self, mapping: Mapping, fields: Fields) -> None:
        if not self._rows:
            if not self._groups.count_by_severity()["error"]:
                self.stop("file_empty", "There are no rows.", "没有数据行。")
            self._stops = True
            return
        for path in list_missing_columns(mapping, fields, bool(self._groups.count("pair_missing"))):
            self.stop("column_missing", f"There is no {path!r}.", f"没有“{path}”。", path)

    def _check_whole(self, mapping: Mapping) -> None:
        if mapping.kto_tag and len(self._labels) == 1:
            self.note("label_one_sided", "All labels are alike.", "所有标签相同。")
        if self._rows and not self._kept:
            self.stop("nothing_usable", "Every row has a fault.", "每一行都有问题。")

    def build_report(self, stage: str) -> CheckReport:
        """Return all of it."""
        pictures, tokens = self._pictures.to_dict(), self._lengths.to_dict(estimated=True)
        if tokens:
            tokens["cut_rows"], tokens["cut_tokens"] = self._lengths.measure_cut(self._cutoff)
        modalities = ["text"] + [
            PLACEHOLDERS[kind].strip("<>") for kind in MEDIA_COLUMNS if kind in self._kinds
        ]
        facts: dict[str, Any] = {
            "example_count": self._rows,
            "modalities": modalities,
            "token_stats": self._lengths.to_facts(estimated=True),
        }
        if self._pictures.to_facts():
            facts["picture_stats"] = self._pictures.to_facts()
        return CheckReport(
            stage=stage,
            example_count=self._rows,
            usable_count=0 if self._stops else self._usable,
            cleaned_count=0 if self._misread else self._kept,
            stops=self._stops,
            finding_counts=self._groups.count_by_severity(),
            findings=self._groups.to_list(),
            statistics={
                "tokens": tokens,
                "pictures": pictures,
                "languages": dict(self._languages.most_common()),
                "duplicates": self._groups.count("row_duplicate"),
            },
            facts=facts,
        )


def split_texts(talk: Conversation) -> tuple[str, str]:
    """Return the text that is read and the text that is learnt, each as one."""
    read: list[Any] = [talk.system or "", talk.tools or ""]
    learnt: list[Any] = []
    for message in [*talk.prompt, *talk.response[:1]]:
        target = learnt if message["role"] in ("assistant", "function") else read
        target.append(message["content"] or "")
    return "\n".join(map(str, read)).strip(), "\n".join(map(str, learnt))


def hash_text(text: str) -> int:
    """Return 8 bytes that tell texts apart."""
    return int.from_bytes(blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big")


def list_missing_columns(mapping: Mapping, fields: Fields, pairs_missing: bool = False) -> list[str]:
    """Return the columns and tags that LLaMA-Factory looks up and the data lacks."""
    wanted = mapping.list_columns()
    if mapping.formatting == "openai":
        wanted = {name: column for name, column in wanted.items() if name not in ("system", "tools")}
    if mapping.ranking and not mapping.holds_messages and not pairs_missing:
        wanted.pop("response", None)
    missing = [column for column in wanted.values() if column not in fields]
    if mapping.ranking:
        missing += [name for name in ("chosen", "rejected") if not getattr(mapping, name)]
    if not mapping.holds_messages:
        return missing
    names = [mapping.messages] if mapping.messages in fields else []
    names += [name for name in (mapping.chosen, mapping.rejected) if mapping.ranking and name in fields]
    for name in names:
        for tag in (mapping.role_tag, mapping.content_tag):
            if name and _lacks(fields, name, tag or ""):
                missing.append(f"{name}.{tag}")
    return missing


def _lacks(fields: Fields, column: str, tag: str) -> bool:
    kind = find_field(fields, [column])
    text = str(kind)
    return "struct" in text and find_field(fields, [column, tag]) is None
