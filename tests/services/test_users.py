"""Accounts: names that are one, hashes, sessions that end, tokens that expire, and the throttle."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from sqlalchemy import select, update

from backend.database import transaction
from backend.domain.errors import Conflict, Invalid, NotAllowed, NotFound, NotSignedIn, TooManyAttempts
from backend.services import pruning, throttling, users
from backend.tables.base import utc_now
from backend.tables.user import ApiToken, FailedLogin, User
from backend.tables.user import Session as BrowserSession
from tests.factories import PASSWORD, make_user

pytestmark = pytest.mark.usefixtures("database")

HOME, ELSEWHERE = "10.0.0.1", "10.0.0.2"


def _register(username: str, password: str = PASSWORD) -> None:
    with transaction() as session:
        users.register(session, username, password)


def _fail(username: str, address: str = HOME) -> None:
    with pytest.raises(NotSignedIn):
        users.authenticate(username, "wrong password", address)


def _count_failures() -> int:
    with transaction() as session:
        return len(session.scalars(select(FailedLogin)).all())


# -- accounts ----------------------------------------------------------------------------------------------


def test_a_password_is_kept_as_an_argon2_hash_only() -> None:
    _register("ann")
    with transaction() as session:
        user = session.scalars(select(User)).one()
        assert user.password_hash.startswith("$argon2id$")
        assert PASSWORD not in repr(vars(user))


@pytest.mark.parametrize("twin", ["ann", "ANN", "\uff21\uff4e\uff4e"])  # the last in full-width letters
def test_names_that_look_alike_are_one_name(twin: str) -> None:
    _register("Ann")
    with pytest.raises(Conflict):
        _register(twin)
    assert users.authenticate(twin, PASSWORD, HOME)


def test_one_of_many_at_once_gets_a_name() -> None:
    def try_register(_: int) -> str:
        try:
            _register("ann")
        except Conflict as error:
            return error.code
        return "made"

    with ThreadPoolExecutor(6) as pool:
        assert sorted(pool.map(try_register, range(6))) == ["made"] + ["username_taken"] * 5


@pytest.mark.parametrize(
    "username",
    ["", "an", "x" * 33, "-ann", ".ann", "ann.", "an n", "ann\n", "ann\u202e", "an/n", "\ud83d\ude00ann"],
)
def test_names_that_would_mislead_are_refused(username: str) -> None:
    with pytest.raises(Invalid) as caught:
        _register(username)
    assert caught.value.problems[0].loc == ("username",)


@pytest.mark.parametrize("password", ["short", "x" * 257, "aaaaaaaaaaaa", "abababababab", "annannannann"])
def test_weak_passwords_are_refused(password: str) -> None:
    with pytest.raises(Invalid) as caught:
        _register("annannannann", password)
    assert [problem.loc for problem in caught.value.problems] == [("password",)]


def test_chinese_names_are_names() -> None:
    _register("王小明")
    assert users.authenticate("王小明", PASSWORD, HOME)


def test_closed_registration_refuses(configure: Callable[[str, str], None]) -> None:
    configure("TUNEFORGE_REGISTRATION", "closed")
    with pytest.raises(NotAllowed) as caught:
        _register("ann")
    assert caught.value.code == "registration_closed"


def test_the_administrator_is_made_once_and_keeps_their_password() -> None:
    for password in ("first password", "second password"):
        with transaction() as session:
            users.ensure_admin(session, password)
    assert users.authenticate("admin", "first password", HOME)
    _fail("admin")


# -- signing in --------------------------------------------------------------------------------------------


def test_an_inactive_person_is_nowhere_let_in() -> None:
    user_id, chief_id = make_user("ann"), make_user("chief", role="administrator")
    with transaction() as session:
        chief = session.get_one(User, chief_id)
        cookie = users.start_session(session, user_id)
        _, token = users.create_token(session, user_id, "t", None)
        users.change_user(session, chief, user_id, is_active=False)
        assert users.find_session(session, cookie) is None
        assert users.find_token_user(session, token) is None
    with pytest.raises(NotSignedIn):
        users.authenticate("ann", PASSWORD, HOME)
    with transaction() as session:
        users.change_user(session, chief, user_id, is_active=True)
        assert users.find_session(session, cookie) is None
    assert users.authenticate("ann", PASSWORD, HOME) == user_id


def test_an_administrator_is_not_shut_out() -> None:
    user_id = make_user("chief", role="administrator")
    with transaction() as session, pytest.raises(Conflict):
        users.change_user(session, session.get_one(User, user_id), user_id, is_active=False)


def test_who_does_not_exist_is_refused_as_slowly_as_who_does() -> None:
    make_user("ann")
    taken: dict[str, list[float]] = {"ann": [], "nobody": []}
    for round_number in range(4):
        for username, seconds in taken.items():
            began = time.perf_counter()
            _fail(username, f"10.1.0.{round_number}")
            seconds.append(time.perf_counter() - began)
    known, unknown = (statistics.median(seconds) for seconds in taken.values())
    assert 0.4 < known / unknown < 2.5


def test_the_same_words_for_a_wrong_name_and_a_wrong_password() -> None:
    make_user("ann")
    said = set()
    for username in ("ann", "nobody"):
        with pytest.raises(NotSignedIn) as caught:
            users.authenticate(username, "wrong password", HOME)
        said.add((caught.value.code, caught.value.detail))
    assert len(said) == 1


# -- the throttle ------------------------------------------------------------------------------------------


def test_an_account_is_throttled_even_for_the_right_password_and_from_elsewhere() -> None:
    make_user("ann")
    for _ in range(throttling.MAX_FAILURES_PER_ACCOUNT):
        _fail("ANN")
    for address in (HOME, ELSEWHERE):
        with pytest.raises(TooManyAttempts) as caught:
            users.authenticate("ann", PASSWORD, address)
        assert 0 < caught.value.retry_after_seconds <= throttling.THROTTLE_MINUTES * 60


def test_an_address_is_throttled_over_all_accounts() -> None:
    make_user("ann")
    with transaction() as session:
        for number in range(throttling.MAX_FAILURES_PER_ADDRESS):
            session.add(FailedLogin(username_key=f"user{number}", address=HOME))
    with pytest.raises(TooManyAttempts):
        users.authenticate("ann", PASSWORD, HOME)
    assert users.authenticate("ann", PASSWORD, ELSEWHERE)


def test_success_forgives_only_ones_own_slips() -> None:
    make_user("ann"), make_user("bob")
    for _ in range(2):
        _fail("ann", HOME), _fail("ann", ELSEWHERE), _fail("bob", HOME)
    users.authenticate("ann", PASSWORD, HOME)
    # What others tried on Ann's name elsewhere, and what was tried on Bob's from here, still counts.
    with transaction() as session:
        left = {(slip.username_key, slip.address) for slip in session.scalars(select(FailedLogin))}
    assert left == {("ann", ELSEWHERE), ("bob", HOME)}
    assert _count_failures() == 4


def test_the_throttle_ends() -> None:
    make_user("ann")
    for _ in range(throttling.MAX_FAILURES_PER_ACCOUNT):
        _fail("ann")
    with transaction() as session:
        past = utc_now() - timedelta(minutes=throttling.THROTTLE_MINUTES, seconds=1)
        session.execute(update(FailedLogin).values(created_at=past))
    assert users.authenticate("ann", PASSWORD, HOME)


def test_many_guesses_at_once_are_throttled_as_one_after_the_other() -> None:
    make_user("ann")

    def guess(_: int) -> type[Exception]:
        try:
            users.authenticate("ann", "wrong password", HOME)
        except (NotSignedIn, TooManyAttempts) as error:
            return type(error)
        raise AssertionError("a wrong password was taken")

    with ThreadPoolExecutor(10) as pool:
        answers = list(pool.map(guess, range(20)))
    assert answers.count(NotSignedIn) == throttling.MAX_FAILURES_PER_ACCOUNT


# -- sessions ----------------------------------------------------------------------------------------------


def test_a_session_is_stored_by_the_hash_of_its_cookie_and_expires() -> None:
    user_id = make_user("ann")
    with transaction() as session:
        cookie = users.start_session(session, user_id)
        row = session.scalars(select(BrowserSession)).one()
        assert cookie not in repr(vars(row))
        assert row.token_hash == users.hash_secret(cookie)
    with transaction() as session:
        found = users.find_session(session, cookie)
        assert found is not None
        assert found.user_id == user_id
        assert users.find_session(session, cookie + "x") is None
        found.expires_at = utc_now()
    with transaction() as session:
        assert users.find_session(session, cookie) is None
        pruning.prune(session)
        assert session.scalars(select(BrowserSession)).all() == []


def test_a_session_in_use_lives_on() -> None:
    user_id = make_user("ann")
    with transaction() as session:
        cookie = users.start_session(session, user_id)
        session.execute(update(BrowserSession).values(expires_at=utc_now() + timedelta(hours=1)))
    with transaction() as session:
        assert users.find_session(session, cookie)
    with transaction() as session:
        left = session.scalars(select(BrowserSession.expires_at)).one() - utc_now()
    assert left > timedelta(days=users.SESSION_DAYS - 1)


def test_a_changed_password_signs_every_other_browser_out() -> None:
    user_id, other_id = make_user("ann"), make_user("bob")
    with transaction() as session:
        here, there = (users.start_session(session, user_id) for _ in range(2))
        others = users.start_session(session, other_id)
    for current, new, fault in (
        ("wrong", "a new password", "current_password"),
        (PASSWORD, "short", "new_password"),
    ):
        with pytest.raises(Invalid, match=fault):
            users.change_password(user_id, current, new, HOME, keep_session=here)
    users.change_password(user_id, PASSWORD, "a new password", HOME, keep_session=here)
    with transaction() as session:
        alive = [users.find_session(session, cookie) is not None for cookie in (here, there, others)]
    assert alive == [True, False, True]
    assert users.authenticate("ann", "a new password", HOME) == user_id
    _fail("ann")


def test_guessing_ones_present_password_is_throttled_like_a_log_in() -> None:
    user_id = make_user("ann")
    for _ in range(throttling.MAX_FAILURES_PER_ACCOUNT):
        with pytest.raises(Invalid):
            users.change_password(user_id, "wrong password", "a new password", HOME, keep_session=None)
    with pytest.raises(TooManyAttempts):
        users.change_password(user_id, PASSWORD, "a new password", HOME, keep_session=None)


def test_a_reset_password_signs_every_browser_out() -> None:
    user_id = make_user("ann")
    with transaction() as session:
        cookie = users.start_session(session, user_id)
        users.reset_password(session, "ANN", "a new password")
        assert users.find_session(session, cookie) is None
        with pytest.raises(NotFound):
            users.reset_password(session, "nobody", "a new password")
    assert users.authenticate("ann", "a new password", HOME) == user_id


# -- API tokens --------------------------------------------------------------------------------------------


def test_a_token_is_stored_as_a_hash_expires_and_is_deleted() -> None:
    user_id, other_id = make_user("ann"), make_user("bob")
    with transaction() as session:
        token, text = users.create_token(session, user_id, "ci", utc_now() + timedelta(hours=1))
        token_id = token.id
        assert text.startswith(token.prefix)
        assert text not in repr(vars(session.scalars(select(ApiToken)).one()))
        assert users.find_token_user(session, text) is session.get(User, user_id)
        assert users.find_token_user(session, text[:-1]) is None
    with transaction() as session:
        session.execute(update(ApiToken).values(expires_at=utc_now()))
    with transaction() as session:
        assert users.find_token_user(session, text) is None
        with pytest.raises(NotFound):
            users.delete_token(session, session.get_one(User, other_id), token_id)
        users.delete_token(session, session.get_one(User, user_id), token_id)
    with transaction() as session:
        assert session.scalars(select(ApiToken)).all() == []


def test_tokens_are_few_named_apart_and_not_made_expired() -> None:
    user_id = make_user("ann")
    with transaction() as session:
        for number in range(users.MAX_TOKENS - 1):
            users.create_token(session, user_id, f"t{number}", None)
        with pytest.raises(Conflict, match="of this name"):
            users.create_token(session, user_id, "t0", None)
        with pytest.raises(Invalid, match="passed"):
            users.create_token(session, user_id, "old", utc_now() - timedelta(seconds=1))
        users.create_token(session, user_id, "last", None)
        with pytest.raises(Conflict, match="delete one"):
            users.create_token(session, user_id, "more", None)


def test_of_two_tokens_of_one_name_at_once_one_is_made() -> None:
    user_id = make_user("ann")

    def create(_: int) -> str:
        try:
            with transaction() as session:
                users.create_token(session, user_id, "ci", None)
        except Conflict as error:
            return error.code
        return "made"

    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(create, range(4))) == ["made", *["token_name_taken"] * 3]
