"""Every twentieth dataset of the corpus; `make agreement` does all."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.agreement.compare import compare
from tests.agreement.corpus import list_cases


@pytest.mark.real
def test_the_checker_agrees_with_llamafactory(tmp_path: Path) -> None:
    cases = list_cases()
    chosen = cases[::20]
    assert len(cases) >= 300
    assert sum(case.code is None for case in chosen) > 5
    assert sum(case.code is not None for case in chosen) > 15
    results = compare(chosen, tmp_path)
    assert [(result.case.name, result.faults) for result in results if result.faults] == []
    assert sum(result.loaded for result in results) > 50
    assert sum(result.cleaned_loaded or 0 for result in results) > sum(result.loaded for result in results)


def test_every_case_that_names_a_fault_names_one_that_people_are_told_about() -> None:
    from backend.domain.datasets.findings import FINDINGS

    named = {case.code for case in list_cases() if case.code}
    assert named <= set(FINDINGS)
    assert len(named) > 30
