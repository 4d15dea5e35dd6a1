"""Small files that say durably what is under way: in the work tree, or with several refs.

Each is replaced whole: a magic line, BLAKE3 of the rest, one value in MessagePack. It is there, and
durable, when `write` returns, and gone when `remove` does. What it says is acted upon without
asking again, so a file with one flipped bit is refused.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final, Generic, TypeVar

import msgspec
from blake3 import blake3

from .durable import fsync_folder, replace_file
from .errors import Corrupt, storage_error
from .nodes import UNDECODABLE

Value = TypeVar("Value")
SUM: Final = 32


class StateFile(Generic[Value]):
    """The file `name`, which holds a value of one kind; people call it `noun`. Every method takes
    the folder it lies in. `hint` says what to do about a damaged one."""

    def __init__(self, name: str, noun: str, kind: type[Value], hint: str = "delete it") -> None:
        self._name = name
        self._noun = noun
        self._kind = kind
        self._hint = hint
        self._magic = _magic(name)

    def write(self, folder: Path, value: Value) -> None:
        """StorageError when the disk refuses; what was there before still is then."""
        content = msgspec.msgpack.encode(value)
        try:
            replace_file(folder / self._name, self._magic + blake3(content).digest() + content)
        except OSError as error:
            raise storage_error(f"writing the {self._noun}", error) from error

    def remove(self, folder: Path) -> None:
        (folder / self._name).unlink(missing_ok=True)
        fsync_folder(folder)

    def read(self, folder: Path) -> Value | None:
        """The value, or None where there is no file. Corrupt."""
        path = folder / self._name
        try:
            text = path.read_bytes()
        except FileNotFoundError:
            return None
        content = text[len(self._magic) + SUM :]
        if not is_whole(self._name, text):
            raise Corrupt(f"{path} is damaged, or no {self._noun}", hint=self._hint)
        try:
            return msgspec.msgpack.decode(content, type=self._kind)
        except UNDECODABLE as error:
            raise Corrupt(f"{path} is damaged: {error}", hint=self._hint) from error


def _magic(name: str) -> bytes:
    return f"treering {name} 2\n".encode()


def is_whole(name: str, text: bytes) -> bool:
    """Whether this is what was written as the state file `name`."""
    start = len(_magic(name)) + SUM
    return text[:start] == _magic(name) + blake3(text[start:]).digest()
