"""When an answer is right, and which rows of compared evaluations a person wants to see."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

RowChoice = Literal["all", "different", "gained", "lost"]
"""`gained`: the first model is wrong and another is right; `lost`: the first is right and another is wrong."""


def is_exact_match(answer: str, label: str) -> bool:
    """Whether an answer is the label, spaces around them aside."""
    return answer.strip() == label.strip()


def is_row_chosen(choice: RowChoice, label: str, answers: Sequence[str | None]) -> bool:
    """Whether a row with these answers, in the order of the compared jobs, is among those chosen.

    None stands for a job that has no answer to this row.
    """
    if choice == "all":
        return True
    if choice == "different":
        return len({None if answer is None else answer.strip() for answer in answers}) > 1
    first, *others = (answer is not None and is_exact_match(answer, label) for answer in answers)
    return first is (choice == "lost") and any(other is not first for other in others)
