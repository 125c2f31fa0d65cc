"""Another favsync as a peer, by one token for all of its users: as docs/peers.md says."""

import functools
import re
from pathlib import Path

import pytest

from tests.e2e.service import SECRET, Service, token
from tests.peers.third_party import until
from tests.postgres import Server

PAGE = (Path(__file__).parents[2] / "docs/peers.md").read_text()
KEY = "what seals the tokens of these tests"
RECORD = {"item": "session_1", "actionDate": "2020-01-01T00:00:00.000001Z", "action": "ADD"}


def _has(service: Service, user: str, records: list[dict[str, str]]) -> bool:
    return bool(service.request("GET", "/getUserFavorites", user=user).content == records)


@pytest.mark.parametrize("user", ["ann", "a&user=bob/é"])
async def test_one_link_takes_changes_both_ways(user: str, postgres: Server, tmp_path: Path) -> None:
    names = [await postgres.create_database() for _ in range(2)]
    here, there = (postgres.dsn(name) for name in names)
    [_, table] = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    with Service(database_url=there) as other:
        config = tmp_path / "favsync.toml"
        config.write_text(table.replace("https://favsync.example.org", other.url) + 'interval = "1s"\n')
        (tmp_path / "other-token").write_text(f"Bearer {token('sync', 'sync:any')}\n")
        with Service(database_url=here, config=config, link_keys=KEY, jwt_secret=SECRET) as service:
            assert service.request("PUT", "/peers/other/link", {}, user=user).status == 200
            service.request("POST", "/postUserFavorites", [RECORD], user=user)
            other.request("POST", "/postUserFavorites", [RECORD | {"item": "session_2"}], user=user)
            both = [RECORD, RECORD | {"item": "session_2"}]
            for one in (service, other):
                await until(functools.partial(_has, one, user, both))
                assert one.request("GET", "/getUserFavorites", user="bob").content == []
    for name in names:
        await postgres.drop_database(name)
