"""Writes `backend/domain/arguments.json`: LLaMA-Factory's arguments, out of its own dataclasses and our notes.

    describe_arguments.py           writes the file
    describe_arguments.py --check   says whether the file is current, by its exit status

It imports LLaMA-Factory (and with it torch); the platform reads only what it wrote. Names, types, choices,
defaults and English help come from the dataclasses, the rest from `argument_notes.yaml`.
"""

from __future__ import annotations

import dataclasses
import enum
import importlib.metadata
import inspect
import json
import sys
import types
import typing
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[1]
TARGET = ROOT / "backend" / "domain" / "arguments.json"
NOTES = ROOT / "scripts" / "argument_notes.yaml"
GIVEN_BY_TRAINER = {"optimizer", "num_warmup_steps", "num_training_steps", "last_epoch"}
SCALARS = {bool: "bool", int: "int", float: "float", str: "str"}


def describe() -> dict[str, Any]:
    """Return the whole description, ready for JSON."""
    notes = yaml.safe_load(NOTES.read_text(encoding="utf-8"))
    fields = _list_fields()
    _require_every_name_once(notes, fields)
    facts = _read_facts()
    return {
        "llamafactory": importlib.metadata.version("llamafactory"),
        "transformers": importlib.metadata.version("transformers"),
        "groups": [{"id": group["id"], "label": group["label"]} for group in notes["groups"]],
        "arguments": [
            _describe_user_argument(group, name, fields[name], facts) | _describe_choice_packages(notes, name)
            for group in notes["groups"]
            for name in group["arguments"]
        ],
        "refused": {name: item["reason"] for item in notes["refused"] for name in item["names"]},
        "optional_packages": _list_optional_packages(notes),
        **facts,
    }


def _list_fields() -> dict[str, tuple[dataclasses.Field[Any], Any]]:
    """Return every argument a configuration file may set, with its resolved type."""
    from llamafactory.hparams.parser import _TRAIN_ARGS

    fields = {}
    for owner in _TRAIN_ARGS:
        hints = typing.get_type_hints(owner)
        fields |= {
            field.name: (field, hints[field.name]) for field in dataclasses.fields(owner) if field.init
        }
    return fields


def _require_every_name_once(notes: dict[str, Any], fields: dict[str, Any]) -> None:
    noted = [name for group in notes["groups"] for name in group["arguments"]]
    noted += [name for item in notes["refused"] for name in item["names"]]
    faults = {
        "missing in the notes": sorted(set(fields) - set(noted)),
        "not an argument": sorted(set(noted) - set(fields)),
        "noted twice": sorted({name for name in noted if noted.count(name) > 1}),
        "not said in both languages": [
            name
            for group in notes["groups"]
            for name, note in group["arguments"].items()
            if set(note["label"]) != {"en", "zh"} or "zh" not in note["help"] or len(note["help"]) > 2
        ],
    }
    if any(faults.values()):
        raise SystemExit(f"{NOTES.name}: {faults}")


def _read_facts() -> dict[str, Any]:
    """Return what rules need beside the fields: names that LLaMA-Factory and transformers look up later."""
    from llamafactory.data.template import TEMPLATES
    from llamafactory.data.tool_utils import TOOLS
    from torch.optim.lr_scheduler import ReduceLROnPlateau
    from transformers.optimization import TYPE_TO_SCHEDULER_FUNCTION, GreedyLR

    builders = {schedule.value: build for schedule, build in TYPE_TO_SCHEDULER_FUNCTION.items()}
    # These two only pass on what they are given.
    builders |= {"reduce_lr_on_plateau": ReduceLROnPlateau, "greedy": GreedyLR}
    settings = {
        schedule: [name for name in inspect.signature(build).parameters if name not in GIVEN_BY_TRAINER]
        for schedule, build in builders.items()
    }
    return {"templates": sorted(TEMPLATES), "tool_formats": sorted(TOOLS), "schedule_settings": settings}


def _list_optional_packages(notes: dict[str, Any]) -> list[str]:
    """Return the packages that some arguments need and a node may lack."""
    wanted = {package for choices in notes["choice_packages"].values() for package in choices.values()}
    wanted |= {
        note["package"]
        for group in notes["groups"]
        for note in group["arguments"].values()
        if "package" in note
    }
    return sorted(wanted)


