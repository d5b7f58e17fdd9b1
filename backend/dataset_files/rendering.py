"""How LLaMA-Factory's template writes a conversation, and which of it is learnt; no model is needed for that."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from backend.domain.datasets.rendering import render_conversation


@dataclass
class Rendered:
    """The text, and the same in segments; `learnt` ones count towards the loss. `exact` is false where a part, such
    as the description of tools, is written otherwise by the template than shown here."""

    text: str
    segments: list[dict[str, Any]] = field(default_factory=list)
    exact: bool = True

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain values."""
        return asdict(self)


def render(row: dict[str, Any], template: str) -> Rendered:
    """Render a row of `read_rows` with a template of LLaMA-Factory; raises KeyError for one that it does not know."""
    segments, exact = render_conversation(row["messages"], row.get("system"), row.get("tools"), template)
    shown = [{"text": text, "learnt": learnt} for text, learnt in segments if text]
    return Rendered("".join(text for text, _ in segments), shown, exact)
