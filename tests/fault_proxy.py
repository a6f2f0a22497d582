"""A way to a real store that can be slow, dead, or cut in the midst of a word, as a test asks."""

import asyncio
import socket
import struct
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal, TypeVar

Way = Literal["to_store", "from_store"]
WAYS: tuple[Way, ...] = ("to_store", "from_store")
Done = TypeVar("Done")

RESET_AT_ONCE = struct.pack("ii", 1, 0)
"""SO_LINGER: closing sends a reset in place of what is left."""
DEADLINE_SECONDS = 10


class _Line:
    """One connection of a client's and, unless it leads nowhere, the one to the store."""

    def __init__(self, client: asyncio.StreamWriter) -> None:
        self.client = client
        self.store: asyncio.StreamWriter | None = None

    def end(self, reset: bool) -> None:
        for writer in (self.client, self.store):
            if writer is None:
                continue
            if reset and not writer.is_closing():
                writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_AT_ONCE)
            writer.transport.abort()


class FaultProxy:
    """Stands between clients and a store, on a port of its own; a thread of its own serves it.

    Faults hold until `heal()`. Every method may be called from the test's thread and returns when it is done.
    """

    def __init__(self, store: Path) -> None:
        self._store = store
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="fault proxy", daemon=True)
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._lines: set[_Line] = set()
        self._delays: dict[Way, float] = dict.fromkeys(WAYS, 0.0)
        self._open: dict[Way, asyncio.Event] = {}
        self._leads_nowhere = False
        self._cut_after: int | None = None
        self.port = 0
        self.held: dict[Way, int] = dict.fromkeys(WAYS, 0)
        """Pieces that wait here."""
        self.cuts = 0
        """Answers that were cut in their midst."""

    # -- faults -----------------------------------------------------------------------------------

    def delay(self, way: Way, seconds: float) -> None:
        """Let each piece take so long that way."""
        self._do(lambda: self._delays.update({way: seconds}))

    def hold(self, way: Way) -> None:
        """Let nothing through that way; what comes is kept, and passed on when it heals."""
        self._do(lambda: self._open[way].clear())

    def lead_nowhere(self) -> None:
        """Accept connections and never answer, neither on new ones nor on those there are."""

        def begin() -> None:
            self._leads_nowhere = True
            for way in WAYS:
                self._open[way].clear()

        self._do(begin)

    def refuse(self) -> None:
        """End all connections, and let nobody connect."""
        self._await(self._stop_listening())
        self.cut()

    def cut(self, *, reset: bool = False) -> None:
        """End all connections, in order or with a reset; new ones are as good as ever."""

        def end() -> None:
            for line in list(self._lines):
                line.end(reset)

        self._do(end)

    def lead_to(self, url: str) -> None:
        """Lead new connections to another store, as an endpoint that moves does; the old ones stay."""
        self._do(lambda: setattr(self, "_store", Path(url.removeprefix("unix://"))))

    def half_close(self) -> None:
        """Say on all connections that nothing more will come from the store, and go on to listen."""

        def close() -> None:
            for line in self._lines:
                line.client.write_eof()

        self._do(close)

    def cut_answers(self, after: int) -> None:
        """Let each answer begin, and end its connection after so many bytes."""

        def begin() -> None:
            self._cut_after = after

        self._do(begin)

    def heal(self) -> None:
        """End all faults; connections that led nowhere are reset, as they would be after a change of routes."""

        def end() -> None:
            for way in WAYS:
                self._delays[way] = 0.0
                self._open[way].set()
            self._leads_nowhere, self._cut_after = False, None
            for line in [line for line in self._lines if line.store is None]:
                line.end(reset=True)

        self._do(end)
        if self._server is None:
            self._await(self._listen())

    # -- its life ---------------------------------------------------------------------------------

    def start(self) -> None:
        self._thread.start()
        self._do(lambda: self._open.update({way: asyncio.Event() for way in WAYS}))
        self.heal()

    def stop(self) -> None:
        self._await(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(DEADLINE_SECONDS)
        self._loop.close()

    def _do(self, act: Callable[[], Any]) -> None:
        async def done() -> None:
            act()

        self._await(done())

    def _await(self, doing: Coroutine[Any, Any, Done]) -> Done:
        return asyncio.run_coroutine_threadsafe(doing, self._loop).result(DEADLINE_SECONDS)

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", self.port)
        self.port = int(self._server.sockets[0].getsockname()[1])

    async def _stop_listening(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None

    async def _stop(self) -> None:
        await self._stop_listening()
        for line in list(self._lines):
            line.end(reset=False)
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # -- connections ------------------------------------------------------------------------------

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        line = _Line(writer)
        self._lines.add(line)
        try:
            await self._serve(line, reader)
        except (OSError, asyncio.CancelledError):
            pass  # one side has gone, or the test is over
        finally:
            line.end(reset=False)
            self._lines.discard(line)
            self._tasks.discard(task)

    async def _serve(self, line: _Line, reader: asyncio.StreamReader) -> None:
        if self._leads_nowhere:
            while await reader.read(65536):
                pass
            return
        from_store, line.store = await asyncio.open_unix_connection(self._store)
        async with asyncio.TaskGroup() as both:
            to_store = both.create_task(self._pump("to_store", reader, line.store))
            await self._pump("from_store", from_store, line.client)
            to_store.cancel()

    async def _pump(self, way: Way, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, RuntimeError):  # gone, or half closed
            while piece := await reader.read(65536):
                self.held[way] += 1
                try:
                    await asyncio.sleep(self._delays[way])
                    await self._open[way].wait()
                finally:
                    self.held[way] -= 1
                if way == "from_store" and self._cut_after is not None:
                    self.cuts += 1
                    writer.write(piece[: self._cut_after])
                    await writer.drain()
                    return
                writer.write(piece)
                await writer.drain()


@contextmanager
def fault_proxy(url: str) -> Iterator[FaultProxy]:
    """Stand in front of the store at a `unix://` URL."""
    proxy = FaultProxy(Path(url.removeprefix("unix://")))
    proxy.start()
    try:
        yield proxy
    finally:
        proxy.stop()
