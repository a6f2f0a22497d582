"""A waiting room for any ASGI site."""

from waitroom.decisions import Visitor
from waitroom.errors import EmbeddedError, SettingsError, StoreError, StoreUnusableError, WaitroomError
from waitroom.middleware import WaitingRoomMiddleware
from waitroom.settings import Settings

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
