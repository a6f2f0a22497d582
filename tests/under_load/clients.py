"""Connections that stay open, and speak just enough HTTP to cost little."""

import asyncio
from typing import NamedTuple


class Response(NamedTuple):
    status: int
    headers: bytes
    body: bytes

    def cookie(self) -> str | None:
        """The value of the cookie that is set, if one is."""
        _, found, rest = self.headers.partition(b"\r\nset-cookie: ")
        return rest.partition(b";")[0].decode().partition("=")[2] if found else None


class Client:
    """One keep-alive connection; made anew where the server has closed it."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, method: str, path: str, token: str | None = None) -> Response:
        credential = f"Waitroom-Pass: {token}\r\n" if token else ""
        request = f"{method} {path} HTTP/1.1\r\nHost: shop\r\nContent-Length: 0\r\n{credential}\r\n".encode()
        if self._streams is None:
            self._streams = await asyncio.open_connection("127.0.0.1", self._port)
        reader, writer = self._streams
        try:
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            _, found, length = head.partition(b"\r\ncontent-length: ")
            body = await reader.readexactly(int(length.partition(b"\r\n")[0])) if found else b""
        except (OSError, asyncio.IncompleteReadError):
            self.close()
            raise
        return Response(int(head[9:12]), head, body)

    def close(self) -> None:
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None
