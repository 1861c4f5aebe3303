"""A token is shown once and kept as a digest; what is done is written down in a chain that shows every change."""

from __future__ import annotations

import sqlite3
import threading
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from carrara.core.errors import CarraraError, CheckFailed, Forbidden, NotFoundError, Unauthenticated
from carrara.core.identity import acting_as
from carrara.metadata.access import (
    ROLES,
    Authenticator,
    authenticate,
    create_token,
    list_tokens,
    revoke_token,
)
from carrara.metadata.aliases import move_alias
from carrara.metadata.audit import list_entries, record, verify
from carrara.metadata.deployments import deploy
from carrara.metadata.store import Metadata

MAY = datetime(2024, 5, 1, tzinfo=UTC)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "m.db"


@pytest.fixture
def metadata(path):
    made = Metadata(f"sqlite:///{path}")
    yield made
    made.close()


def write(metadata: Metadata, *objects: str) -> None:
    for name in objects:
        with metadata.begin() as connection:
            record(connection, "try", name, note="é", number=1.5)


def write_and_fail(metadata: Metadata) -> None:
    with metadata.begin() as connection:
        record(connection, "try", "a")
        record(connection, "try", "b", what=object())


def change(path, sql: str) -> None:
    connection = sqlite3.connect(path)
    connection.execute(sql)
    connection.commit()
    connection.close()


def test_a_token_is_known_by_its_text_and_the_store_holds_no_text(metadata, path):
    made, text = create_token(metadata, "ada", "editor")
    assert authenticate(metadata, text) == made == list_tokens(metadata)[0]
    assert text.startswith(f"carrara_{made.id}_")
    secret = text.rpartition("_")[2]
    assert secret.encode() not in path.read_bytes()
    assert all(secret not in str(entry) for entry in list_entries(metadata))


def test_each_role_may_do_what_the_ones_before_it_may():
    assert ROLES == ("viewer", "editor", "deployer", "admin")


def test_a_role_that_does_not_reach_is_refused_by_name(metadata):
    made, _ = create_token(metadata, "ada", "editor")
    made.require("viewer")
    made.require("editor")
    with pytest.raises(Forbidden, match="'ada' is an editor, and this needs a deployer"):
        made.require("deployer")


def test_an_unknown_role_is_refused_with_the_nearest_one(metadata):
    with pytest.raises(NotFoundError, match="Did you mean 'deployer'"):
        create_token(metadata, "ada", "deploier")


@pytest.mark.parametrize("change", [lambda t: t[:-1], lambda t: t + "x", lambda t: t.upper(), lambda t: "", str.strip])
def test_only_the_exact_text_is_the_token(metadata, change):
    _, text = create_token(metadata, "ada", "admin")
    other = change(text) if change is not str.strip else text + "\n"
    with pytest.raises(Unauthenticated):
        authenticate(metadata, other)


def test_the_id_of_one_token_with_the_secret_of_another_is_refused(metadata):
    first, one = create_token(metadata, "ada", "admin")
    second, other = create_token(metadata, "bob", "viewer")
    with pytest.raises(Unauthenticated):
        authenticate(metadata, other.replace(second.id, first.id))
    assert authenticate(metadata, one) == first


@settings(deadline=None, max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text() | st.from_regex(r"carrara_[0-9a-f]{12}_[A-Za-z0-9_-]{43}", fullmatch=True))
def test_no_other_text_is_a_token(metadata, text):
    with pytest.raises(Unauthenticated):
        authenticate(metadata, text)


def test_a_token_ends_when_it_expires_or_is_revoked(metadata):
    made, text = create_token(metadata, "ada", "viewer", lasts=timedelta(days=1), at=MAY)
    assert authenticate(metadata, text, at=MAY + timedelta(hours=23)) == made
    with pytest.raises(Unauthenticated):
        authenticate(metadata, text, at=MAY + timedelta(days=1))
    other, text = create_token(metadata, "bob", "viewer")
    assert revoke_token(metadata, "bob").id == other.id
    with pytest.raises(Unauthenticated):
        authenticate(metadata, text)


