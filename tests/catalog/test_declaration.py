"""How entities are declared: what a file makes of them, and what is wrong in it, all at once, with its lines."""

import re
import tomllib
from datetime import date, datetime, time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from favsync import settings
from favsync.catalog import field_tables
from favsync.catalog.declaration import read_entities
from favsync.catalog.entity import FAVORITES, Entity, Legacy, Scope, Unknown
from favsync.catalog.lines import Lines
from favsync.core.errors import SettingsError
from favsync.settings_sources import declared
from tests.catalog.test_types import json_schema
from tests.e2e.test_cli import favsync

EXAMPLE = Path(__file__).parents[2] / "examples/entities.toml"
FAULTY = Path(__file__).with_name("faulty.toml")
# What each line of it says is wrong there.
FAULTS = [said for line in FAULTY.read_text().splitlines() for said in re.split(r" # (?=\d+: )", line)[1:]]


def entities(text: str) -> tuple[Entity, ...]:
    found, mistakes = read_entities(tomllib.loads(text)["entities"])
    assert mistakes == []
    return found


def test_the_example_is_what_it_says() -> None:
    found, faults = declared(EXAMPLE)
    assert faults == []
    assert [entity.name for entity in found] == ["favorites", "notes", "ratings", "sessions"]
    favorites, notes, ratings, sessions = found
    assert favorites is FAVORITES
    assert (notes.scope, notes.max_items, notes.legacy) == (Scope.USER, 500, Legacy("/getUserNotes", "/postUserNotes"))
    assert (ratings.unknown, ratings.max_items, ratings.needs_fields) == (Unknown.DROP, None, True)
    assert (sessions.scope, sessions.has_fields) == (Scope.SHARED, True)
    session = {
        "title": "Sync", "start": "2027-05-02T10:45:00+02:00", "end": "2027-05-02T11:30:00+02:00", "room": None,
        "speakers": [{"name": "Ann"}], "tracks": ["data"], "price": "12.50", "source": {"id": 1},
    }  # fmt: skip
    assert sessions.fields().load(session) == session


def test_the_built_in_entity_may_be_changed_and_keeps_what_is_not_said() -> None:
    [favorites] = entities("[entities.favorites]\nmax_items = 7\nfields.stars.type = 'integer'")
    assert (favorites.max_items, favorites.has_fields, favorites.needs_fields) == (7, True, False)
    assert (favorites.unknown, favorites.legacy, favorites.description) == (
        FAVORITES.unknown, FAVORITES.legacy, FAVORITES.description,
    )  # fmt: skip
    free = entities("[entities.favorites]\nunknown = 'keep'\n[entities.notes]\nlegacy = {get = '/n', post = '/n'}")
    assert [(entity.has_fields, entity.needs_fields) for entity in free] == [(True, False), (False, False)]


def test_a_name_may_change_and_what_is_stored_stays() -> None:
    [_, one, back] = entities("[entities.c]\nwas = ['a', 'b']\n[entities.x]\nwas = ['x', 'y']")
    assert (one.stored, one.names) == ("a", ("c", "a", "b"))
    assert (back.stored, back.names) == ("x", ("x", "y")), "renamed, and renamed back"


def test_every_fault_is_told_with_its_line(tmp_path: Path) -> None:
    done = favsync("entities", "--config", str(FAULTY))
    assert (done.returncode, done.stdout) == (1, "")
    told = [line.removeprefix(f"{FAULTY}:") for line in done.stderr.splitlines()]
    assert told == FAULTS, "in the order of the file"
    with_returns = tmp_path / "favsync.toml"
    with_returns.write_bytes(FAULTY.read_bytes().replace(b"\n", b"\r\n"))
    assert [line.removeprefix(f"{with_returns}:") for line in declared(with_returns)[1]] == told
    with pytest.raises(SettingsError) as caught:
        settings.load(config=FAULTY)
    more = f", and there are {len(FAULTS) - 1} more: `favsync entities` lists them"
    assert caught.value.detail == f"{FAULTY}:{told[0]}{more}"


def test_the_first_fault_is_told_with_how_many_more_there_are(tmp_path: Path) -> None:
    file = tmp_path / "favsync.toml"
    for faults, more in (
        (1, ""),
        (2, "is 1 more: `favsync entities` lists it"),
        (3, "are 2 more: `favsync entities` lists them"),
    ):
        file.write_text("[entities.notes]\n" + "".join(f"x{number} = 1\n" for number in range(faults)))
        with pytest.raises(SettingsError) as caught:
            settings.load(config=file)
        first = f"{file}:2: entities.notes.x0: there is no such key"
        assert caught.value.detail == first + (f", and there {more}" if more else "")


def test_a_good_file_is_listed() -> None:
    done = favsync("entities", "--config", str(EXAMPLE), max_items=77)
    assert (done.returncode, done.stderr) == (0, "")
    for line in (
        "notes      user    refuse   500    /sync/notes, GET /getUserNotes, POST /postUserNotes",
        "ratings    user    drop     77     /sync/ratings",
        "  stars               integer   required, between 1 and 5",
        "  tracks[]            string    matching ^[a-z0-9-]{1,40}$",
        "  speakers[].name     string    required, at most 200 characters",
    ):
        assert line in done.stdout.splitlines()
    assert favsync("entities").stdout.splitlines()[1:] == [
        "favorites  user   drop     10000  /sync/favorites, GET /getUserFavorites, POST /postUserFavorites"
    ]


