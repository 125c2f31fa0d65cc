"""Records as nearly all are written are read without marshmallow: it would have said the same."""

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from favsync.catalog.entity import FAVORITES
from favsync.core.record import Record
from favsync.entities.forms import Form, Terms
from tests.core.strategies import texts, values

DATES = [
    "2017-05-02T10:45:12.798Z", "2017-05-02t10:45:12z", "2017-05-02 10:45:12.1234567", "2017-05-02T10:45:12+02:30",
    "1970-01-01T00:00:00Z", "1969-12-31T23:59:59.999Z", "2100-12-31T23:59:59.999999Z", "2101-01-01T00:00:00Z",
    "2016-12-31T23:59:60Z", "2017-02-29T00:00:00Z", "2017-W18-2", "2017-05-02", "", "\u0662017-05-02T10:45:12Z",
    "0000-01-01T00:00:00Z",
]  # fmt: skip
items = texts | st.sampled_from(["", "a", "x" * 255, "x" * 256, "\u00fc" * 255, "a\0b", "\ud800", "\udfff\ud800"])
known = {
    "item": items | values,
    "actionDate": st.sampled_from(DATES) | values,
    "action": st.sampled_from(["ADD", "DELETE", "add", "ADD ", ""]) | values,
    "user": items | values,
    "namespace": st.sampled_from(["main", "other", ""]) | values,
    "fields": values,
}
usual = st.fixed_dictionaries({"item": items, "actionDate": st.sampled_from(DATES), "action": known["action"]})
candidates = (
    usual
    | st.fixed_dictionaries({}, optional=known).flatmap(lambda odd: usual.map(lambda plain: plain | odd))
    | st.fixed_dictionaries({}, optional=known)
    | values
)


@pytest.mark.parametrize("named", [False, True])
@example(body=[{"item": "a", "actionDate": DATES[0], "action": "ADD"}], offset_us=0)
@given(
    body=st.lists(candidates, max_size=4) | st.lists(usual, max_size=9),
    offset_us=st.sampled_from([0, 1, -1, 10**6, -(10**18)]),
)
async def test_it_is_what_marshmallow_says(named: bool, body: list[Any], offset_us: int) -> None:
    """Of some records together, and of each by itself."""
    quick, slow = Form(FAVORITES, named=named), Form(FAVORITES, named=named)
    slow.rich = True
    terms = Terms(owner="ann", entity="e", owner_of=lambda *who: str(who), namespaces={"main"}, offset_us=offset_us)
    assert await quick.read(body, terms, prefix="/p") == await slow.read(body, terms, prefix="/p")


@pytest.mark.parametrize("named", [False, True])
async def test_a_plain_record_needs_no_marshmallow(named: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    form = Form(FAVORITES, named=named)
    monkeypatch.setattr(form, "_load", None)
    body = [{"item": "a", "actionDate": date, "action": action} for date in DATES[:6] for action in ("ADD", "DELETE")]
    body = [one for one in body if not one["actionDate"].startswith("1969")]
    terms = Terms(owner="ann", entity="e", owner_of=lambda *who: str(who), namespaces=set())
    found, faults = await form.read(body, terms, prefix="")
    assert faults == []
    assert [type(one) for one in found] == [Record] * len(body)
