"""The door of every feed."""

from collections.abc import Sequence

from favsync.catalog.entity import Entity
from favsync.core.errors import CursorExpired, MalformedRequest
from favsync.feed.routes import Feed
from favsync.feed.schemas import PageSchema
from favsync.http.doors import EVENTS, Answer, Door
from favsync.identity.issuers import FEED_READ

_ABOUT = (
    "In one order, by `position`, each record once, at its latest change, deletions included. Without `after` from "
    "nothing: all there is, in pages, and then what changes. Keep `cursor` once you have stored what came with it. "
    f"With `Accept: {EVENTS}` each change is an event, whose `id` is the cursor behind it."
)


def doors(entities: Sequence[Entity]) -> list[Door]:
    """`entities`: all that there are."""
    return [_door(entity, name) for entity in entities for name in entity.names]


def _door(entity: Entity, name: str) -> Door:
    return Door(
        method="GET", path=f"/feed/{name}", handler=Feed(entity).get, scope=FEED_READ, tag=entity.name,
        deprecated=name != entity.name, summary=f"Everybody's changes of {entity.name}", description=_ABOUT,
        parameters=["feed_after", "feed_limit", "wait", "Last-Event-ID"],
        answers={
            200: Answer(
                description="Changes", schema=PageSchema, headers=["Cache-Control", "Vary"], events=True
            )
        },
        errors=[MalformedRequest, CursorExpired],
    )  # fmt: skip
