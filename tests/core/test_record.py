"""Records and whose they are."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from favsync.core.record import Action, Owner, Version, entity_key, entity_name, owner_key, owner_of, shared_owner
from favsync.core.text import check_text

names = st.text(st.characters(exclude_characters="/"), max_size=3)
subjects = st.text(max_size=5)


def test_a_deployment_that_configures_nothing_has_one_tenant() -> None:
    assert owner_key("1001") == "main/main/1001"
    assert entity_key("favorites") == "main/favorites"


@given(st.tuples(names, names, subjects), st.tuples(names, names, subjects))
def test_two_owners_never_share_a_key(one: tuple[str, str, str], other: tuple[str, str, str]) -> None:
    keys = [owner_key(subject, tenant=tenant, namespace=namespace) for tenant, namespace, subject in (one, other)]
    assert (keys[0] == keys[1]) == (one == other)
    assert entity_key("notes", tenant="acme") == "acme/notes"


@given(names, names, st.tuples(names.filter(bool), names.filter(bool), subjects))
def test_a_shared_set_is_owned_by_nobody_who_has_a_token(tenant: str, entity: str, user: tuple[str, str, str]) -> None:
    """A namespace is never empty."""
    reserved = shared_owner(entity, tenant=tenant)
    assert reserved == f"{tenant}//{entity}"
    assert reserved != owner_key(user[2], tenant=user[0], namespace=user[1])
    assert shared_owner("sessions") == "main//sessions"


@given(names, names.filter(bool), st.one_of(subjects, st.text("/ab", max_size=8)))
def test_an_owner_is_found_again_whatever_the_name(tenant: str, namespace: str, subject: str) -> None:
    """A subject may hold slashes, and begin or end with one."""
    key = owner_key(subject, tenant=tenant, namespace=namespace)
    assert owner_of(key) == Owner(tenant, namespace, subject)
    assert owner_of(owner_key("a/b//c/")) == Owner("main", "main", "a/b//c/")
    assert owner_of(owner_key("/")) == Owner("main", "main", "/")


@given(names, st.one_of(names, st.text("/ab", max_size=8)))
def test_a_shared_set_is_found_to_be_the_tenants(tenant: str, entity: str) -> None:
    assert owner_of(shared_owner(entity, tenant=tenant)) == Owner(tenant, None, None)


@given(names, subjects)
def test_an_entity_is_found_again(tenant: str, entity: str) -> None:
    assert entity_name(entity_key(entity, tenant=tenant)) == entity
    assert entity_name("acme/a/b") == "a/b"


def test_an_action_is_what_the_wire_calls_it() -> None:
    assert [Version(1, deleted=False).action, Version(1, deleted=True).action] == [Action.ADD, Action.DELETE]
    assert [action.value for action in Action] == ["ADD", "DELETE"]


@given(st.text())
def test_text_is_storable_where_utf_8_and_postgresql_take_it(text: str) -> None:
    check_text(text.replace("\0", ""))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a\0b", "^holds a NUL character$"),
        ("ü\0", "^holds a NUL character$"),
        ("\ud83d", "^holds half of a surrogate pair$"),
        ("a\udc00b", "^holds half of a surrogate pair$"),
    ],
)
def test_other_text_is_not(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_text(text)
