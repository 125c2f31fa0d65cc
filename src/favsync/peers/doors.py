"""The doors of links."""

from collections.abc import Mapping

from favsync.core.errors import InsufficientScope, InvalidRecords, MalformedRequest, NotThere
from favsync.http.doors import Answer, Door
from favsync.peering import Peer
from favsync.peers.routes import Links
from favsync.peers.schemas import EntrustedSchema, LinkSchema

_PATH = "/peers/{peer}/link"
_SHOWN = Answer(description="How the link does", schema=LinkSchema, headers=["Cache-Control", "Vary"])


def doors(peers: Mapping[str, Peer], links: Links) -> list[Door]:
    """None where there are no peers."""
    if not peers:
        return []
    errors = [NotThere, InsufficientScope, MalformedRequest]
    parameters, choices = ["user", "namespace"], sorted(peers)
    return [
        Door(
            method="GET", path=_PATH, handler=links.get, tag="peers", choices=choices, parameters=parameters,
            summary="How a link does", answers={200: _SHOWN}, errors=errors,
        ),
        Door(
            method="PUT", path=_PATH, handler=links.put, tag="peers", choices=choices, parameters=parameters,
            summary="Links the caller with a peer, or gives the link a new token", body=EntrustedSchema,
            answers={200: _SHOWN}, errors=[*errors, InvalidRecords],
        ),
        Door(
            method="DELETE", path=_PATH, handler=links.delete, tag="peers", choices=choices, parameters=parameters,
            summary="Forgets a link, and the token",
            answers={204: Answer(description="Forgotten", headers=["Cache-Control", "Vary"])}, errors=errors,
        ),
    ]  # fmt: skip
