"""A gated shop and other sites that send visitors and requests to it: all over https, on one real uvicorn.

Browsers tell sites apart by their names, and what they say about a request's sender they say over https alone.
"""

import html
import socket
import ssl
import threading
import time
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import httpx
import trustme
import uvicorn
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from starlette.applications import Starlette
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from tests.gates import DEADLINE_SECONDS
from tests.sites import site

SHOP, APP, PAY = "shop.test", "app.shop.test", "pay.example"
"""The shop; a host of the same site, but another origin; another site."""


class Certificate:
    """One certificate for all of them, and what a browser and a client need to believe it."""

    def __init__(self, folder: Path) -> None:
        self._authority = trustme.CA()
        issued = self._authority.issue_cert(SHOP, APP, PAY, "127.0.0.1")
        self.file = folder / "certificate.pem"
        issued.private_key_and_cert_chain_pem.write_to_path(str(self.file))
        key = x509.load_pem_x509_certificate(issued.cert_chain_pems[0].bytes()).public_key()
        digest = sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).digest()
        self.browser_arguments = (
            "--host-resolver-rules=MAP * 127.0.0.1",
            f"--ignore-certificate-errors-spki-list={b64encode(digest).decode()}",
        )

    def context(self) -> ssl.SSLContext:
        context = ssl.create_default_context()
        self._authority.configure_trust(context)
        return context


@dataclass
class Sites:
    """Where the sites are."""

    port: int
    certificate: Certificate

    def __post_init__(self) -> None:
        self.shop, self.app, self.pay = (f"https://{host}:{self.port}" for host in (SHOP, APP, PAY))

    def client(self) -> httpx.AsyncClient:
        """Someone without a browser: a visitor of the API, or a webhook."""
        verify = self.certificate.context()
        return httpx.AsyncClient(
            base_url=f"https://127.0.0.1:{self.port}", verify=verify, timeout=DEADLINE_SECONDS
        )


def bound() -> socket.socket:
    """Take a port before there is a server: an origin that is to be named in the settings has it in its name."""
    taken = socket.socket()
    taken.bind(("127.0.0.1", 0))
    return taken


@contextmanager
def serving(gate: ASGIApp, at: socket.socket, certificate: Certificate) -> Iterator[None]:
    """Serve the gated shop, and the other sites beside it."""

    async def by_host(scope: Scope, receive: Receive, send: Send) -> None:
        host = dict(scope.get("headers", ())).get(b"host", b"").decode().partition(":")[0]
        await (elsewhere if host in (APP, PAY) else gate)(scope, receive, send)

    config = uvicorn.Config(
        by_host,
        lifespan="on",
        log_level="warning",
        ssl_certfile=certificate.file,
        ssl_keyfile=certificate.file,
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [at]})
    thread.start()
    try:
        deadline = time.monotonic() + DEADLINE_SECONDS
        while not server.started:
            assert thread.is_alive(), "the server ended before it had started"
            assert time.monotonic() < deadline, "the server did not start"
            time.sleep(0.01)
        yield
    finally:
        server.should_exit = True
        thread.join()


# -- pages -----------------------------------------------------------------------------------------


def _page(body: str) -> Response:
    return HTMLResponse(f"<!doctype html><title>elsewhere</title>{body}")


def _target(request: Request) -> str:
    return html.escape(request.query_params["to"])


async def _blank(_: Request) -> Response:
    return _page("")


async def _link(request: Request) -> Response:
    return _page(f'<a id="go" href="{_target(request)}">Back to the shop</a>')


async def _form(request: Request) -> Response:
    """A form that sends itself, as payment pages have it."""
    form = f'<form method="post" action="{_target(request)}"><input name="paid" value="7"></form>'
    return _page(f"{form}<script>document.forms[0].submit()</script>")


async def _frame(request: Request) -> Response:
    return _page(f'<iframe name="inner" width="600" height="500" src="{_target(request)}"></iframe>')


async def _see_other(request: Request) -> Response:
    return RedirectResponse(request.query_params["to"], 303)


async def _basket(_: Request) -> Response:
    """Set a cookie that says nothing about other sites."""
    response = _page("inside")
    response.headers["set-cookie"] = "basket=3; Path=/"
    return response


elsewhere = Starlette(
    routes=[
        Route("/", _blank),
        Route("/link", _link),
        Route("/form", _form),
        Route("/see-other", _see_other),
        Route("/frame", _frame),
    ]
)


def shop(*origins: str) -> ASGIApp:
    """The shop itself, which lets scripts of `origins` read its answers and use the gate's header."""
    app = Starlette(
        routes=[
            Route("/basket", _basket),
            Route("/link", _link),
            Route("/frame", _frame),
            Route("/see-other", _see_other, methods=["GET", "POST"]),
            *site.routes,
        ]
    )
    app.add_middleware(
        CORSMiddleware,
        allow_origins=origins,
        allow_credentials=True,
        allow_headers=["Waitroom-Pass"],
        expose_headers=["Waitroom-Pass"],
    )
    return app
