"""The doors of every entity: /sync/{entity}, the legacy paths that it declares, and /sync for a user's own together."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from aiohttp import web

from favsync.catalog.entity import Entity, Scope
from favsync.core.errors import CursorExpired, Fault, InsufficientScope, InvalidRecords, MalformedRequest
from favsync.core.merge import Outcome
from favsync.core.record import Key, Record, entity_key, owner_key, shared_owner
from favsync.entities import schemas
from favsync.entities.schemas import Form, Refused, Valid
from favsync.entities.view import View
from favsync.http import keys
from favsync.http.body import read_json
from favsync.http.doors import Answer, Door
from favsync.http.headers import Preferences, clock_offset_us, preferences
from favsync.http.respond import PRIVATE, private_json
from favsync.identity.authenticator import Identity, check_subject
from favsync.identity.issuers import SYNC_ANY
from favsync.sync import Receipt


@dataclass(frozen=True, slots=True)
class Part:
    """The records of one form in a body. `name`: what the body calls their entity; empty where it is one list."""

    name: str
    form: Form
    candidates: list[Valid | Refused]


class Doors:
    """What one path, or pair of paths, leads to: `entities`, in lists of their own where there are `several`.

    `lenient_names`: `user` is passed over, as other members are, where the token does not allow it: the seed's form.
    """

    def __init__(
        self, entities: Sequence[Entity], writable: Sequence[Entity], get_path: str, *, several: bool, legacy: bool
    ) -> None:
        self._entities = entities
        self._get_path = get_path
        self._several = several
        self._legacy = legacy
        self.forms = {name: Form(entity, named=True) for entity in writable for name in entity.names}
        self._plain = {name: Form(entity, named=False) for entity in writable for name in entity.names}

    async def get(self, request: web.Request, caller: Identity) -> web.Response:
        """Records, tombstones included, ordered by item; with `after`, what changed since."""
        return await self._view(request, caller).unless_known()
