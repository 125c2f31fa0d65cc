"""`[[peers]]`: which of them are refused, since users would get into each other's way."""

from pathlib import Path
from typing import Any

import pytest

from favsync.core.errors import SettingsError
from favsync.peering import read_peers

KEYED: dict[str, Any] = {
    "name": "eau", "url": "https://eau.example.org", "get": "/users/{user}/list", "post": "/users/{user}/list",
    "header": {"name": "Authorization", "value": "Bearer the-key"},
}  # fmt: skip


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"get": "/list"}, "peers[0]: with a header, {user} has to be in each path: else all users had one list"),
        ({"post": "/list"}, "peers[0]: with a header, {user} has to be in each path: else all users had one list"),
        (
            {"header": {"name": "X-Key", "value_file": "/dev/null"}},
            "peers[0].header: value_file: /dev/null: is empty",
        ),
        (
            {"header": {"name": "X-Key", "value": "a\nb"}},
            "peers[0].header: the value of a header is ASCII, on one line",
        ),
        (
            {"url": "https://a.example/x/getUserFavorites/", "get": "/getUserFavorites"},
            "peers[0].url: is what the paths are behind: leave /getUserFavorites away",
        ),
        ({"header": None}, "peers[0]: {user} in a path goes with a header: a user's token says whose it is"),
    ],
)
def test_a_peer_that_cannot_be_asked_for_one_user_is_refused(change: dict[str, Any], said: str, tmp_path: Path) -> None:
    table = {key: value for key, value in (KEYED | change).items() if value is not None}
    with pytest.raises(SettingsError) as refused:
        read_peers([table], tmp_path)
    assert refused.value.detail == said


def test_a_url_with_a_query_is_refused_and_not_each_cycle(tmp_path: Path) -> None:
    with pytest.raises(SettingsError):
        read_peers([KEYED | {"url": "https://eau.example.org/?tenant=7"}], tmp_path)


def test_the_path_that_is_not_used_may_be_any(tmp_path: Path) -> None:
    [peer] = read_peers([KEYED | {"post": "/list", "direction": "pull"}], tmp_path)
    assert (peer.get, peer.by_token) == ("/users/{user}/list", False)
    assert "the-key" not in repr(peer)
