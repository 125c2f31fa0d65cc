"""The doors of every entity: /sync/{entity}, the legacy paths that it declares, and /sync for a user's own together."""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import Any

from aiohttp import web

from favsync.catalog.entity import Scope
from favsync.core.errors import Fault, InsufficientScope, InvalidRecords
from favsync.core.fields import pointer_to
from favsync.core.merge import Outcome
from favsync.core.record import Record, entity_key
from favsync.entities import forms as reading
from favsync.entities import schemas
from favsync.entities.forms import Form, Refused, Terms
from favsync.entities.view import Shown, View
from favsync.http import keys, owners, queueing
from favsync.http.body import parse_json, read_body
from favsync.http.events import wants_events
from favsync.http.headers import clock_offset_us, preferences
from favsync.http.respond import PRIVATE, Reply, private_json
from favsync.identity.authenticator import Identity
from favsync.identity.issuers import SYNC_ANY
from favsync.store.records import MUCH
from favsync.sync import Receipt

_NAMING = ("user", "namespace")
# Of a body: beyond, reading it takes the event loop about half a millisecond, and it waits for its turn.
_SMALL_BYTES, _SMALL_RICH_BYTES = 16 * 1024, 4 * 1024


@dataclass(frozen=True, slots=True)
class Part:
    """The records of one entity in a body, which calls it `name`: what each is, place by place.

    `naming`: how each says whose it is; empty where none may.
    """

    name: str
    naming: Sequence[Mapping[str, Any]]
    candidates: list[Record | Refused]

    def dump(self, receipts: Iterator[Receipt]) -> list[dict[str, Any]]:
        """What became of each; of those that are valid, the next of `receipts`."""
        dumped = [
            schemas.dump_refused(one.echo, one.detail)
            if isinstance(one, Refused)
            else schemas.dump_receipt(one.key.item, next(receipts))
            for one in self.candidates
        ]
        for place, naming in enumerate(self.naming):
            if "user" in naming and isinstance(self.candidates[place], Record):
                dumped[place] = {**naming, **dumped[place]}
        return dumped


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """What a path, or a pair of paths, is about: what GET shows, and the forms, by name, in which POST takes it.

    `plain`: the forms in which `user` is passed over, as any other member is, for a token that may not name one; None
    where such a record is refused.
    """

    shown: Shown
    forms: Mapping[str, Form]
    plain: Mapping[str, Form] | None = None

    async def get(self, request: web.Request, caller: Identity) -> web.StreamResponse:
        """Records, tombstones included, ordered by item; with `after`, what changed since; or, on demand, events."""
        view = self._view(request, caller)
        if self.shown.live and wants_events(request):
            return await view.follow()
        return await view.unless_known()

    async def post(self, request: web.Request, caller: Identity) -> web.StreamResponse:
        """Takes records, and answers for each; with Prefer, nothing (204) or what then stands.

        A preference is honoured only where every record was settled: an answer without receipts must not let a device
        forget a record that was refused. And what then stands is shown only where it holds all that was sent.
        """
        app = request.app
        wishes, offset_us = preferences(request.headers), clock_offset_us(request.headers)
        body = await read_body(request, max_bytes=app[keys.SETTINGS].max_body)
        view = self._view(request, caller)
        if wishes.returns == "representation":
            await view.check()
        async with self._turn(request, caller, len(body)):
            parts, faults = await self._read(request, caller, view.owner, parse_json(body), offset_us)
        del body
        if faults and not wishes.lenient:
            raise InvalidRecords(faults)

        records = [one for part in parts for one in part.candidates if isinstance(one, Record)]
        await _others_turn(records)
        if refused := sum(len(part.candidates) for part in parts) - len(records):
            app[keys.METRICS].receipt(Outcome.INVALID, refused)
        receipts = await app[keys.SYNC].push(records, caller=caller.owner)

        lenient = ["handling=lenient"] if wishes.lenient else []
        if wishes.returns and not faults and all(receipt.outcome.settled for receipt in receipts):
            if wishes.returns == "minimal":
                return Reply(status=204, headers=PRIVATE | _applied([*lenient, "return=minimal"]))
            if wishes.returns == "representation" and all(record.key.user == view.owner for record in records):
                return await view.show(_applied([*lenient, "return=representation"]))
        await _others_turn(receipts)
        remaining = iter(receipts)
        dumped = {part.name: part.dump(remaining) for part in parts}
        await _others_turn(receipts)
        content = {"receipts": dumped if self.shown.several else next(iter(dumped.values()))}
        return private_json(request, content, headers=_applied(lenient))

    def _view(self, request: web.Request, caller: Identity) -> View:
        if self.shown.shared:
            owner = owners.shared(self.shown.shared[0], caller)
        else:
            owner = owners.addressed(request, caller, may_ignore=self.plain is not None)
        return View(request, self.shown, owner=owner, caller=caller)

    def _turn(self, request: web.Request, caller: Identity, size: int) -> AbstractAsyncContextManager[None]:
        """At reading a body of `size`."""
        rich = any(form.rich for form in self.forms.values())
        if size <= (_SMALL_RICH_BYTES if rich else _SMALL_BYTES):
            return nullcontext()
        turns = request.app[keys.RICH_BATCHES if rich else keys.BATCHES]
        return queueing.turn(request, turns, caller, wait_s=queueing.BATCH_WAIT_S, held_bytes=size)

    async def _read(
        self, request: web.Request, caller: Identity, owner: str, body: object, offset_us: int
    ) -> tuple[list[Part], list[Fault]]:
        """What the body holds, and all that is wrong with it. Raises InvalidRecords, InsufficientScope, Overloaded."""
        names_users = SYNC_ANY in caller.scopes
        forms = self.forms if names_users or self.plain is None else self.plain
        lists = reading.read_several(body, forms) if self.shown.several else reading.read_one(body, forms)
        reading.check_size(sum(len(content) for _, _, content in lists), request.app[keys.SETTINGS].max_batch)
        if not names_users:
            shared = any(form.entity.scope is Scope.SHARED and content for _, form, content in lists)
            contents = chain.from_iterable(content for _, form, content in lists if form.named)
            if shared or any(isinstance(one, dict) and ("user" in one or "namespace" in one) for one in contents):
                raise InsufficientScope(SYNC_ANY)
        namespaces = owners.namespaces(request, caller)
        parts, faults = [], []
        for name, form, content in lists:
            prefix = pointer_to(name) if self.shown.several else ""
            terms = Terms(
                owner=owners.shared(form.entity, caller) if form.entity.scope is Scope.SHARED else owner,
                entity=entity_key(form.entity.stored, tenant=caller.tenant),
                owner_of=partial(owners.named, caller), namespaces=namespaces, offset_us=offset_us,
            )  # fmt: skip
            candidates, found = await form.read(content, terms, prefix=prefix)
            named = names_users and form.named and form.entity.scope is Scope.USER
            parts.append(Part(name, [_naming(one) for one in content] if named else (), candidates))
            faults += found
        return parts, faults


def _naming(sent: object) -> Mapping[str, Any]:
    return {name: sent[name] for name in _NAMING if name in sent} if isinstance(sent, dict) else {}


async def _others_turn(work: Sequence[object]) -> None:
    """Between two steps of much work, each of some milliseconds, whoever else is there goes on."""
    if len(work) > MUCH:
        await asyncio.sleep(0)


def _applied(preferences_applied: Sequence[str]) -> dict[str, Any]:
    return {"Preference-Applied": ", ".join(preferences_applied)} if preferences_applied else {}
