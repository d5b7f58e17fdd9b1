"""Tokenizers that strangers wrote: one that breaks and one that never comes back end their own chore, once."""

from __future__ import annotations

from pathlib import Path

import pytest

from backend import storage
from backend.database import transaction
from backend.domain.datasets.profiles import SOURCES, build_counted_facts
from backend.librarian.kinds import MODULES
from backend.services import catalogue, chores, profiles
from backend.tables.base_model import BaseModel
from backend.tables.chore import Chore
from backend.tables.dataset import Dataset
from backend.tables.dataset_profile import DatasetProfile
from backend.tables.user import User
from tests.factories import Person, make_model, make_own_dataset
from tests.profiles.doing import do_chore
from tests.profiles.small_tokenizers import write_tokenizer


def _ask(owner: Person, home: Path, pattern: str) -> str:
    """Ask for a profile by a tokenizer that splits by `pattern`; return the profile's id."""
    write_tokenizer(make_model(home), pattern=pattern)
    dataset_id = make_own_dataset(owner.id)
    rows = f'[{{"instruction": "{"a" * 3000}b", "output": "c"}}]'
    with transaction() as session:
        catalogue.discover(session)
        dataset = session.get_one(Dataset, dataset_id)
        (storage.get_home() / dataset.path / "a.json").write_text(rows)
        model, user = session.get_one(BaseModel, "tiny"), session.get_one(User, owner.id)
        standing = profiles.ask(session, user, dataset, model)
        assert standing.row is not None
        assert standing.code == "counting"
        return standing.row.id


def _do(profile_id: str, most_seconds: float) -> tuple[int, Chore, DatasetProfile]:
    """Do the chore; return how it ended."""
    chore_id, code = do_chore(most_seconds)
    with transaction() as session:
        return code, session.get_one(Chore, chore_id), session.get_one(DatasetProfile, profile_id)


def test_a_tokenizer_whose_rules_break_the_library_fails_once(owner: Person, tuneforge_home: Path) -> None:
    code, chore, row = _do(_ask(owner, tuneforge_home, "(a+)+$"), 120)
    assert (code, chore.status, row.status) == (0, "failed", "failed")
    assert chore.error is not None
    assert "retry-limit" in chore.error["detail"]


def test_a_tokenizer_that_does_not_come_back_is_left(owner: Person, tuneforge_home: Path) -> None:
    code, chore, row = _do(_ask(owner, tuneforge_home, "a.*.*x|a"), 3)
    assert (code, chore.status, row.status) == (0, "failed", "failed")
    assert chore.error is not None
    assert chore.error["code"] == "tokenizer_too_slow"


def test_a_tokenizer_that_was_changed_meanwhile_is_not_taken_for_the_one_that_was_asked_for(
    owner: Person, tuneforge_home: Path
) -> None:
    profile_id = _ask(owner, tuneforge_home, "a")
    write_tokenizer(tuneforge_home / "models" / "tiny", pattern="aa")
    chore_id, code = do_chore()
    assert code != 0
    with transaction() as session:
        assert session.get(DatasetProfile, profile_id) is None
        assert session.get(Chore, chore_id) is None
        assert chores.claim_next(session, MODULES) is None


def test_of_a_sample_the_longest_row_is_the_one_that_the_checker_saw() -> None:
    facts = {"token_stats": {"mean": 100.0, "max": 5000, "estimated": True}}
    tokens = {"mean": 80.0, "max": 900, "quantiles": [[0.0, 10], [0.5, 60], [1.0, 900]]}
    whole = build_counted_facts(facts, {"step": 1, "tokens": tokens, "pictures": {}})
    sample = build_counted_facts(facts, {"step": 5, "tokens": tokens, "pictures": {}})
    assert (whole["token_stats"]["max"], sample["token_stats"]["max"]) == (900, 4000)
    assert sample["token_stats"]["quantiles"][-1] == [1.0, 4000]
    assert build_counted_facts(facts, {"step": 1, "tokens": {}, "pictures": {}}) == facts


@pytest.mark.parametrize("code", SOURCES)
def test_every_sentence_is_there_in_both_languages(code: str) -> None:
    assert SOURCES[code].detail.endswith(".")
    assert SOURCES[code].detail_zh.endswith("。")


def test_what_is_only_offered_is_said_so_and_nothing_is_counted(owner: Person, tuneforge_home: Path) -> None:
    profile_id = _ask(owner, tuneforge_home, "a")
    with transaction() as session:
        session.query(Chore).delete()
        row = session.get_one(DatasetProfile, profile_id)
        dataset, model = session.get_one(Dataset, row.dataset_id), session.get_one(BaseModel, "tiny")
        user = session.get_one(User, owner.id)
        session.delete(row)
        session.flush()
        model.status = "downloading"
        assert profiles.ask(session, user, dataset, model).code == "model_absent"
        dataset.facts = dataset.facts | {"source": "preset"}
        dataset.status = "available"
        assert profiles.ask(session, user, dataset, model).code == "dataset_absent"
        assert session.query(Chore).count() == session.query(DatasetProfile).count() == 0


def test_a_chore_that_was_lost_is_asked_for_again_and_two_askers_make_one(
    owner: Person, tuneforge_home: Path
) -> None:
    profile_id = _ask(owner, tuneforge_home, "a")
    with transaction() as session:
        session.query(Chore).delete()
    for _ in range(2):
        with transaction() as session:
            row = session.get_one(DatasetProfile, profile_id)
            dataset, model = session.get_one(Dataset, row.dataset_id), session.get_one(BaseModel, "tiny")
            assert profiles.ask(session, session.get_one(User, owner.id), dataset, model).code == "counting"
            assert session.query(Chore).count() == session.query(DatasetProfile).count() == 1
