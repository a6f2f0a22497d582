"""A shop behind the gate whose pages are driven by page libraries, or fetched ahead by the browser; it remembers what
it was asked for. The libraries' files are beside it, on an excluded path."""

import os
from pathlib import Path

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import Message, Receive, Scope, Send

from waitroom.web.middleware import WaitingRoomMiddleware

asked: list[str] = []
"""What reached the site."""
ahead: list[int] = []
"""The statuses of what was fetched ahead."""

HEADS = {
    "plain": "",
    "prefetch": '<link rel="prefetch" href="/goods?size=9">',
    "speculation": """<script type="speculationrules">
        {"%s": [{"urls": ["/goods?size=9"], "eagerness": "immediate"}]}</script>""",
    "htmx": '<script src="/lib/FILE.js"></script>',
    "turbo": '<script src="/lib/FILE.js"></script>',
    "unpoly": '<script src="/lib/FILE.js"></script>',
    "inertia": """<script src="/lib/axios.js"></script><script src="/lib/qs.js"></script>
        <script src="/lib/deepmerge.js"></script><script src="/lib/nprogress.js"></script>
        <script type="importmap">{"imports": {
            "axios": "data:text/javascript,export default axios",
            "qs": "data:text/javascript,export const { parse, stringify } = Qs",
            "deepmerge": "data:text/javascript,export default deepmerge",
            "nprogress": "data:text/javascript,export default NProgress"}}</script>
        <script type="module">
        import { router } from "/lib/FILE.js"
        const page = { component: "Home", props: {}, url: location.pathname, version: null }
        router.init({ initialPage: page, resolveComponent: () => ({}), swapComponent: async () => {} })
        for (const [id, method, url] of [["go", "get", "/goods?size=9"], ["send", "post", "/order"]])
            document.getElementById(id).onclick = (event) => {
                event.preventDefault()
                router.visit(url, { method })
            }
        window.ahead = () => router.prefetch("/goods?size=9", { method: "get" }, { cacheFor: 60_000 })
        document.body.id = "ready"
        </script>""",
}
LINKS = """<h1>inside the shop</h1>
<a id="go" href="/goods?size=9">goods</a>
<form action="/goods"><input name="size" value="9"><button id="search">search</button></form>
<form action="/order" method="post"><input name="thing" value="pen"><button id="send">order</button></form>
"""
BODIES = {
    "htmx": f"""<div hx-boost="true" hx-boost:inherited="true">{LINKS}</div><div id="there">nothing yet</div>
        <button id="part" hx-get="/part" hx-target="#there">part</button>
        <button id="post" hx-post="/order" hx-target="#there">order</button>""",
    "turbo": f"""{LINKS}<turbo-frame id="frame"><a id="part" href="/part">part</a>
        <form action="/order" method="post"><button id="post">order</button></form></turbo-frame>""",
    "unpoly": """<main><h1>inside the shop</h1><a id="go" href="/goods?size=9" up-follow>goods</a>
        <div id="there">nothing yet</div><a id="part" href="/part" up-follow up-target="#there">part</a>
        <a id="layer" href="/part" up-layer="new" up-fail-target="#there" up-fail-layer="new">layer</a>
        <form action="/goods" up-submit><input name="size" value="9"><button id="search">search</button></form>
        <form action="/order" method="post" up-submit><button id="send">order</button></form>
        <form action="/order" method="post" up-submit up-layer="new" up-target="#there" up-fail-target="#there">
        <button id="post">order</button></form></main>""",
}


def _page(request: Request) -> Response:
    asked.append(f"{request.method} {request.url.path}")
    file = request.path_params["library"]
    library = file.rstrip("0123456789")
    head = HEADS[library].replace("FILE", file)
    if library == "speculation":
        head = head % request.query_params["how"]
    return HTMLResponse(f"<!doctype html><head>{head}</head><body>{BODIES.get(library, LINKS)}</body>")


def _other(request: Request) -> Response:
    asked.append(f"{request.method} {request.url.path}")
    visitor = request.state.waitroom.number if hasattr(request.state, "waitroom") else "nobody"
    where = f"{request.method} {request.url.path}?{request.url.query}"
    return HTMLResponse(f"<!doctype html><main><h1>inside {where}</h1><p id='visitor'>{visitor}</p></main>")


def _events(request: Request) -> Response:
    return PlainTextResponse("retry: 500\ndata: inside\n\n", media_type="text/event-stream")


def _lib(request: Request) -> Response:
    name = request.path_params["name"]
    if name == "asked":
        return JSONResponse({"asked": asked, "ahead": ahead})
    return PlainTextResponse(Path(os.environ["LIBRARIES"], name).read_bytes(), media_type="text/javascript")


site = Starlette(
    routes=[
        Route("/lib/{name}", _lib),
        Route("/events", _events),
        Route("/shop/{library}", _page),
        Route("/inside/{library}", _page),
        Route("/{path:path}", _other, methods=["GET", "POST"]),
    ]
)
site.add_middleware(WaitingRoomMiddleware)


async def watched(scope: Scope, receive: Receive, send: Send) -> None:
    """See from outside the gate what becomes of what is fetched ahead."""

    async def send_on(message: Message) -> None:
        if message["type"] == "http.response.start" and any(
            name == b"sec-purpose" for name, _ in scope["headers"]
        ):
            ahead.append(message["status"])
        await send(message)

    await site(scope, receive, send_on)
