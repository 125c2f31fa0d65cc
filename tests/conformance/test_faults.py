"""Each check finds its fault: backends over real HTTP that do all but one thing as documented."""

from typing import Any

import pytest

from tests.conformance.backend import TOKEN
from tests.conformance.conftest import Start, examined, marks

_UNREFUSED = "differs: POST with no token and a made-up token is not refused, and changes nothing"

# fault: what is said beside ok, check by check; and the settings that differ from {"precision": "us"}
FAULTS: dict[str, tuple[dict[str, str], dict[str, Any]]] = {
    "html": ({"get": "fails: GET /getUserFavorites: the answer is HTML"}, {}),
    "half": ({"get": "fails: GET /getUserFavorites: the answer is no JSON, or not all of it"}, {}),
    "wrapped": ({"get": "fails: GET /getUserFavorites: the answer is JSON, and no list"}, {}),
    "redirects": ({"get": "fails: GET /getUserFavorites: it answered 302"}, {}),
    "hangs": ({"get": "fails: GET /getUserFavorites: there was no answer in time"}, {}),
    "endless": ({"get": "fails: GET /getUserFavorites: the answer has more than"}, {}),
    "endless records": ({"get": "fails: GET /getUserFavorites: the list has more than 100000 records"}, {}),
    "numeric GMT": ({}, {}),
    "western time": ({"precision": "fails: the date comes back -4.00 hours later"}, {}),
    "leads elsewhere": ({"get": "fails: GET /getUserFavorites: the next page is at another service"}, {}),
    "paged": ({"etag": "differs: there is no ETag"}, {}),
    "content type": ({"content-type": "differs: it says text/html"}, {}),
    "anybody reads": ({"token": "fails: GET lets in no token and a made-up token"}, {}),
    "400 to strangers": ({"token": "differs: a wrong token is answered 400"}, {}),
    "log in": ({"token": "differs: a wrong token is answered 200, not 401", "post-token": _UNREFUSED}, {}),
    "200 to strangers": ({"token": "differs: a wrong token is answered 200, not 401", "post-token": _UNREFUSED}, {}),
    "nothing for strangers": ({"token": "fails: GET lets in no token", "post-token": _UNREFUSED}, {}),
    "anybody writes": ({"post-token": "fails: POST takes records with no token and a made-up token"}, {}),
    "one unreadable": ({"records": "differs: 1 of 2 cannot"}, {}),
    "other names": ({"records": "fails: none of the 1 can be read", "read-back": "fails"}, {}),
    "future dates": ({"dates": "differs: 1 of 2 are in the future"}, {}),
    "no zone": ({"dates": "differs: 1 of 1 have no zone"}, {}),
    "other zone": ({"dates": "differs: 1 of 1 are in another zone"}, {}),
    "local time": ({"precision": "fails: the date comes back +2.00 hours later"}, {}),
    "no etag": ({"etag": "differs: there is no ETag"}, {}),
    "tag unread": ({"etag": "differs: its own tag is answered 200"}, {}),
    "304 to any": ({"etag": "fails: 304 to a tag that it never gave", "etag-changes": "fails"}, {}),
    "500 to a tag": ({"etag": "fails: If-None-Match with its own tag is answered 500"}, {}),
    "stale tag": ({"etag-changes": "fails: 304 although"}, {}),
    "no POST": ({"post": "differs: POST is answered 404: it is not there", "tombstones": ""}, {"direction": "pull"}),
    "403 to POST": (
        {"post": "differs: POST is answered 403: it is not allowed", "tombstones": ""},
        {"direction": "pull"},
    ),
    "500 to POST": ({"post": "fails: POST of one good record is answered 500"}, {}),
    "422 to POST": ({"post": "fails: POST of one good record is answered 422"}, {}),
    "302 to POST": ({"post": "fails: it answered 302, a redirect"}, {}),
    "html to POST": ({"post": "fails: the answer to a POST is HTML"}, {}),
    "ignores": ({"read-back": "fails: what was written is not in the list"}, {}),
    "slow": ({"read-back": "differs: what was written is in the list after"}, {}),
    "ms": ({}, {"precision": "ms"}),
    "seconds": ({"precision": "differs: dates are cut off to seconds"}, {"precision": "s"}),
    "rounds ms": ({"precision": "differs: dates are rounded up to milliseconds"}, {"precision": "ms"}),
    "rounds seconds": ({"precision": "differs: dates are rounded up to seconds"}, {"precision": "s"}),
    "minutes": ({"precision": "fails: the date comes back without its seconds"}, {}),
    "own clock": ({"precision": "fails: the date comes back as the time of writing"}, {}),
    "refuses us": ({}, {"precision": "ms"}),
    "refuses ms": ({"precision": "differs: a date with milliseconds is refused"}, {"precision": "s"}),
    "refuses any fraction": ({"precision": "fails: a date with a fraction of a second is refused"}, {}),
    "keeps ADD": (
        {
            "tombstones": "fails: a newer DELETE changes nothing",
            "older": "",
            "ties": "",
            "left": "differs: 114 items could not be deleted",
        },
        {},
    ),
    "only ADD": ({"tombstones": "fails: a newer DELETE changes nothing", "older": "", "ties": "", "left": ""}, {}),
    "no tombstones": (
        {"tombstones": "differs: what was deleted vanishes", "older": "differs: an older ADD brings back"},
        {"precision": "us", "absence": "delete"},
    ),
    "stamps deletions": ({"tombstones": "fails: a DELETE comes back with another date", "newer": ""}, {}),
    "deletions stay": ({"newer": "fails: a newer ADD does not replace a DELETE"}, {}),
    "first date": ({"newer": "fails: a newer ADD leaves the older date"}, {}),
    "arrival": ({"older": "fails: an older action replaces a newer", "ties": "differs"}, {}),
    "old ADD": ({"older": "fails: an older ADD brings back"}, {}),
    "newer only": ({"ties": "differs: of two actions on one instant the first stands"}, {}),
    "last of a tie": ({"ties": "differs: of two actions on one instant the last to arrive stands"}, {}),
    "ADD of a tie": ({"ties": "differs: of two actions on one instant ADD stands"}, {}),
    "doubles": ({"repeat": "fails: the same record again makes a second"}, {}),
    "409 to others": ({"ties": "differs: of two actions on one instant the first", "repeat": "differs: "}, {}),
    "409 to a repeat": ({"repeat": "differs: the same record again is answered 409"}, {}),
    "lower case": ({"names": "differs: items come back under another name, or not at all: both cases"}, {}),
    "short names": ({"names": "differs: some names of items are refused: 255 characters"}, {}),
    "strict members": ({"unknown": "differs: a record with a member that it does not know is answered 422"}, {}),
    "takes the future": ({"future": "differs: a date in the future is stored"}, {}),
    "clamps": ({"future": "differs: a date in the future becomes another"}, {}),
    "ten at once": ({"batch": "differs: of 100 records in one POST not all"}, {"precision": "us", "batch": 6}),
    "first fifty": ({"batch": "differs: of 100 records in one POST not all"}, {"precision": "us", "batch": 50}),
    "one at a time": ({"batch": "differs: of 100 records in one POST not all"}, {"precision": "us", "batch": 1}),
    "in part": ({"mixed": "differs: a list with one bad record is refused, and stored in part"}, {}),
    "yes to nothing": ({"mixed": "fails: a list with one bad record is answered with a yes"}, {}),
    "500 to mixed": ({"mixed": "differs: a list with one bad record is answered as a fault"}, {}),
    "500 to bad input": ({"bad-input": "differs: what is not valid is answered as a fault", "mixed": ""}, {}),
    "200 to bad input": ({"bad-input": "differs: what is not valid is answered with a yes", "mixed": "fails: "}, {}),
    "dates unread": ({"bad-input": "differs: what is not valid is stored"}, {}),
    "falls over": ({"bad-input": "fails: after bad input its list cannot be read", "left": "differs: what"}, {}),
    "lenient": ({}, {}),
    "prefers": ({}, {}),
    "busy": ({}, {}),
}


@pytest.mark.parametrize("fault", FAULTS)
async def test_each_fault_is_found_and_no_other(fault: str, backend: Start) -> None:
    expected, settings = FAULTS[fault]
    one = await backend(fault)
    report = await examined(one.url, TOKEN, timeout_s=1.0 if fault == "hangs" else 10.0)
    found = marks(report)
    assert sorted(found) == sorted(expected), found
    for check, said in expected.items():
        assert found[check].startswith(said)
    assert report.ok == (not any(said.startswith("fails") for said in found.values()))
    if settings:
        assert report.settings == settings
    elif report.ok:
        assert report.settings == {"precision": "us"}
