"""Windows as a store would tell them."""

from typing import Any

from waitroom.line.window import Epoch, Window

EPOCH = "0000000000000002-aaaaaa"


def window(issued: int = 0, called: int = 0, floor: int = 0, epoch: str = EPOCH, **more: Any) -> Window:
    """A room of one epoch, full unless it is said otherwise."""
    told: dict[str, Any] = {
        "generation": 1,
        "over": "",
        "epochs": (Epoch(epoch, issued, called, floor),),
        "epoch": epoch,
        "inside": 0,
        "free": 0,
        "free_first": 0,
        "rate_per_minute": None,
        "at": 0,
        "ended_version": 0,
    }
    return Window(**told | more)
