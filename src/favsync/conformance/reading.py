"""What the GET shows: that it is there, to whom, and what its list is like."""

import asyncio
import base64
import re
import secrets
import socket
from collections.abc import Mapping
from http import HTTPStatus
from urllib.parse import urlsplit

from favsync.client import BadAnswer, ClientError
from favsync.client.addresses import permitted
from favsync.client.records import Listing
from favsync.client.session import Answer
from favsync.client.texts import printable
from favsync.conformance.findings import Finding, differs, fails, ok
from favsync.conformance.probe import ITEMS, Json, Probe, instant
from favsync.core.timestamp import US_PER_MINUTE, US_PER_MS, US_PER_S
from favsync.identity.tables import LOOPBACK

CLOCK_SKEW_US = 10 * US_PER_MINUTE
_REFUSED = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)
_ZONE = re.compile(r"(?:[Zz]|[+-]00:00|([+-]\d\d:\d\d))\Z", re.ASCII)
_SIGNED = re.compile(r"[\w-]+\.[\w-]+\.[\w-]+", re.ASCII)
_MADE_UP_TAG = '"favsync-check-never-given"'


async def get(probe: Probe) -> list[Finding]:
    """The endpoint itself: without it nothing can be tried."""
    path = urlsplit(probe.target.get).path
    try:
        answer = await probe.get()
        probe.content(answer)
        await probe.read_raw()
    except ClientError as error:
        return [fails("get", f"GET {path}: {str(error).rstrip('.')}: there is nothing to read", ends=True)]
    kind = answer.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    found = [ok("get", f"GET {path} answers 200 with a list")]
    if kind == "application/json":
        found.append(ok("content-type", "it says application/json"))
    else:
        said = kind if re.fullmatch(r"[\w.+-]{1,60}/[\w.+-]{1,60}", kind, re.ASCII) else "no type"
        found.append(differs("content-type", f"it says {said}, not application/json: it is read all the same"))
    return found


async def address(probe: Probe) -> list[Finding]:
    """Whether a link may call there: it is stricter than this examination, whose URL is its caller's own."""
    url = probe.target.url
    if url.scheme == "http":
        if url.host in LOOPBACK:
            return []
        return [fails("address", "its URL is http, of another machine: favsync.toml takes https there")]
    try:
        found = await asyncio.get_running_loop().getaddrinfo(url.host, url.port, type=socket.SOCK_STREAM)
    except OSError:  # although it was found a moment ago
        return []
    closed = sorted({str(place[0]) for *_, place in found if not permitted(str(place[0]), ())})
    if not closed:
        return []
    said = f"it has an address that not the whole world can reach: {', '.join(closed)}"
    return [differs("address", said, networks=closed)]


async def token(probe: Probe) -> list[Finding]:
    """No token, one that was made up, and, where ours is signed, one with another signature: none may read."""
    tried = _forged(probe)
    answers = {name: await probe.get(proof=proof) for name, proof in tried.items()}
    read = [name for name, answer in answers.items() if _is_list(probe, answer)]
    if read:
        said = f"GET lets in {' and '.join(read)}, with a list: anybody may read, or who has no token has no favourites"
        return [fails("token", said)]
    others = sorted({answer.status for answer in answers.values() if answer.status not in _REFUSED})
    if others:
        words = "a wrong token is answered {}, not 401 or 403: a link would wait and try again, not ask for a new token"
        return [differs("token", words.format(" and ".join(map(str, others))))]
    if probe.target.header:
        return [ok("token", "a wrong value of the header is refused")]
    return [ok("token", "a wrong token is refused: a link says when it needs a new one")]


_SHARED = "a name that nobody has shows the same list: all users would have one; the paths or the key are wrong"
_FOREIGN = "a name that nobody has shows a list with records in it: see that each account has its own"


async def accounts(probe: Probe) -> list[Finding]:
    """Where the path names the account: what was written does not show under a name that nobody has."""
    if probe.target.header is None:
        return []
    others = await _others(probe)
    if others and any(map(probe.is_own, others)):
        return [fails("accounts", _SHARED, ends=True)]
    return [differs("accounts", _FOREIGN) if others else ok("accounts", "a name that nobody has shows no list of ours")]


async def seen_accounts(probe: Probe) -> list[Finding]:
    """Of one that is only read: as its lists tell."""
    if probe.target.header is None:
        return []
    others = await _others(probe)
    if others is None:
        return [ok("accounts", "a name that nobody has shows no list")]
    items, own = (
        {str(one.get("item")) for one in some if isinstance(one, dict)} for some in (others, await probe.read())
    )
    if items & own:
        return [fails("accounts", _SHARED)]
    if items:
        return [differs("accounts", _FOREIGN)]
    if not own:
        return [differs("accounts", "its list is empty, as is that of a name that nobody has: has each its own?")]
    return [ok("accounts", "a name that nobody has shows no record")]


async def _others(probe: Probe) -> list[Json] | None:
    """The first page of somebody's who is not there; None: it is no list."""
    try:
        return probe.content(await probe.get(account=f"{ITEMS}{secrets.token_hex(4)}"))
    except ClientError:
        return None


def _is_list(probe: Probe, answer: Answer) -> bool:
    """Not a page to log in at, nor an error in an answer of 200."""
    try:
        probe.content(answer)
    except ClientError:
        return False
    return True


