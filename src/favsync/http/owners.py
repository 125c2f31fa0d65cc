"""Whose records a request is about: the caller's, those of a user whom a backend names, or a whole tenant's."""

from collections.abc import Set as AbstractSet
from urllib.parse import unquote_to_bytes

from aiohttp import web

from favsync.catalog.entity import Entity
from favsync.core.errors import InsufficientScope, MalformedRequest
from favsync.core.record import owner_key, shared_owner
from favsync.http import keys
from favsync.identity.authenticator import Identity, check_subject
from favsync.identity.issuers import SYNC_ANY


def shared(entity: Entity, caller: Identity) -> str:
    """The key of a set that the caller's tenant shares."""
    return shared_owner(entity.stored, tenant=caller.tenant)


def named(caller: Identity, user: str, namespace: str | None) -> str:
    """The key of a user of the caller's tenant; without a namespace, of the caller's own."""
    return owner_key(user, tenant=caller.tenant, namespace=namespace or caller.namespace)


def namespaces(request: web.Request, caller: Identity) -> AbstractSet[str]:
    """Those in which the caller's tenant has users."""
    return {namespace for tenant, namespace in request.app[keys.SPACES] if tenant == caller.tenant}


def addressed(request: web.Request, caller: Identity, *, may_ignore: bool) -> str:
    """The key of the user whom the query names, and without one the caller's.

    Raises InsufficientScope where the caller may name nobody, unless that may be ignored; MalformedRequest.
    """
    user, namespace = request.query.get("user"), request.query.get("namespace")
    if user is None and namespace is None:
        return caller.owner
    if SYNC_ANY not in caller.scopes:
        if may_ignore:
            return caller.owner
        raise InsufficientScope(SYNC_ANY)
    try:
        unquote_to_bytes(request.rel_url.raw_query_string).decode()
    except UnicodeDecodeError:  # and two users could look like one
        raise MalformedRequest("`user` is not percent-encoded UTF-8.") from None
    try:
        user = check_subject(user)
    except ValueError as error:
        raise MalformedRequest(f"`user` {error}.") from None
    if namespace is not None and namespace not in namespaces(request, caller):
        raise MalformedRequest("`namespace` is not one in which this tenant has users.")
    return named(caller, user, namespace)
