"""Is all of a root there, and each object right in its place?

The walk that a check is given remembers the nodes it has seen, so that each is looked at once over
all commits. What is found is cut at a limit. Belongs to the thread of its repository.
"""

from __future__ import annotations

from typing import Final

from .closure import ClosureWalk
from .closure_items import Blocks, misfit
from .errors import Corrupt, NotFound
from .ids import Key, node_key
from .progress import Progress
from .repository import Repository

BATCH: Final = 256


class RootCheck:
    """One root, walked whole. `missing` are keys that are absent or damaged; `wrong` says what does
    not fit its place, and which object that is."""

    def __init__(
        self, repository: Repository, walk: ClosureWalk, root: bytes, progress: Progress
    ) -> None:
        self.missing: list[Key] = []
        self.wrong: dict[str, Key] = {}
        self._store = repository.store
        self._walk = walk
        walk.add_root(root, None)
        while taken := walk.take(BATCH):
            for identity in taken:
                self._visit(identity)
            blocks = walk.drain_blocks()
            progress.advance(files=len(blocks.keys))
            self._check_blocks(blocks)

    @property
    def whole(self) -> bool:
        return not (self.missing or self.wrong)

    def _visit(self, identity: bytes) -> None:
        try:
            plain = self._store.node(identity)
        except (NotFound, Corrupt):
            self._walk.skip(identity)
            self._miss(node_key(identity))
            return
        try:
            self._walk.visit(identity, plain)
        except Corrupt as error:
            self._doubt(error.message, node_key(identity))

    def _check_blocks(self, blocks: Blocks) -> None:
        lengths = self._store.index.lengths(blocks.keys)
        for key, wanted, found in zip(*blocks, lengths, strict=True):
            if found is None:
                self._miss(key)
            elif found != wanted:
                self._doubt(misfit(key, wanted, found), key)

    def _miss(self, key: Key) -> None:
        if len(self.missing) < BATCH:
            self.missing.append(key)

    def _doubt(self, what: str, key: Key) -> None:
        if len(self.wrong) < BATCH:
            self.wrong.setdefault(what, key)