async def write_token(probe: Probe) -> list[Finding]:
    """Likewise of the POST: what is sent would delete the item that was written; a yes alone proves nothing."""
    tried = _forged(probe)
    taken = []
    for name, proof in tried.items():
        record = probe.record("add", probe.date_us(1), "DELETE")
        try:
            yes = (await probe.post([record], proof=proof)).yes
        except BadAnswer:  # a page to log in at, or a redirect there
            yes = True
        taken += [name] if yes else []
    if not taken:
        return [ok("post-token", "a wrong token cannot write")]
    [shown] = await probe.shown("add")
    if shown is None or shown.action == "DELETE":
        return [fails("post-token", f"POST takes records with {' and '.join(taken)}: anybody may write")]
    said = f"POST with {' and '.join(taken)} is not refused, and changes nothing: no link learns by it of a token's end"
    return [differs("post-token", said)]


def _forged(probe: Probe) -> dict[str, Mapping[str, str]]:
    own = probe.target.token
    wrong: dict[str, Mapping[str, str]] = {"no token": probe.target.proof(None)}
    wrong |= {"a made-up token": probe.target.proof("favsync-check-wrong-token")}
    if not _SIGNED.fullmatch(own):
        return wrong
    head, claims, signature = own.split(".")
    other = base64.urlsafe_b64encode(b"\0" * max(1, len(signature) * 3 // 4)).decode().rstrip("=")
    return wrong | {"our token with another signature": probe.target.proof(f"{head}.{claims}.{other}")}


async def records(probe: Probe) -> list[Finding]:
    """The shape of each."""
    raw = await probe.read_raw()
    listing = Listing()
    for one in raw:
        listing.add(one)
    return [_shape(len(raw), listing), *([_earlier(probe.earlier)] if probe.earlier else [])]


def _shape(count: int, listing: Listing) -> Finding:
    wrong = listing.refused
    if not wrong:
        return ok("records", f"{count} in the list, each with item, actionDate and action")
    first = f"the first is number {wrong[0].index}: {wrong[0].reason}"
    if not listing.records:
        return fails("records", f"none of the {count} can be read; {first}: nothing would be learnt")
    return differs("records", f"{len(wrong)} of {count} cannot be read; {first}: those are left out, and counted")


def _earlier(items: list[str]) -> Finding:
    said = f"items of earlier examinations are there, and not deleted: {len(items)}, such as {printable(items[0])}"
    return differs("earlier", said)


async def dates(probe: Probe) -> list[Finding]:
    """GMT, as the list itself tells."""
    found = [one.get("actionDate") for one in await probe.read()]
    texts = [date for date in found if isinstance(date, str) and instant(date) is not None]
    zones = [_ZONE.search(date) for date in texts]
    bare = sum(zone is None for zone in zones)
    moved = sum(zone is not None and zone[1] is not None for zone in zones)
    limit_us = probe.now_us() + CLOCK_SKEW_US
    ahead = sum((instant(date) or 0) > limit_us for date in texts)
    said = []
    if bare:
        said.append(f"{bare} of {len(texts)} have no zone: they are taken for GMT, so they must be that")
    if moved:
        said.append(f"{moved} of {len(texts)} are in another zone: they are converted")
    if ahead:
        said.append(f"{ahead} of {len(texts)} are in the future: each is refused until its time has come")
    if said:
        return [differs("dates", "; ".join(said))]
    return [ok("dates", "in GMT" if texts else "there is none to see yet")]


async def seen_precision(probe: Probe) -> list[Finding]:
    """Of one that is only read: as its list shows it."""
    found = [us for one in await probe.read() if (us := instant(one.get("actionDate"))) is not None]
    if any(us % US_PER_MS for us in found):
        return [ok("precision", "there are microseconds in its list", precision="us")]
    if any(us % US_PER_S for us in found):
        return [ok("precision", "there are milliseconds in its list", precision="ms")]
    if found:
        return [differs("precision", "all dates in its list are whole seconds", precision="s")]
    return [ok("precision", "there is no date to see it by: the default is milliseconds")]


async def seen_tombstones(probe: Probe) -> list[Finding]:
    actions = [one.get("action") for one in await probe.read()]
    if "DELETE" in actions:
        return [ok("tombstones", "there are deletions in its list")]
    if not actions:
        return [differs("tombstones", "its list is empty: whether deletions stay in it cannot be seen")]
    words = 'no deletion is in its list: if what was deleted vanishes from it, absence = "delete" fits'
    return [differs("tombstones", words)]


async def etag(probe: Probe) -> list[Finding]:
    """A tag, that it holds while nothing changes, and that a made-up one does not."""
    first = probe.tag_of(await probe.get())
    if (await probe.get(tag=_MADE_UP_TAG)).status == HTTPStatus.NOT_MODIFIED:
        return [fails("etag", "304 to a tag that it never gave: changes would not be seen")]
    if first is None:
        return [differs("etag", "there is no ETag: each cycle reads the whole list")]
    status = (await probe.get(tag=first)).status
    if status == HTTPStatus.NOT_MODIFIED:
        return [ok("etag", "304 while nothing changes: a quiet link costs next to nothing")]
    if status != HTTPStatus.OK:
        return [fails("etag", f"If-None-Match with its own tag is answered {status}: a cycle would end there")]
    return [differs("etag", "its own tag is answered 200, not 304: each cycle reads the whole list")]
