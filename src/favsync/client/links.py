"""`Link: <…>; rel="next"` (RFC 8288), as far as pages need it."""

import re
from collections.abc import Iterable

from yarl import URL

from favsync.client.addresses import URL_LENGTH_MAX
from favsync.client.errors import BadAnswer

_LINK = re.compile(r'<([^<>]*)>((?:\s*;\s*[^\s;,=]+\s*(?:=\s*(?:"[^"]*"|[^\s;,"]*))?)*)')
_RELATION = re.compile(r';\s*rel\s*=\s*(?:"([^"]*)"|([^\s;,"]+))', re.IGNORECASE)


def next_url(links: Iterable[str], asked: URL) -> URL | None:
    """Where the next page is, relative to the URL that was asked; None: this was the last.

    Raises BadAnswer for one that is elsewhere: the token is for this service alone.
    """
    for target, parameters in _LINK.findall(",".join(links)):
        relation = _RELATION.search(parameters)
        if relation is None or "next" not in (relation[1] or relation[2] or "").lower().split():
            continue
        try:
            url = asked.join(URL(target)) if len(target) <= URL_LENGTH_MAX else None
        except ValueError:
            url = None
        if url is None or url.user is not None or _origin(url) != _origin(asked):
            raise BadAnswer("the next page is at another service, or nowhere")
        return url
    return None


def _origin(url: URL) -> tuple[str, str | None, int | None]:
    return url.scheme, url.host, url.port
