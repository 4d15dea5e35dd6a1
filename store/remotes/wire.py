"""The wire: the calls of `Remote` as frames over two binary streams, one call at a time.

A frame is its length (4 bytes, big-endian, at most MAX_FRAME) and a MessagePack array that starts
with its type:

    hello VERSION                      first, from both sides
    call METHOD ARGUMENTS              client: ask
    part ITEMS                         some records or history objects, about PART_BYTES of them
    end                                no more parts
    abort                              client: no more parts, forget the call
    value ANSWER                       server: the answer
    failure CATEGORY MESSAGE HINT      server: the error, also in the place of a part or an end

`store` and `store_history` are call, part..., end (or abort), value; `fetch` and `history` are
call, part..., end; all others call, value. A failure ends the call, not the connection: a server
that refuses an upload reads it to its end first. Categories are class names of `store.errors`.

`serve` belongs to one thread. `PipeRemote` may be used from any; its calls take turns.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, BinaryIO, Final, NamedTuple

from ..errors import RemoteError, TreeringError, storage_error
from ..history import HistoryObject, Person, RefUpdate
from ..ids import Key
from ..packfile import Record
from .base import Description, Remote
from .frames import LOST, Abort, BrokenWire, Call, Failure, Value, Wire, pack, refuse, unpack


class Method(NamedTuple):
    """The types of one call: arguments, answer, and items that travel up or down in parts."""

    arguments: Any = list[None]
    answer: Any = None
    up: Any = None
    down: Any = None


METHODS: Final = {
    "describe": Method(answer=Description),
    "refs": Method(answer=dict[str, str]),
    "held": Method(tuple[list[bytes]], list[str]),
    "missing": Method(tuple[list[Key]], list[Key]),
    "known_commits": Method(tuple[list[str]], list[bool]),
    "store": Method(answer=int, up=list[Record]),
    "store_history": Method(answer=None, up=list[HistoryObject]),
    "finalize": Method(tuple[list[RefUpdate], Person], list[Key]),
    "fetch": Method(tuple[list[Key]], down=list[Record]),
    "history": Method(tuple[list[str], list[str]], down=list[HistoryObject]),
}


def serve(reader: BinaryIO, writer: BinaryIO, remote: Remote) -> None:
    """Answer calls on `remote` until the client closes its end. BrokenWire when the stream ends
    within a call. The caller closes the remote and the streams."""
    wire = Wire(reader, writer)
    wire.greet()
    while (frame := wire.receive_or_end()) is not None:
        if not isinstance(frame, Call):
            raise BrokenWire("the other side broke the protocol: a frame out of place")
        try:
            _answer(wire, remote, frame)
        except BrokenWire:
            raise
        except TreeringError as error:
            _fail(wire, error)
        except OSError as error:
            _fail(wire, storage_error("the remote", error))
        except Exception as error:
            # The client must hear of a defect here too; then it is raised for whoever runs this.
            _fail(wire, RemoteError(f"the remote failed: {type(error).__name__}: {error}"))
            wire.flush()
            raise
        wire.flush()


def _fail(wire: Wire, error: TreeringError) -> None:
    wire.drain()
    wire.send(Failure(type(error).__name__, error.message, error.hint))


def _answer(wire: Wire, remote: Remote, call: Call) -> None:
    method = METHODS.get(call.method)
    if method is None:
        raise RemoteError(f"the remote does not know the call '{call.method[:40]}'")
    if method.up is not None:
        wire.in_parts = True
    arguments = unpack(call.arguments, method.arguments)
    if method.up is not None:
        arguments = [wire.parts(method.up)]
    answer = getattr(remote, call.method)(*arguments)
    if method.down is not None:
        wire.send_parts(answer)
    else:
        wire.send(Value(pack(answer)))


class PipeRemote:
    """The remote at the other end of two streams, where `serve` runs. `on_close` is called once,
    after both streams are closed."""

    parallel = 1

    def __init__(
        self, reader: BinaryIO, writer: BinaryIO, on_close: Callable[[], None] = lambda: None
    ) -> None:
        self._streams = (writer, reader)
        self._on_close = on_close
        self._wire = Wire(reader, writer)
        self._turn = threading.Lock()
        self._broken: str | None = None
        self._closed = False
        try:
            self._wire.greet()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._broken = "the connection is closed"
        for stream in self._streams:
            with suppress(OSError, ValueError):
                stream.close()
        self._on_close()

    @contextmanager
    def _call(self, name: str, arguments: Sequence[object]) -> Iterator[Method]:
        """A turn on the wire with the call sent. Whatever leaves parts unread ends the
        connection: there is no way to tell the other side to stop."""
        with self._turn:
            if self._broken:
                raise RemoteError(self._broken)
            clean = False
            try:
                self._wire.send(Call(name, pack(arguments)))
                yield METHODS[name]
                clean = True
            except BrokenWire:
                raise
            except TreeringError:
                clean = not self._wire.in_parts
                raise
            finally:
                if not clean:
                    self._broken = LOST

    def _ask(self, name: str, *arguments: object) -> Any:
        with self._call(name, arguments) as method:
            self._wire.flush()
            return self._value(method)

    def _value(self, method: Method) -> Any:
        frame = self._wire.receive()
        if not isinstance(frame, Value):
            refuse(frame)
        return unpack(frame.answer, method.answer)

    def _upload(self, name: str, items: Iterable[Record] | Iterable[HistoryObject]) -> Any:
        with self._call(name, ()) as method:
            try:
                self._wire.send_parts(items)
            except BrokenWire:
                raise
            except TreeringError:
                self._give_up()
                raise
            self._wire.flush()
            return self._value(method)

    def _give_up(self) -> None:
        """Take an upload back: the server answers with a failure, whose reason we know better."""
        self._wire.send(Abort())
        self._wire.flush()
        self._wire.receive()

    def _download(self, name: str, *arguments: object) -> Iterator[Any]:
        with self._call(name, arguments) as method:
            self._wire.flush()
            yield from self._wire.parts(method.down)

    def describe(self) -> Description:
        found: Description = self._ask("describe")
        return found

    def refs(self) -> dict[str, str]:
        found: dict[str, str] = self._ask("refs")
        return found

    def held(self, roots: Sequence[bytes]) -> list[str]:
        found: list[str] = self._ask("held", list(roots))
        return found

    def missing(self, keys: Sequence[Key]) -> list[Key]:
        found: list[Key] = self._ask("missing", list(keys))
        return found

    def known_commits(self, ids: Sequence[str]) -> list[bool]:
        found: list[bool] = self._ask("known_commits", list(ids))
        return found

    def store(self, records: Iterable[Record]) -> int:
        found: int = self._upload("store", records)
        return found

    def store_history(self, objects: Iterable[HistoryObject]) -> None:
        self._upload("store_history", objects)

    def finalize(self, updates: Sequence[RefUpdate], who: Person) -> list[Key]:
        found: list[Key] = self._ask("finalize", list(updates), who)
        return found

    def fetch(self, keys: Sequence[Key]) -> Iterator[Record]:
        yield from self._download("fetch", list(keys))

    def history(self, wants: Sequence[str], haves: Sequence[str]) -> Iterator[HistoryObject]:
        yield from self._download("history", list(wants), list(haves))