def _describe_choice_packages(notes: dict[str, Any], name: str) -> dict[str, Any]:
    packages = notes["choice_packages"].get(name)
    return {"choice_packages": packages} if packages else {}


def _describe_user_argument(
    group: dict[str, Any], name: str, typed: tuple[dataclasses.Field[Any], Any], facts: dict[str, Any]
) -> dict[str, Any]:
    field, hint = typed
    note = group["arguments"][name]
    kind, nullable, choices = _read_type(hint)
    if "choices_from" in note:
        choices = facts[note["choices_from"]]
    described = {
        "name": name,
        "type": "str" if kind in ("list", "dict") and "choices" in note else kind,
        "nullable": nullable,
        "default": _read_default(field),
        "group": group["id"],
        "kinds": note.get("kinds", group.get("kinds", ["train", "evaluate"])),
        "label": note["label"],
        "help": {"en": _clean(field.metadata.get("help", ""))} | note["help"],
    }
    optional = {
        "choices": note.get("choices", choices),
        "item_choices": note.get("item_choices"),
        "minimum": note.get("least"),
        "maximum": note.get("most"),
        "exclusive_minimum": note.get("above"),
        "exclusive_maximum": note.get("below"),
        "steps": note.get("steps"),
        "methods": note.get("methods", group.get("methods")),
        "form": note.get("form"),
        "gpu": note.get("gpu"),
        "several_gpus": note.get("several_gpus"),
        "package": note.get("package"),
    }
    return described | {key: value for key, value in optional.items() if value is not None}


def _read_type(hint: Any) -> tuple[str, bool, list[Any] | None]:
    """Return a type's name, whether it may be null, and its choices."""
    members = list(typing.get_args(hint)) if _is_union(hint) else [hint]
    nullable = type(None) in members
    members = [member for member in members if member is not type(None)]
    for member in members:
        if typing.get_origin(member) is typing.Literal:
            return "str", nullable, list(typing.get_args(member))
        if isinstance(member, type) and issubclass(member, enum.Enum):
            return "str", nullable, [choice.value for choice in member]
    plain = [typing.get_origin(member) or member for member in members]
    if dict in plain:
        return "dict", nullable, None
    if list in plain:
        return "list", nullable, None
    return SCALARS[plain[0]], nullable, None


def _is_union(hint: Any) -> bool:
    return typing.get_origin(hint) in (typing.Union, types.UnionType)


def _read_default(field: dataclasses.Field[Any]) -> Any:
    if field.default is dataclasses.MISSING:
        return field.default_factory() if field.default_factory is not dataclasses.MISSING else None
    return field.default.value if isinstance(field.default, enum.Enum) else field.default


def _clean(text: str) -> str:
    """Return a help text without argparse's escapes and the source's line breaks."""
    return " ".join(text.replace("%%", "%").split())


def _write_lines(description: dict[str, Any]) -> str:
    """Return JSON with a line for each argument, so that a change reads well in a diff."""
    parts = []
    for key, value in description.items():
        if isinstance(value, (list, dict)) and value:
            rows = [json.dumps(item, ensure_ascii=False) for item in value]
            if isinstance(value, dict):
                rows = [
                    f"{json.dumps(name)}: {json.dumps(item, ensure_ascii=False)}"
                    for name, item in value.items()
                ]
            opening, closing = "[]" if isinstance(value, list) else "{}"
            text = opening + "\n" + ",\n".join(rows) + "\n" + closing
        else:
            text = json.dumps(value, ensure_ascii=False)
        parts.append(f"{json.dumps(key)}: {text}")
    return "{\n" + ",\n".join(parts) + "\n}\n"


def main() -> int:
    """Write the file, or compare it."""
    text = _write_lines(describe())
    if "--check" not in sys.argv[1:]:
        TARGET.write_text(text, encoding="utf-8")
        return 0
    if TARGET.read_text(encoding="utf-8") == text:
        return 0
    print(f"{TARGET.relative_to(ROOT)} is not current; run {Path(__file__).relative_to(ROOT)}")
    return 1


if __name__ == "__main__":
    sys.exit(main())