def test_two_valid_tokens_never_share_a_name_and_an_ended_one_gives_its_name_free(metadata):
    first, _ = create_token(metadata, "ada", "viewer")
    with pytest.raises(CarraraError, match="there is a token 'ada' already"):
        create_token(metadata, "ada", "viewer")
    ended = revoke_token(metadata, first.id)
    create_token(metadata, "ada", "viewer")
    assert revoke_token(metadata, first.id) == ended


def test_a_server_sees_within_its_seconds_that_a_token_was_revoked(metadata):
    made, text = create_token(metadata, "ada", "viewer")
    patient, strict = Authenticator(metadata, seconds=3600), Authenticator(metadata, seconds=0)
    assert patient(text) == strict(text) == made
    revoke_token(metadata, made.id)
    assert patient(text) == made
    with pytest.raises(Unauthenticated):
        strict(text)


def test_a_server_that_remembers_a_token_sees_it_expire(metadata):
    at = [MAY]
    _, text = create_token(metadata, "ada", "viewer", lasts=timedelta(hours=1), at=MAY)
    asked = Authenticator(metadata, seconds=3600, clock=lambda: at[0])
    asked(text)
    at[0] += timedelta(hours=2)
    with pytest.raises(Unauthenticated):
        asked(text)


def test_what_changes_the_world_is_written_down_with_who_did_it(metadata):
    with acting_as("ada"):
        deploy(metadata, "late", "late", 1)
        deploy(metadata, "late", "late", 1)
        deploy(metadata, "late", "late", 2)
        move_alias(metadata, "late", "champion", 2)
    told = [(e.who, e.action, e.object, e.details) for e in reversed(list_entries(metadata))]
    assert told == [
        ("ada", "deploy", "endpoint:late", {"serves": "late@1", "before": None}),
        ("ada", "deploy", "endpoint:late", {"serves": "late@2", "before": "late@1"}),
        ("ada", "move alias", "model:late@2", {"alias": "champion"}),
    ]


def test_a_deed_that_fails_leaves_no_entry(metadata):
    with pytest.raises(TypeError):
        write_and_fail(metadata)
    assert list_entries(metadata) == []


def test_entries_are_found_by_object_and_pages(metadata):
    write(metadata, "a", "b", "a", "a")
    assert [e.number for e in list_entries(metadata, object="a")] == [4, 3, 1]
    assert [e.number for e in list_entries(metadata, limit=2, offset=1)] == [3, 2]


def test_an_unbroken_log_is_verified_and_an_empty_one_too(metadata):
    assert verify(metadata).entries == 0
    write(metadata, "a", "b")
    found = verify(metadata)
    assert (found.entries, found.digest) == (2, list_entries(metadata)[0].digest)


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE audit SET who = 'eve' WHERE number = 2",
        "UPDATE audit SET details = '{}' WHERE number = 2",
        "UPDATE audit SET at = at + 1 WHERE number = 2",
        "DELETE FROM audit WHERE number = 2",
        "DELETE FROM audit WHERE number = 1",
        "UPDATE audit SET number = 9 WHERE number = 3",
    ],
)
def test_no_entry_is_changed_or_taken_out_unseen(metadata, path, sql):
    write(metadata, "a", "b", "c")
    change(path, sql)
    with pytest.raises(CheckFailed, match="not what was written, from entry"):
        verify(metadata)


def test_a_log_that_was_cut_off_is_seen_by_who_kept_a_digest(metadata, path):
    write(metadata, "a", "b", "c")
    kept = verify(metadata).digest
    assert verify(metadata, holds=kept).entries == 3
    change(path, "DELETE FROM audit WHERE number = 3")
    assert verify(metadata).entries == 2
    with pytest.raises(CheckFailed, match="it was cut off"):
        verify(metadata, holds=kept)


def test_threads_that_write_at_once_make_one_chain(metadata):
    threads = [threading.Thread(target=write, args=(metadata, *"abcde")) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert verify(metadata).entries == 20


def test_a_reader_waits_for_no_writer(metadata):
    with metadata.begin() as connection:
        record(connection, "try", "a")
        assert list_entries(metadata) == []
    assert len(list_entries(metadata)) == 1
