"""Small files in a repository's `tracker/` that say durably what is under way in the work tree.

Each is replaced whole: a magic line, then one value in MessagePack. It is there, and durable, when
`write` returns, and gone when `remove` does.
"""

from __future__ import annotations

from pathlib import Path
from typing import Generic, TypeVar

import msgspec

from ..store.durable import fsync_folder, replace_file
from ..store.errors import Corrupt, storage_error
from ..store.nodes import UNDECODABLE
from ..store.repository import Repository

Value = TypeVar("Value")


class StateFile(Generic[Value]):
    """The file `name`, which holds a value of one kind; people call it `noun`."""

    def __init__(self, name: str, noun: str, kind: type[Value]) -> None:
        self._name = name
        self._noun = noun
        self._kind = kind
        self._magic = f"treering {name} 1\n".encode()

    def _path(self, repository: Repository) -> Path:
        return repository.path / "tracker" / self._name

    def write(self, repository: Repository, value: Value) -> None:
        """StorageError when the disk refuses; what was there before still is then."""
        try:
            replace_file(self._path(repository), self._magic + msgspec.msgpack.encode(value))
        except OSError as error:
            raise storage_error(f"writing the {self._noun}", error) from error

    def remove(self, repository: Repository) -> None:
        self._path(repository).unlink(missing_ok=True)
        fsync_folder(self._path(repository).parent)

    def read(self, repository: Repository) -> Value | None:
        """The value, or None where there is no file. Corrupt."""
        path = self._path(repository)
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            return None
        if not content.startswith(self._magic):
            raise Corrupt(f"{path} is not a {self._noun}", hint="delete it")
        try:
            return msgspec.msgpack.decode(content[len(self._magic) :], type=self._kind)
        except UNDECODABLE as error:
            raise Corrupt(f"{path} is damaged", hint="delete it") from error
