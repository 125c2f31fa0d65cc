"""Offering a peer what it lacks: in batches, and record by record where it refuses some of one."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus

import orjson

from favsync import client
from favsync.client import Client, ClientError, Invalid, Refused, Unauthorized
from favsync.peering import Peer
from favsync.store.records import Row

REQUESTS_MAX = 200  # in one cycle, to find out which of what was sent is refused


@dataclass(slots=True)
class Offered:
    """Items, by what the peer said of them. `failure`: what ended it early; the others were not sent."""

    accepted: set[str] = field(default_factory=set)
    refused: set[str] = field(default_factory=set)
    failure: ClientError | None = None


async def offer(wire: Client, peer: Peer, rows: Mapping[str, Row]) -> Offered:
    """Sends our rows, by what the items are called there. A refused batch is halved until it is known what is refused.

    Raises Unauthorized.
    """
    found, items, requests = Offered(), list(rows), 0
    parts = [items[at : at + peer.batch] for at in range(0, len(items), peer.batch)][::-1]
    while parts and requests < REQUESTS_MAX:
        part = parts.pop()
        requests += 1
        try:
            written = [_written(item, rows[item], peer.rules.precision_us) for item in part]
            receipts = await wire.push(written, lenient=True, batch=peer.batch)
        except Unauthorized:
            raise
        except ClientError as error:
            conflict = isinstance(error, Refused) and error.status == HTTPStatus.CONFLICT
            if not (conflict or isinstance(error, Invalid)):
                found.failure = error
                break
            if len(part) > 1:
                parts += [part[len(part) // 2 :], part[: len(part) // 2]]
                continue
            # It says that it has one as new, or newer, which its list will show; or this may be too early for it.
            in_vain = conflict or rows[part[0]].action_us > wire.clock.now_us()
            (found.accepted if in_vain else found.refused).add(part[0])
            continue
        bad = {item for item, one in zip(part, receipts or [], strict=False) if one.outcome in ("invalid", "limit")}
        found.refused |= bad
        found.accepted |= set(part) - bad
    return found


def _written(item: str, row: Row, unit_us: int) -> client.Record:
    """With the date as the peer sees it: it may refuse one that is more exact."""
    fields = None if row.fields is None else orjson.loads(row.fields)
    return client.Record(item, row.action_us // unit_us * unit_us, row.deleted, fields)
