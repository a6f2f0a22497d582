"""Sites for the proxy to stand in front of: one on a real server, and one of raw sockets with bad manners."""

import gzip
import socketserver
import ssl
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route, WebSocketRoute
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect
from websockets.utils import accept_key

from tests.gates import DEADLINE_SECONDS

PIECE = 64 * 1024


async def _echo(request: Request) -> Response:
    """Tell what arrived, byte for byte."""
    body = await request.body()
    headers = [[name.decode(), value.decode("latin-1")] for name, value in request.scope["headers"]]
    return JSONResponse(
        {
            "site": "inside",
            "method": request.method,
            "path": request.scope["raw_path"].decode(),
            "query": request.scope["query_string"].decode(),
            "headers": headers,
            "body": body.decode(),
        }
    )


class _Duplex:
    """Answers each piece as it comes; plain ASGI, as Starlette's stream listens for the end of the visitor."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        more = True
        while more:
            message = await receive()
            more = message.get("more_body", False)
            answer = b"heard " + message["body"] if message["body"] else b""
            await send({"type": "http.response.body", "body": answer, "more_body": more})


_made = [0]


async def _big(request: Request) -> Response:
    """As many bytes as asked for, made only when they can be sent."""

    async def pieces() -> AsyncIterator[bytes]:
        _made[0] = 0
        while _made[0] < int(request.query_params["size"]):
            _made[0] += PIECE
            yield b"x" * PIECE

    return StreamingResponse(pieces())


async def _how_much(_: Request) -> Response:
    return JSONResponse(_made[0])


async def _upload(request: Request) -> Response:
    return PlainTextResponse(f"inside, {sum([len(piece) async for piece in request.stream()])} bytes")


async def _gzip(_: Request) -> Response:
    return Response(gzip.compress(b"inside"), headers={"Content-Encoding": "gzip"})


async def _cookies(_: Request) -> Response:
    response = PlainTextResponse("inside")
    response.set_cookie("first", "1")
    response.set_cookie("second", "2")
    return response


async def _moved(_: Request) -> Response:
    return Response(status_code=302, headers={"Location": "https://elsewhere.example/a?b"})


async def _status(request: Request) -> Response:
    return Response(status_code=int(request.path_params["code"]), headers={"ETag": '"one"'})


async def _release(_: Request) -> Response:
    return PlainTextResponse("goodbye", headers={"Waitroom-Command": "release"})


async def _socket(socket: WebSocket) -> None:
    """Say everything back; `close 4001 why` is what it closes with."""
    offered = socket.scope["subprotocols"]
    await socket.accept("second" if "second" in offered else None, [(b"x-seen", b"%d" % len(socket.cookies))])
    while True:
        message = await socket.receive()
        if message["type"] == "websocket.disconnect":
            _ends.append([message["code"], message.get("reason")])
            return
        text = message.get("text")
        if text == "flood":
            with suppress(WebSocketDisconnect):
                while True:
                    await socket.send_text("inside" * 1000)
            _ends.append([None, "in a flood"])
            return
        if text == "headers":
            await socket.send_json(dict(socket.headers.items()))
        elif text is not None and text.startswith("close "):
            _, code, reason = text.split()
            await socket.close(int(code), reason)
        elif text is not None:
            await socket.send_text(text)
        else:
            await socket.send_bytes(message["bytes"])


_ends: list[list[object]] = []


async def _how_it_ended(_: Request) -> Response:
    return JSONResponse(_ends)


async def _no_socket(socket: WebSocket) -> None:
    await socket.send_denial_response(PlainTextResponse("no", 401, {"WWW-Authenticate": "Basic"}))


site = Starlette(
    routes=[
        Route("/duplex", _Duplex()),
        Route("/big", _big),
        Route("/how-much", _how_much),
        Route("/how-it-ended", _how_it_ended),
        Route("/upload", _upload, methods=["POST"]),
        Route("/gzip", _gzip),
        Route("/cookies", _cookies),
        Route("/moved", _moved),
        Route("/status/{code}", _status),
        Route("/release", _release),
        WebSocketRoute("/socket", _socket),
        WebSocketRoute("/no-socket", _no_socket),
        Route("/{path:path}", _echo, methods=["GET", "POST", "PUT", "DELETE", "OPTIONS"]),
    ]
)


class BadManners(socketserver.ThreadingTCPServer):
    """Answers by path from `ANSWERS`, and remembers what it saw."""

    daemon_threads = True
    allow_reuse_address = True
    block_on_close = False

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Rude)
        self.heads: list[str] = []
        """Heads of the requests that came, in order."""
        self.ended: dict[str, str] = {}
        """What came of the body before the other side hung up, by target."""
        self.go_on = threading.Event()
        self.port = int(self.server_address[1])

    def came(self, path: str) -> list[str]:
        return [head for head in self.heads if head.split()[1] == path]


ANSWERS = {
    "/half-chunked": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n6\r\ninside\r\n",
    "/half-counted": b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\ninside",
    "/until-closed": b"HTTP/1.1 200 OK\r\n\r\ninside",
    "/nothing": b"",
    "/nonsense": b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
    "/status-700": b"HTTP/1.1 700 Odd\r\nContent-Length: 0\r\n\r\n",
    "/status-101": b"HTTP/1.1 101 Odd\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
    "/control": b"HTTP/1.1 200 OK\r\nX-Odd: a\x01b\r\nContent-Length: 0\r\n\r\n",
    "/odd-name": b"HTTP/1.1 200 OK\r\nX(Odd: ab\r\nContent-Length: 0\r\n\r\n",
    "/304": b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\nETag: x\r\nConnection: close\r\n\r\n",
    "/204": b"HTTP/1.1 204 No Content\r\nX-Kept: yes\r\nConnection: close\r\n\r\n",
    "/head": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\n",
    "/hops": b"HTTP/1.1 200 OK\r\nConnection: close, X-Named\r\nX-Named: 1\r\nKeep-Alive: timeout=5\r\n"
    b"Trailer: X\r\nX-Kept: \xe9\r\nDate: then\r\nServer: rude\r\nContent-Length: 6\r\n\r\ninside",
    "/large-header": b"HTTP/1.1 200 OK\r\nX-Large: %b\r\nContent-Length: 6\r\n\r\ninside" % (b"y" * 30_000),
    "/early": b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 6\r\nConnection: close\r\n\r\ninside",
    "/open": b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: inside\n\n",
    "/ask-again": b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\ninside",
}


class _Rude(socketserver.StreamRequestHandler):
    server: BadManners

    def handle(self) -> None:
        lines = list(iter(self.rfile.readline, b"\r\n"))
        if not lines or lines[-1] == b"":
            return
        head = b"".join(lines).decode("latin-1")
        target = head.split()[1]
        path = target.partition("?")[0]
        self.server.heads.append(head)
        self.wfile.write(ANSWERS.get(path, b""))
        if path == "/open":
            self.server.go_on.wait(DEADLINE_SECONDS)
            self.wfile.write(b"data: more\n\n")
        if path in ("/open", "/silent"):
            rest = b"".join(iter(lambda: self.request.recv(65536), b""))
            self.server.ended[target] = rest.decode("latin-1")
        elif path == "/ask-again":
            # The next request on this connection is not answered.
            self.rfile.readline()
        elif path == "/early":
            self.request.recv(100)
        elif path == "/socket":
            (key,) = [
                line.split()[1] for line in head.splitlines() if line.lower().startswith("sec-websocket-key:")
            ]
            upgrade = ("HTTP/1.1 101 x", "Upgrade: websocket", "Connection: Upgrade")
            accept = f"Sec-WebSocket-Accept: {accept_key(key)}"
            # A text of two bytes, then nothing more.
            self.wfile.write("\r\n".join([*upgrade, accept, "", "\x81\x02hi"]).encode("latin-1"))


@contextmanager
def bad_manners(tls: ssl.SSLContext | None = None) -> Iterator[BadManners]:
    with BadManners() as server:
        if tls is not None:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        try:
            yield server
        finally:
            server.go_on.set()
            server.shutdown()