def test_config_shows_where_an_entity_was_declared() -> None:
    shown = favsync("config", "--config", str(EXAMPLE)).stdout
    assert re.search(r"^entities\.favorites +=.*# default$", shown, re.MULTILINE)
    said = rf"^entities\.sessions += shared, 14 fields, unknown: refuse +# entities\.sessions in {EXAMPLE}$"
    assert re.search(said, shown, re.MULTILINE)


@pytest.mark.parametrize("value", ["5", "[]", "[[1]]", "'x'", "[{}]"])
def test_what_is_no_table_is_said(tmp_path: Path, value: str) -> None:
    (tmp_path / "favsync.toml").write_text(f"entities = {value}")
    with pytest.raises(SettingsError, match=r"favsync\.toml:1: entities: is not a table"):
        settings.load(config=tmp_path / "favsync.toml")


TABLES = """
[[x]] # of tables, in which there are tables
a = 1
[[x]]
a = \'\'\'
x.b = 1
[no]
\'\'\'
  [x.d]
b.c = [1,
[2, # no end

3]]
[[x.e."f.g"]]
"[" = "]"
[[x.e."f.g"]]
[x.e.h]
[[x]]
e = { i = [{ j = 1 }] }
"""


def paths(value: Any, path: tuple[Any, ...] = ()) -> set[tuple[Any, ...]]:
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return {path}.union(*(paths(member, (*path, key)) for key, member in pairs))


@pytest.mark.parametrize("text", [TABLES, FAULTY.read_text(), EXAMPLE.read_text()])
def test_a_place_is_found_where_the_file_begins_to_hold_it(text: str) -> None:
    lines, seen, first = Lines(text), {()}, 1
    for count, _ in enumerate(text.splitlines(), start=1):
        try:
            now = paths(tomllib.loads("\n".join(text.splitlines()[:count])))
        except ValueError:
            continue
        assert {path: lines.line(path) for path in now - seen} == dict.fromkeys(now - seen, first)
        seen, first = now, count + 1
    assert len(seen) > 20
    assert [lines.line(()), lines.line(("missing", 0)), lines.line((*max(seen, key=lines.line), 7, "x"))] == [
        1, 1, max(map(lines.line, seen)),
    ]  # fmt: skip


KEYS = st.sampled_from(
    [*field_tables._KEYS, "scope", "max_items", "legacy", "was", "get", "post", "a", "favorites", ""]
)
WORDS = st.sampled_from(
    [
        "string",
        "integer",
        "list",
        "object",
        "datetime",
        "decimal",
        "keep",
        "user",
        "(",
        "a",
        "/a/..",
        "//",
        "2017-05-02",
    ]
)
LEAVES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.sampled_from([10**400, -(2**53)]), st.floats(), st.text(), WORDS,
    st.sampled_from(["\ud800", datetime(2026, 1, 1), date(2026, 1, 1), time(1)]), st.binary(max_size=1),  # noqa: DTZ001
)  # fmt: skip
ANYTHING = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS | st.text(), inner, max_size=5)
)
FIELD = st.fixed_dictionaries({"type": st.sampled_from(list(field_tables._TYPES))}).flatmap(
    lambda one: st.dictionaries(KEYS, ANYTHING, max_size=4).map(lambda more: more | one)
)
ENTITY = st.dictionaries(KEYS, ANYTHING, max_size=3).flatmap(
    lambda one: st.dictionaries(KEYS, FIELD, max_size=3).map(lambda fields: one | {"fields": fields})
)


@given(ANYTHING | st.dictionaries(st.sampled_from(["a", "b", "favorites"]), ENTITY | ANYTHING, max_size=3))
def test_nothing_that_stands_there_makes_the_reader_stumble(value: Any) -> None:
    found, mistakes = read_entities(value)
    assert found[0].name == "favorites"
    for mistake in mistakes:
        assert mistake.place.startswith("entities")
        assert mistake.detail
        walked: Any = {"entities": value}
        for key in mistake.path[:-1]:  # all but the last, which may be what is missing
            walked = walked[key]
    if not mistakes:
        for entity in found:
            assert json_schema(entity)["type"] == "object"


def test_an_object_may_be_nested_as_deep_as_a_record_and_no_deeper() -> None:
    def nested(levels: int) -> dict[str, Any]:
        return {"type": "object", "fields": {"a": nested(levels - 1)}} if levels > 1 else {"type": "string"}

    assert read_entities({"a": {"fields": {"a": nested(32)}}})[1] == []
    [mistake] = read_entities({"a": {"fields": {"a": nested(33)}}})[1]
    assert mistake.detail == "is nested deeper than 32 levels"


def test_what_the_page_shows_is_what_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = (Path(__file__).parents[2] / "docs/entities.md").read_text()
    blocks = re.findall(r"^```\w*\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    monkeypatch.chdir(tmp_path)
    told = []
    for block in blocks[:2]:
        (tmp_path / "favsync.toml").write_text(block)
        told.append(declared()[1])
    assert told == [[], blocks[2].splitlines()]
    for kind, (keys, _) in field_tables._TYPES.items():
        assert re.search(rf"^\| `{kind}` \|", page, re.MULTILINE), kind
        assert all(f"`{key}`" in page for key in keys)
