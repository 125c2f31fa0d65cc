"""Records and whose they are."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from favsync.core.record import Action, Version, entity_key, owner_key
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
