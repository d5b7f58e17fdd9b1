"""What may be wrong with a dataset: stable codes, how bad it is, and in two languages what it is and how to mend it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

SEVERITIES = ("error", "warning", "info")


@dataclass(frozen=True)
class FindingKind:
    """One kind of finding; `error`: the row or the dataset cannot be used so."""

    severity: str
    title: str
    title_zh: str
    hint: str
    hint_zh: str


@dataclass(frozen=True)
class Finding:
    """One finding at its place; `line` counts from 1, `row` from 0; None where it is about no single row.

    `effect` is what LLaMA-Factory does: `stops` the whole run, `drops` the row without a word, or `none`.
    """

    code: str
    effect: str
    file: str | None
    line: int | None
    row: int | None
    field: str | None
    detail: str
    detail_zh: str

    def to_dict(self) -> dict[str, Any]:
        """Return it as a line of the findings file."""
        return dict(self.__dict__)


_E, _W, _I = SEVERITIES
_MEND_CLEAN = "Mend the rows, or take the cleaned copy without them."
_MEND_CLEAN_ZH = "请修改这些行，或使用去掉它们的清洗副本。"

FINDINGS: dict[str, FindingKind] = {
    "mapping_broken": FindingKind(
        _E,
        "The mapping cannot be followed",
        "字段映射无法使用",
        "Correct the mapping on the page.",
        "请在页面上修正映射。",
    ),
    "file_missing": FindingKind(
        _E,
        "The data file is not there",
        "找不到数据文件",
        "Upload it again, or name another file in the mapping.",
        "请重新上传，或在映射中选择其他文件。",
    ),
    "file_type_unknown": FindingKind(
        _E,
        "LLaMA-Factory does not read this kind of file",
        "LLaMA-Factory 不支持该文件类型",
        "Save it as json, jsonl, csv, parquet, arrow or txt.",
        "请另存为 json、jsonl、csv、parquet、arrow 或 txt。",
    ),
    "file_types_mixed": FindingKind(
        _E,
        "The folder holds files of several kinds",
        "文件夹中有多种类型的文件",
        "Leave only data files of one kind in it.",
        "请只保留同一种类型的数据文件。",
    ),
    "file_name_unfit": FindingKind(
        _E,
        "The file's name holds characters that LLaMA-Factory takes for a pattern",
        "文件名含有会被当作通配符的字符",
        "Rename it without * ? [ ].",
        "请改名，不要含有 * ? [ ]。",
    ),
    "split_unknown": FindingKind(
        _E,
        "The mapping asks for a split that files do not have",
        "映射要求的 split 不存在",
        "Files have the split `train` only; remove `split` from the mapping.",
        "本地文件只有 train；请从映射中去掉 split。",
    ),
    "file_empty": FindingKind(
        _E, "There are no rows", "没有任何数据行", "Upload a file with rows.", "请上传有数据行的文件。"
    ),
    "encoding_wrong": FindingKind(
        _E,
        "The file is not UTF-8",
        "文件不是 UTF-8 编码",
        "Save it as UTF-8; the cleaned copy is UTF-8 already.",
        "请另存为 UTF-8；清洗副本已是 UTF-8。",
    ),
    "byte_order_mark": FindingKind(
        _W,
        "The file begins with a byte order mark",
        "文件以 BOM 开头",
        "Save it as UTF-8 without BOM, or take the cleaned copy.",
        "请另存为不带 BOM 的 UTF-8，或使用清洗副本。",
    ),
    "json_broken": FindingKind(
        _E,
        "The JSON is broken here, so nothing of the file loads",
        "JSON 在此处损坏，整个文件无法加载",
        "Mend the place named; the cleaned copy keeps all rows that can be read.",
        "请修改指出的位置；清洗副本保留所有可读的行。",
    ),
    "json_truncated": FindingKind(
        _E,
        "The JSON ends in the middle",
        "JSON 文件不完整",
        "The upload or the export was cut off: make the file anew.",
        "导出或上传被中断，请重新生成文件。",
    ),
    "json_not_rows": FindingKind(
        _E,
        "The file holds something else than rows",
        "文件内容不是数据行",
        "Every row must be an object, in one list or one a line.",
        "每一行必须是对象，放在一个列表中或每行一个。",
    ),
    "row_not_object": FindingKind(
        _E,
        "A row is not an object",
        "数据行不是对象",
        "Remove it, or take the cleaned copy.",
        "请删除该行，或使用清洗副本。",
    ),
    "duplicate_key": FindingKind(
        _E,
        "A key stands twice in one row",
        "同一行中的键重复",
        "Keep one of them, or take the cleaned copy, which keeps the last.",
        "请只保留一个，或使用保留最后一个的清洗副本。",
    ),
    "types_differ": FindingKind(
        _E,
        "A field holds different types in different rows, so nothing of the file loads",
        "同一字段在不同行中类型不同，整个文件无法加载",
        "Make it one type in all rows, or take the cleaned copy without the odd ones.",
        "请统一类型，或使用去掉异常行的清洗副本。",
    ),
    "columns_differ": FindingKind(
        _E,
        "Later rows have columns that the first part of the file lacks",
        "后面的行有前面没有的列",
        "Give every row the same columns, or take the cleaned copy.",
        "请让所有行的列一致，或使用清洗副本。",
    ),
    "value_unfit": FindingKind(_E, "A value cannot be read", "有无法读取的值", _MEND_CLEAN, _MEND_CLEAN_ZH),
    "csv_broken": FindingKind(
        _E,
        "The CSV cannot be read from here on",
        "CSV 从此处起无法读取",
        "Check quotes and the number of fields in this line.",
        "请检查该行的引号和字段数。",
    ),
    "table_broken": FindingKind(
        _E, "The file is damaged", "文件已损坏", "Make it anew.", "请重新生成该文件。"
    ),
    "column_missing": FindingKind(
        _E,
        "A column of the mapping is not in the data",
        "数据中没有映射所指的列",
        "Choose the right column in the mapping.",
        "请在映射中选择正确的列。",
    ),
    "stage_unfit": FindingKind(
        _E,
        "The dataset is of the wrong kind for this stage",
        "数据集类型与训练阶段不符",
        "DPO and reward models want pairs (ranking), KTO labels, SFT answers.",
        "DPO 与奖励模型需要成对数据，KTO 需要标签，SFT 需要回答。",
    ),
    "nothing_usable": FindingKind(
        _E,
        "No row can be used",
        "没有可用的行",
        "Look at the other findings; most often the mapping names the wrong columns or roles.",
        "请看其他问题；最常见的原因是映射中的列或角色不对。",
    ),
    "role_unknown": FindingKind(
        _E,
        "A role that the mapping does not know",
        "角色不在映射中",
        "Set the roles in the mapping to those of the data.",
        "请在映射中填写数据里实际使用的角色。",
    ),
    "role_order": FindingKind(_E, "Roles in the wrong order", "角色次序不对", _MEND_CLEAN, _MEND_CLEAN_ZH),
    "turn_count": FindingKind(_E, "A wrong number of turns", "轮数不对", _MEND_CLEAN, _MEND_CLEAN_ZH),
    "messages_empty": FindingKind(_E, "No messages", "没有消息", _MEND_CLEAN, _MEND_CLEAN_ZH),
    "messages_missing": FindingKind(_E, "No list of messages", "没有消息列表", _MEND_CLEAN, _MEND_CLEAN_ZH),
    "message_not_object": FindingKind(
        _E, "A message is not an object", "消息不是对象", _MEND_CLEAN, _MEND_CLEAN_ZH
    ),
    "content_missing": FindingKind(_E, "A message has no text", "消息没有文本", _MEND_CLEAN, _MEND_CLEAN_ZH),
    "content_not_text": FindingKind(
        _E, "A message is not text", "消息内容不是文本", _MEND_CLEAN, _MEND_CLEAN_ZH
    ),
    "prompt_not_text": FindingKind(
        _E, "The question is not text", "提问不是文本", _MEND_CLEAN, _MEND_CLEAN_ZH
    ),
    "nothing_to_read": FindingKind(_E, "No text to read", "没有可读文本", _MEND_CLEAN, _MEND_CLEAN_ZH),
    "history_broken": FindingKind(
        _E, "The history is not made of pairs", "历史对话不成对", _MEND_CLEAN, _MEND_CLEAN_ZH
    ),
    "answer_missing": FindingKind(_E, "There is no answer", "没有回答", _MEND_CLEAN, _MEND_CLEAN_ZH),
    "pair_missing": FindingKind(_E, "The pair is incomplete", "偏好对不完整", _MEND_CLEAN, _MEND_CLEAN_ZH),
    "pair_role_unknown": FindingKind(
        _E, "An answer of the pair has an unknown role", "偏好回答的角色未知", _MEND_CLEAN, _MEND_CLEAN_ZH
    ),
    "label_missing": FindingKind(_E, "The label is missing", "缺少标签", _MEND_CLEAN, _MEND_CLEAN_ZH),
    "label_neighbour": FindingKind(
        _E,
        "KTO stops here, as the row before has no answer to compare with",
        "KTO 在此中止：前一行没有可用于对比的回答",
        "Mend the row before, or take the cleaned copy.",
        "请修改前一行，或使用清洗副本。",
    ),
    "label_one_sided": FindingKind(
        _W,
        "All labels are alike",
        "所有标签相同",
        "KTO learns from both good and bad answers: add the other kind.",
        "KTO 需要好与坏两种回答，请补充另一种。",
    ),
    "system_not_text": FindingKind(
        _E, "The system prompt is not text", "系统提示不是文本", _MEND_CLEAN, _MEND_CLEAN_ZH
    ),
    "tools_not_text": FindingKind(
        _E,
        "The tools are an object instead of text",
        "工具描述是对象而不是文本",
        "Write them as JSON text.",
        "请写成 JSON 文本。",
    ),
    "tools_broken": FindingKind(
        _E, "The description of the tools is broken", "工具描述有误", _MEND_CLEAN, _MEND_CLEAN_ZH
    ),
    "function_call_broken": FindingKind(
        _E,
        "A function call is broken",
        "函数调用有误",
        'Write it as {"name": …, "arguments": …}.',
        '请写成 {"name": …, "arguments": …}。',
    ),
    "placeholder_count": FindingKind(
        _E,
        "Placeholders and media differ in number",
        "占位符与媒体数量不一致",
        "Write <image>, <video> or <audio> once for each, or take the cleaned copy.",
        "每个媒体对应一个 <image>、<video> 或 <audio>，或使用清洗副本。",
    ),
    "placeholder_alone": FindingKind(
        _W,
        "A placeholder without media",
        "有占位符而没有媒体",
        "A text model reads it as text; a vision model would stop. Map the column of the media.",
        "文本模型会当作普通文本，视觉模型会中止；请映射媒体列。",
    ),
    "media_missing": FindingKind(
        _E,
        "A picture, video or audio file is not there",
        "找不到图片、视频或音频文件",
        "Upload it too, by the path that the row names, or take the cleaned copy.",
        "请按该行所写路径一并上传，或使用清洗副本。",
    ),
    "media_unreadable": FindingKind(
        _E, "A picture, video or audio file cannot be read", "媒体文件无法读取", _MEND_CLEAN, _MEND_CLEAN_ZH
    ),
    "media_outside": FindingKind(
        _E,
        "A path leads out of the dataset",
        "媒体路径指向数据集之外",
        "Put the files into the dataset and name them by a relative path.",
        "请把文件放进数据集，并使用相对路径。",
    ),
    "media_entry_broken": FindingKind(
        _E,
        "The list of media holds something that is no path",
        "媒体列表中有不是路径的内容",
        _MEND_CLEAN,
        _MEND_CLEAN_ZH,
    ),
    "media_as_object": FindingKind(
        _E,
        "Media in a form that LLaMA-Factory does not take",
        "LLaMA-Factory 不支持的媒体写法",
        "Take the cleaned copy: it has each of them as a file, named by its path.",
        "请使用清洗副本：其中每个媒体都保存为文件，并以路径引用。",
    ),
    "media_unsupported": FindingKind(
        _E,
        "The model does not take this kind of media",
        "该模型不支持此类媒体",
        "Choose a model for it, or take the column out of the mapping.",
        "请选择支持它的模型，或从映射中去掉该列。",
    ),
    "value_late": FindingKind(
        _E,
        "A thousand rows without a value come before the first one with it, and LLaMA-Factory stops there",
        "首个有值的行之前有整整一千行为空，LLaMA-Factory 会在此中止",
        "Put a row that has it among the first thousand; the cleaned copy does so.",
        "请把有值的行放到前一千行；清洗副本会这样做。",
    ),
    "batch_dropped": FindingKind(
        _E,
        "A whole batch of a thousand rows is dropped, and LLaMA-Factory stops there",
        "整整一批（一千行）全部被丢弃，LLaMA-Factory 会在此中止",
        _MEND_CLEAN,
        _MEND_CLEAN_ZH,
    ),
    "prompt_empty": FindingKind(
        _W, "A question is empty", "提问为空", "Fill it in or remove the row.", "请补充或删除该行。"
    ),
    "answer_empty": FindingKind(
        _W,
        "An answer is empty",
        "回答为空",
        "The model learns to say nothing: fill it in or remove the row.",
        "模型会学到“什么都不说”：请补充或删除该行。",
    ),
    "row_duplicate": FindingKind(
        _W, "The same row again", "重复的行", "Remove it unless it is meant.", "如非有意，请删除。"
    ),
    "row_long": FindingKind(
        _W,
        "Longer than cutoff_len, so the end is cut off",
        "超过 cutoff_len，末尾会被截断",
        "Raise cutoff_len, or shorten the row.",
        "请调大 cutoff_len，或缩短该行。",
    ),
    "formatting_openai": FindingKind(
        _I,
        "With formatting `openai`, LLaMA-Factory adds “detailed thinking off” to system prompts",
        "使用 openai 格式时，LLaMA-Factory 会在系统提示中加入“detailed thinking off”",
        "Use `sharegpt` with the same tags unless it is meant.",
        "如非有意，请改用 sharegpt 并保留相同标签。",
    ),
}


def get_kind(code: str) -> FindingKind:
    """Return the kind of a finding by its code."""
    return FINDINGS[code]


class FindingGroups:
    """Findings by kind: how many there are, and the first few of each."""

    def __init__(self, examples: int = 5) -> None:
        self._most = examples
        self._counts: dict[str, int] = {}
        self._examples: dict[str, list[Finding]] = {}

    def add(self, finding: Finding) -> None:
        """Count one finding."""
        self._counts[finding.code] = self._counts.get(finding.code, 0) + 1
        examples = self._examples.setdefault(finding.code, [])
        if len(examples) < self._most:
            examples.append(finding)

    def count(self, code: str) -> int:
        """Return how many findings of this kind there are."""
        return self._counts.get(code, 0)

    def count_by_severity(self) -> dict[str, int]:
        """Return how many findings there are of each severity."""
        counts = dict.fromkeys(SEVERITIES, 0)
        for code, count in self._counts.items():
            counts[FINDINGS[code].severity] += count
        return counts

    def to_list(self) -> list[dict[str, Any]]:
        """Return the groups, the worst and then the most frequent first, in the shape of the REST answer."""
        order = sorted(
            self._counts, key=lambda code: (SEVERITIES.index(FINDINGS[code].severity), -self._counts[code])
        )
        return [
            {
                "code": code,
                **FINDINGS[code].__dict__,
                "count": self._counts[code],
                "examples": [example.to_dict() for example in self._examples[code]],
            }
            for code in order
        ]
