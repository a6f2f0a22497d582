"""The edition: how many pieces are left, and who ordered them."""

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass


class SoldOut(Exception):  # noqa: N818 -- a state of the shop, not a mistake
    """Fewer pieces are left than were asked for."""


@dataclass(frozen=True)
class Order:
    """What somebody bought: `first` and `last` are the numbers of the pieces, `words` go on their foot."""

    id: str
    name: str
    words: str
    first: int
    last: int


class Edition:
    """`size` numbered pieces; `rest_seconds` after the last is sold, the next edition is on the shelf."""

    def __init__(
        self,
        size: int = 500,
        rest_seconds: float = 60.0,
        *,
        clock: Callable[[], float] = time.monotonic,
        remember: int = 1000,
    ) -> None:
        self.size = size
        self._rest_seconds = rest_seconds
        self._clock = clock
        self._remember = remember
        self._sold = 0
        self._sold_out_at = 0.0
        self._orders: OrderedDict[str, Order] = OrderedDict()

    @property
    def left(self) -> int:
        """How many pieces can be had now."""
        if self._sold >= self.size and self._clock() - self._sold_out_at >= self._rest_seconds:
            self._sold = 0
        return self.size - self._sold

    def sell(self, order_id: str, name: str, words: str, pieces: int) -> Order:
        """Sell `pieces` under `order_id`; asked again with the same id, it is the same order.

        Raises SoldOut when fewer are left.
        """
        if order := self._orders.get(order_id):
            return order
        if pieces > self.left:
            raise SoldOut
        order = Order(order_id, name, words, first=self._sold + 1, last=self._sold + pieces)
        self._sold = order.last
        if self._sold == self.size:
            self._sold_out_at = self._clock()
        self._orders[order_id] = order
        if len(self._orders) > self._remember:
            self._orders.popitem(last=False)
        return order

    def order(self, order_id: str) -> Order | None:
        """Return the order of that id, unless it never was or is long ago."""
        return self._orders.get(order_id)
