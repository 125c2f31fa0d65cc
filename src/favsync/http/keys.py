"""What the application carries, by typed key."""

from collections.abc import Callable, Hashable

from aiohttp import web

from favsync.ahead import Ahead
from favsync.core.rate import RateLimiter
from favsync.gathering import Gathering
from favsync.http.connections import Connections
from favsync.http.streams import Streams
from favsync.hub import Hub
from favsync.identity.authenticator import Authenticator
from favsync.metrics import Metrics
from favsync.settings import Settings
from favsync.store.database import Database
from favsync.store.feed import Printed
from favsync.store.records import ListKey, Shown
from favsync.sync import Sync
from favsync.turns import Turns

SETTINGS = web.AppKey("settings", Settings)
AUTHENTICATOR = web.AppKey("authenticator", Authenticator)
CONNECTIONS = web.AppKey("connections", Connections)
DATABASE = web.AppKey("database", Database)
HUB = web.AppKey("hub", Hub)
STREAMS = web.AppKey("streams", Streams)
SYNC = web.AppKey("sync", Sync)
SEQS: web.AppKey[Gathering[str, int]] = web.AppKey("seqs")  # the number of a user's latest change
BATCHES = web.AppKey("batches", Turns)  # at reading many records, which takes the event loop some milliseconds,
RICH_BATCHES = web.AppKey("rich_batches", Turns)  # and of records with fields up to hundreds
READS = web.AppKey("reads", Turns)  # at the database, of what may be large
AHEAD: web.AppKey[Ahead[Hashable, Printed]] = web.AppKey("ahead")  # pages of feeds
LISTS: web.AppKey[Gathering[ListKey, Shown | None]] = web.AppKey("lists")  # of entities without fields
METRICS = web.AppKey("metrics", Metrics)
ADDRESS_LIMITER = web.AppKey("address_limiter", RateLimiter)
FAILURE_LIMITER = web.AppKey("failure_limiter", RateLimiter)
SPACES = web.AppKey("spaces", frozenset[tuple[str, str]])  # tenant and namespace of all users that there may be
USER_LIMITER = web.AppKey("user_limiter", RateLimiter)
NOW_US: web.AppKey[Callable[[], int]] = web.AppKey("now_us")
