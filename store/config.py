"""Settings of one repository, in Git's config file format, through libgit2.

The only other user of pygit2 beside `history`. Keys are Git's (`section.name` or
`section.sub section.name`); values are text. Writes are libgit2's: a new file renamed into place.
"""

from __future__ import annotations

from pathlib import Path

import pygit2

from .errors import Corrupt, InvalidInput, StorageError


class Config:
    """The config file at `path`; a missing one is empty."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._config = pygit2.Config(str(path))
        except (OSError, pygit2.GitError) as error:
            raise Corrupt(f"{path}: {error}") from error

    def get(self, key: str) -> str | None:
        """The value, or None. InvalidInput for what cannot be a key."""
        try:
            return self._config[key]
        except KeyError:
            return None
        except (ValueError, pygit2.GitError) as error:
            raise InvalidInput(f"'{key}' is not a config key: SECTION.NAME is") from error

    def set(self, key: str, value: str) -> None:
        try:
            self._config[key] = value
        except (ValueError, pygit2.GitError) as error:
            raise InvalidInput(f"'{key}' cannot be set: {error}") from error
        except OSError as error:
            raise StorageError(f"writing {self._path}: {error}") from error

    def unset(self, key: str) -> None:
        """Remove a key; nothing happens when it is not there."""
        try:
            del self._config[key]
        except KeyError:
            pass
        except (ValueError, pygit2.GitError) as error:
            raise InvalidInput(f"'{key}' cannot be removed: {error}") from error

    def items(self) -> dict[str, str]:
        """All keys and values."""
        return {entry.name: entry.value or "" for entry in self._config}

    def integer(self, key: str, default: int) -> int:
        """A whole number; InvalidInput when the value is something else."""
        value = self.get(key)
        if value is None:
            return default
        try:
            return int(value)
        except ValueError as error:
            raise InvalidInput(f"config {key} is '{value}', not a number") from error

    def boolean(self, key: str, default: bool) -> bool:
        value = self.get(key)
        if value is None:
            return default
        return value.lower() in ("true", "yes", "on", "1")

    def subsections(self, section: str) -> list[str]:
        """The names N for which keys `section.N.*` exist, sorted."""
        found = set()
        for key in self.items():
            first, _, rest = key.partition(".")
            if first == section and "." in rest:
                found.add(rest.rpartition(".")[0])
        return sorted(found)
