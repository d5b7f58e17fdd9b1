"""What pydantic finds wrong, in Chinese: by the type of the error, with the figures it gives."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_MESSAGES = {
    # fields
    "missing": "缺少此项，请填写",
    "extra_forbidden": "没有这个字段，请删除或检查拼写",
    "invalid_key": "键必须是字符串",
    "model_type": "应为 JSON 对象",
    "model_attributes_type": "应为 JSON 对象",
    "dataclass_type": "应为 JSON 对象",
    "dict_type": "应为 JSON 对象",
    "mapping_type": "应为 JSON 对象",
    "list_type": "应为数组",
    "tuple_type": "应为数组",
    "set_type": "应为数组",
    "iterable_type": "应为数组",
    "too_short": "至少需要 {min_length} 项，现有 {actual_length} 项",
    "too_long": "最多 {max_length} 项",
    "none_required": "应为 null",
    "union_tag_invalid": "“{tag}”无效，可选：{expected_tags}",
    "union_tag_not_found": "缺少 {discriminator}，请填写",
    # texts
    "string_type": "应为字符串",
    "string_unicode": "不是有效的 UTF-8 文本",
    "string_too_short": "至少需要 {min_length} 个字符",
    "string_too_long": "最多 {max_length} 个字符",
    "string_pattern_mismatch": "格式不正确，应匹配 {pattern}",
    "literal_error": "可选值：{expected}",
    "enum": "可选值：{expected}",
    # numbers
    "bool_type": "应为 true 或 false",
    "bool_parsing": "应为 true 或 false",
    "int_type": "应为整数",
    "int_parsing": "应为整数",
    "int_parsing_size": "整数过大",
    "int_from_float": "应为整数，不能有小数部分",
    "float_type": "应为数字",
    "float_parsing": "应为数字",
    "finite_number": "应为有限的数字",
    "greater_than": "应大于 {gt}",
    "greater_than_equal": "不能小于 {ge}",
    "less_than": "应小于 {lt}",
    "less_than_equal": "不能大于 {le}",
    "multiple_of": "应为 {multiple_of} 的倍数",
    # moments
    "datetime_type": "应为时间，例如 2026-01-31T08:00:00Z",
    "datetime_parsing": "不是有效的时间，请使用例如 2026-01-31T08:00:00Z",
    "datetime_from_date_parsing": "不是有效的时间，请使用例如 2026-01-31T08:00:00Z",
    "datetime_object_invalid": "不是有效的时间，请使用例如 2026-01-31T08:00:00Z",
    "timezone_aware": "缺少时区，请使用例如 2026-01-31T08:00:00Z",
    # our own, raised by the shapes of bodies
    "control_characters": "不能包含控制字符",
    "space_at_the_ends": "开头和结尾不能有空格",
    "nested_too_deep": "嵌套不能超过 {depth} 层",
    "number_too_long": "数字超出 64 位",
    "beyond_the_calendar": "超出了日历范围",
    "one_place": "hub 和 path 必须且只能填写一个",
    "one_source": "upload_id、path 和 hub 必须且只能填写一个",
    "half_an_account": "用户名和密码需要同时填写；已登录时两者都不填",
}


def translate(error_type: str, context: Mapping[str, Any] | None) -> str | None:
    """Return the Chinese message of an error of pydantic's, or None for a type that has none."""
    message = _MESSAGES.get(error_type)
    if message is None:
        return None
    return message.format_map({name: _join(value) for name, value in (context or {}).items()})


def _join(value: object) -> object:
    """Choices come as `'a', 'b' or 'c'`."""
    if not isinstance(value, str):
        return value
    return value.replace("', '", "'、'").replace("' or '", "'、'")
