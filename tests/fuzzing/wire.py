"""A client that sends requests byte by byte as they are, one after the other over one connection."""

import socket
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass

from tests.waiting import DEADLINE_SECONDS


@dataclass(frozen=True)
class Answer:
    """A response; status 0 where the server closed without one."""

    status: int
    headers: dict[bytes, bytes]
    body: bytes = b""


def answers(port: int, requests: Iterable[bytes]) -> Iterator[Answer]:
    """Send each request and yield its answer; where the server has closed, over another connection.

    Not pipelined: what a server can't read would take the answers to those before along.
    """
    connection = Connection(port)
    try:
        for request in requests:
            answer = connection.exchange(request)
            if answer is None and not connection.fresh:
                # It may have closed before this came; on a connection of its own that is the answer.
                connection.close()
                connection = Connection(port)
                answer = connection.exchange(request)
            yield answer or Answer(0, {})
            if connection.ended:
                connection.close()
                connection = Connection(port)
    finally:
        connection.close()


class Connection:
    """One connection to a server on this machine."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), DEADLINE_SECONDS)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._buffer = b""
        self.fresh = True
        """Nothing was answered on it yet."""
        self.ended = False

    def close(self) -> None:
        self._socket.close()

    def exchange(self, request: bytes) -> Answer | None:
        """The answer to a request; None where the server has closed without one."""
        with suppress(OSError):  # where it has closed it may have answered all the same
            self._socket.sendall(request)
        answer = self._read()
        if answer is None or answer.headers.get(b"connection", b"").lower() == b"close":
            self.ended = True
        else:
            self.fresh = False
        # More than one answer to one request: it is no longer told which is which.
        self.ended = self.ended or self._buffer != b""
        return answer

    def _read(self) -> Answer | None:
        while b"\r\n\r\n" not in self._buffer:
            if not self._more():
                return None
        head, _, self._buffer = self._buffer.partition(b"\r\n\r\n")
        line, *lines = head.split(b"\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (each.partition(b":") for each in lines)}
        status = int(line.split(b" ")[1])
        if status in (204, 304):
            return Answer(status, headers)
        if headers.get(b"transfer-encoding", b"").lower() == b"chunked":
            return Answer(status, headers, self._chunks())
        if b"content-length" in headers:
            return Answer(status, headers, self._take(int(headers[b"content-length"])))
        while self._more():
            pass
        body, self._buffer = self._buffer, b""
        return Answer(status, {**headers, b"connection": b"close"}, body)

    def _chunks(self) -> bytes:
        body = b""
        while True:
            while b"\r\n" not in self._buffer and self._more():
                pass
            size, _, self._buffer = self._buffer.partition(b"\r\n")
            piece = self._take(int(size, 16) + 2)[:-2]
            if not piece:
                return body
            body += piece

    def _take(self, count: int) -> bytes:
        while len(self._buffer) < count and self._more():
            pass
        body, self._buffer = self._buffer[:count], self._buffer[count:]
        return body

    def _more(self) -> bool:
        try:
            data = self._socket.recv(262_144)
        except ConnectionResetError:
            return False
        self._buffer += data
        return bool(data)
