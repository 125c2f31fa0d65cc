"""What the application carries, by typed key."""

from collections.abc import Callable

from aiohttp import web

from favsync.http.auth import Authenticator
from favsync.http.connections import Connections
from favsync.settings import Settings
from favsync.store.database import Database
from favsync.sync import Sync

SETTINGS = web.AppKey("settings", Settings)
AUTHENTICATOR = web.AppKey("authenticator", Authenticator)
CONNECTIONS = web.AppKey("connections", Connections)
DATABASE = web.AppKey("database", Database)
SYNC = web.AppKey("sync", Sync)
NOW_US: web.AppKey[Callable[[], int]] = web.AppKey("now_us")
