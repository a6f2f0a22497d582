"""The shop: one hourglass, a till, and a look at who else is in.

A site like any other: it runs without the gate and knows of it only by two things, the visitor that the
gate leaves in the scope and the header that asks it to let that visitor go.
"""

import re
import secrets
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qs

import jinja2
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route
from starlette.templating import Jinja2Templates

from .edition import Edition, SoldOut
from .guests import Guests, Visitor

MOST_PIECES = 2
LONGEST_NAME = 60
LONGEST_WORDS = 24
LARGEST_FORM = 8 * 1024  # bytes
PRICE = 84  # euros

ORDER_ID = re.compile(r"[\w-]{8,40}", re.ASCII)


def in_words(seconds: float) -> str:
    """Say a length of time as people do: `no time at all`, `48 s`, `1 min 12 s`, `2 h 5 min`."""
    whole = round(seconds)
    if whole < 1:
        return "no time at all"
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    hours, rest = divmod(minutes, 60)
    return f"{hours} h {rest} min" if rest else f"{hours} h"


def visitor_of(request: Request) -> Visitor | None:
    """Return who sent the request, or None where no gate stands before the shop."""
    visitor: Visitor | None = request.scope.get("state", {}).get("waitroom")
    return visitor


class Form(NamedTuple):
    """The till's form as it was filled in; `order_id` makes a second press of the button harmless."""

    order_id: str
    name: str = ""
    words: str = ""
    pieces: str = "1"

    def problem(self) -> str:
        """Say what keeps this from being an order, in a sentence; empty when nothing does."""
        if not self.name:
            return "Please tell us who it is for."
        if len(self.name) > LONGEST_NAME:
            return f"That name has {len(self.name)} letters; the card has room for {LONGEST_NAME}."
        if len(self.words) > LONGEST_WORDS:
            return f"The engraving has {len(self.words)} letters; the foot has room for {LONGEST_WORDS}."
        if self.pieces not in map(str, range(1, MOST_PIECES + 1)):
            return f"Please take between 1 and {MOST_PIECES} pieces."
        return ""


async def read_form(request: Request) -> Form:
    """Read the till's form. Raises HTTPException 413 or 400 for what no browser makes of it."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > LARGEST_FORM:
            raise HTTPException(413, "That was more than fits on an order form.")
    try:
        fields = parse_qs(body.decode(errors="replace"), max_num_fields=20)
    except ValueError as error:
        raise HTTPException(400, "That was not our order form.") from error

    def field(name: str) -> str:
        return " ".join(fields.get(name, [""])[-1].split())

    order_id = field("order")
    return Form(
        order_id if ORDER_ID.fullmatch(order_id) else secrets.token_urlsafe(12),
        field("name"),
        field("words"),
        field("pieces") or "1",
    )


class Shop:
    """The pages, and the state behind them: it is this process's own and is gone with it."""

    def __init__(self, edition: Edition, guests: Guests) -> None:
        self.edition = edition
        self.guests = guests
        self.templates: Jinja2Templates = Jinja2Templates(
            env=jinja2.Environment(
                loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
                autoescape=True,
                undefined=jinja2.StrictUndefined,
                trim_blocks=True,
                lstrip_blocks=True,
            )
        )
        self.templates.env.filters["in_words"] = in_words
        self.templates.env.globals.update(
            edition=edition,
            price=PRICE,
            most=MOST_PIECES,
            longest_name=LONGEST_NAME,
            longest_words=LONGEST_WORDS,
        )

    def page(self, request: Request, name: str, status_code: int = 200, **context: Any) -> Response:
        """Render a page. Nobody else's cache may keep it, and the browser's own asks first."""
        context["visitor"] = visitor_of(request)
        headers = {"Cache-Control": "private, no-cache"}
        return self.templates.TemplateResponse(request, name, context, status_code, headers)

    def see(self, request: Request, doing: str) -> None:
        """Write whoever sent the request into the guest book."""
        if visitor := visitor_of(request):
            self.guests.see(visitor, doing)

    async def product(self, request: Request) -> Response:
        """Show the hourglass."""
        self.see(request, "at the hourglass")
        return self.page(request, "product.html")

    async def checkout(self, request: Request) -> Response:
        """Show the till."""
        self.see(request, "at the till")
        return self.page(request, "checkout.html", form=Form(secrets.token_urlsafe(12)), problem="")

    async def buy(self, request: Request) -> Response:
        """Sell, then send the browser to `/thanks`, so that reloading that page buys nothing."""
        self.see(request, "paying")
        form = await read_form(request)
        if problem := form.problem():
            return self.page(request, "checkout.html", 422, form=form, problem=problem)
        try:
            order = self.edition.sell(form.order_id, form.name, form.words, int(form.pieces))
        except SoldOut:
            left = self.edition.left
            problem = (
                f"Only {left} left, fewer than you asked for." if left else "The last one has just been sold."
            )
            return self.page(request, "checkout.html", 409, form=form, problem=problem)
        return RedirectResponse(f"/thanks?order={order.id}", 303)

    async def thanks(self, request: Request) -> Response:
        """Show the receipt; the order's id is known to its buyer alone."""
        self.see(request, "has one now")
        order = self.edition.order(request.query_params.get("order", ""))
        return self.page(request, "thanks.html", order=order)

    async def inside(self, request: Request) -> Response:
        """Show who is in the shop."""
        self.see(request, "looking around")
        return self.page(request, "inside.html", guests=self.guests.inside())

    async def door(self, request: Request) -> Response:
        """Ask whether they mean to go: following a link, or fetching it ahead, gives up nobody's place."""
        self.see(request, "at the door")
        return self.page(request, "leave.html")

    async def leave(self, request: Request) -> Response:
        """Say goodbye, and have the gate let the next one in."""
        if visitor := visitor_of(request):
            self.guests.forget(visitor)
        response = self.page(request, "bye.html")
        response.headers["Waitroom-Command"] = "release"
        return response

    async def wrong(self, request: Request, error: Exception) -> Response:
        """Answer what the shop doesn't have, in the shop's own words."""
        assert isinstance(error, HTTPException)  # noqa: S101 -- the only kind it is registered for
        return self.page(
            request, "wrong.html", error.status_code, status=error.status_code, detail=error.detail
        )


def create_app(edition: Edition | None = None, guests: Guests | None = None) -> Starlette:
    """Open a shop with an edition and a guest book of its own."""
    shop = Shop(edition or Edition(), guests or Guests())
    return Starlette(
        routes=[
            Route("/", shop.product),
            Route("/checkout", shop.checkout, methods=["GET"]),
            Route("/checkout", shop.buy, methods=["POST"]),
            Route("/thanks", shop.thanks),
            Route("/inside", shop.inside),
            Route("/bye", shop.door, methods=["GET"]),
            Route("/bye", shop.leave, methods=["POST"]),
        ],
        exception_handlers={HTTPException: shop.wrong},
    )


app: Starlette = create_app()
