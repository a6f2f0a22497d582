"""Newcomers who all come at once: each opens a connection, takes a number, and keeps the connection.

A process of its own, `python -m benchmarks.newcomers PORT COUNT SECONDS [again]`, so that its core can be another than
the server's; it prints what they met, as JSON. With `again` each who has a number goes on asking for `/window`, until
all have one or ASKING_SECONDS are over. One thread over epoll: looking after somebody takes it some 100 µs.
"""

import gc
import json
import resource
import select
import socket
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from benchmarks.visitors import API

DEADLINE = 60
"""Seconds in which all have to be answered: longer than TCP tries to reach a listener that does not accept."""
ASKING_SECONDS = 5
AT_A_TIME = 16
"""Most connections that are opened before those who were answered are looked after."""
SPARE_FILES = 100
JOIN = f"POST {API}/join HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 0\r\n\r\n".encode()
LOOK = f"GET {API}/window HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode()
RESENT_AT, RESENT_END = 100, 104
"""Where `tcpi_total_retrans` stands in Linux's `struct tcp_info`: how many segments were sent again."""


@dataclass(slots=True, eq=False)
class Newcomer:
    """One of them; times are seconds of one clock, 0 where it did not come to that."""

    socket: socket.socket
    began: float
    """As `connect()` was called."""
    sent: float = 0.0
    answered: float = 0.0
    """As the last byte of the answer was read."""
    answer: bytes = b""
    later: bytes = b""
    """What came of the answer to what was asked after that."""


@dataclass
class Crowd:
    """All of them, opening their connections evenly over some seconds."""

    port: int
    count: int
    seconds: float
    again: bool = False
    asking_until: float = 0.0
    all: list[Newcomer] = field(default_factory=list)
    errors: "Counter[str]" = field(default_factory=Counter)
    busiest: float = 0.0
    """The longest that one answer may have lain unread while others were looked after, in seconds."""

    def come(self) -> dict[str, Any]:
        """Let them come, and tell what they met."""
        by_file: dict[int, Newcomer] = {}
        with select.epoll() as epoll:
            began = time.perf_counter()
            self.asking_until = began + ASKING_SECONDS if self.again else began
            left = self.count
            while left and (passed := time.perf_counter() - began) < DEADLINE:
                due = min(self.count, 1 + int(passed / self.seconds * self.count), len(self.all) + AT_A_TIME)
                for _ in range(due - len(self.all)):
                    self._open(epoll, by_file)
                woken = epoll.poll(0.001 if len(self.all) < self.count else 1, AT_A_TIME * 4)
                looked = time.perf_counter()
                left -= sum(self._look_after(by_file[file], events) for file, events in woken)
                self.busiest = max(self.busiest, time.perf_counter() - looked)
        self.errors["not answered"] = left
        return self._told()

    def _open(self, epoll: select.epoll, by_file: dict[int, Newcomer]) -> None:
        opened = socket.socket()
        opened.setblocking(False)
        one = Newcomer(opened, time.perf_counter())
        opened.connect_ex(("127.0.0.1", self.port))
        by_file[opened.fileno()] = one
        self.all.append(one)
        epoll.register(opened, select.EPOLLIN | select.EPOLLOUT | select.EPOLLET)

    def _look_after(self, one: Newcomer, events: int) -> bool:
        """Do what is next for one of them; tells whether that was what it had come for."""
        try:
            if not one.sent and events & select.EPOLLOUT:
                one.sent = time.perf_counter()
                one.socket.send(JOIN)
            if not events & (select.EPOLLIN | select.EPOLLHUP | select.EPOLLERR):
                return False
            got = one.socket.recv(65536)
        except BlockingIOError:
            return False
        except OSError as error:
            return self._fails(one, type(error).__name__)
        if one.answered:
            return self._look_again(one, got)
        if not got:
            return self._fails(one, "closed")
        one.answer += got
        if not _is_whole(one.answer):
            return False
        one.answered = time.perf_counter()
        if one.answered < self.asking_until:
            one.socket.send(LOOK)
        return True

    def _look_again(self, one: Newcomer, got: bytes) -> bool:
        one.later += got
        if time.perf_counter() < self.asking_until:
            if not got:
                self.errors["closed while asking"] += 1
            elif _is_whole(one.later):
                one.later = b""
                one.socket.send(LOOK)
        return False

    def _fails(self, one: Newcomer, why: str) -> bool:
        """Count what went wrong; tells whether it had not been answered before."""
        self.errors[why] += 1
        was_answered = bool(one.answered)
        one.answered = one.answered or time.perf_counter()
        one.answer = one.answer if was_answered else b""
        return not was_answered

    def _told(self) -> dict[str, Any]:
        answered = [one for one in self.all if one.answer and one.answered]
        statuses = Counter(_status(one.answer) for one in answered)
        first = self.all[0].began
        return {
            "opened_in": self.all[-1].began - first,
            "answered_in": max((one.answered for one in answered), default=first) - first,
            "statuses": statuses,
            "errors": +self.errors,
            "numbers": [_number(one.answer) for one in answered if one.answer.startswith(b"HTTP/1.1 201 ")],
            "from_opening": [one.answered - one.began for one in answered],
            "from_sending": [one.answered - one.sent for one in answered],
            "resent": sum(_has_sent_again(one.socket) for one in self.all),
            "busiest": self.busiest,
            "cpu": time.process_time(),
        }


def _is_whole(answer: bytes) -> bool:
    head, ended, body = answer.partition(b"\r\n\r\n")
    length = head.lower().partition(b"\r\ncontent-length:")[2].partition(b"\r\n")[0]
    return bool(ended) and len(body) >= int(length)


def _status(answer: bytes) -> str:
    """The status, and of a refusal also its kind."""
    status = answer.split(b" ", 2)[1].decode()
    kind = answer.partition(b'"type": "')[2].partition(b'"')[0].decode()
    return f"{status} {kind}".strip()


def _number(answer: bytes) -> int:
    return int(json.loads(answer.partition(b"\r\n\r\n")[2])["number"])


def _has_sent_again(opened: socket.socket) -> bool:
    """Tell whether the kernel had to send something of it again: the listener had no room for it."""
    told = opened.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, RESENT_END)
    return int.from_bytes(told[RESENT_AT:RESENT_END], sys.byteorder) > 0


def allow_open_files(count: int) -> None:
    """Allow so many open files to this process and those it starts; raises ValueError where the system does not."""
    soft, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = count + SPARE_FILES
    if most != resource.RLIM_INFINITY and most < needed:
        raise ValueError(
            f"{count} connections need {needed} open files, this system allows {most} (ulimit -Hn)"
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, needed), most))


def main() -> None:
    """Do what the command line asks for."""
    port, count, seconds = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
    allow_open_files(count)
    gc.disable()
    json.dump(Crowd(port, count, seconds, again=sys.argv[4:] == ["again"]).come(), sys.stdout)


if __name__ == "__main__":
    main()
