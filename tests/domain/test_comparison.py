"""Which rows of compared evaluations are shown."""

from __future__ import annotations

import pytest

from backend.domain.comparison import RowChoice, is_exact_match, is_row_chosen


def test_spaces_around_an_answer_do_not_count() -> None:
    assert is_exact_match(" 向左变道\n", "向左变道")
    assert not is_exact_match("向左 变道", "向左变道")


@pytest.mark.parametrize(
    ("answers", "chosen"),
    [
        (["no", "yes"], {"all", "different", "gained"}),
        (["yes", "no"], {"all", "different", "lost"}),
        (["yes", "yes "], {"all"}),
        (["no", "nor"], {"all", "different"}),
        (["no", "no", "yes"], {"all", "different", "gained"}),
        (["yes", None], {"all", "different", "lost"}),
        (["yes"], {"all"}),
    ],
)
def test_rows_are_chosen_by_who_was_right(answers: list[str | None], chosen: set[RowChoice]) -> None:
    choices: tuple[RowChoice, ...] = ("all", "different", "gained", "lost")
    assert {choice for choice in choices if is_row_chosen(choice, "yes", answers)} == chosen
