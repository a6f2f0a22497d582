"""A waiting room for any ASGI site."""

from waitroom.config.settings import Settings
from waitroom.errors import EmbeddedError, SettingsError, StoreError, StoreUnusableError, WaitroomError
from waitroom.room.decisions import Visitor
from waitroom.web.middleware import WaitingRoomMiddleware

__version__ = "0.1.0"

__all__ = [
    "EmbeddedError",
    "Settings",
    "SettingsError",
    "StoreError",
    "StoreUnusableError",
    "Visitor",
    "WaitingRoomMiddleware",
    "WaitroomError",
]
