"""History: the bare Git repository that holds commits, refs, HEAD and reflogs, through libgit2.

Stock Git tools read the same folder. All writes run under our
own flock, whose holder removes lock files that a killed process left; libgit2 fsyncs objects and
refs. A ref moves by compare-and-swap, after its objects are durable.

Reading is safe beside writers in other processes; one instance belongs to one thread.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import pygit2
from blake3 import blake3
from pygit2.enums import ObjectType, SortMode

from . import ref_moves
from .durable import fsync_folder
from .errors import Corrupt, InvalidInput, LockHeld, NotFound, StorageError
from .git_objects import (
    BULK,
    clean_text,
    pack_loose,
    remove_leftovers,
    write_commit,
    write_objects,
    write_pack,
)
from .history_values import BRANCHES, Commit, HistoryObject, Person, RefUpdate, Tag
from .locking import FileLock
from .loose_objects import SEE_FSCK, LooseObjects
from .ref_reader import RefReader
from .ref_writer import RefWriter, git_errors
from .root_record import RootRecord, decode_record, encode_record
from .tags import decode_tag, encode_tag

__all__ = ["BRANCHES", "Commit", "History", "HistoryObject", "Person", "RefUpdate", "Tag"]
RECORD_NAME: Final = "root"
TAGS: Final = "refs/tags/"
REMOTES: Final = "refs/remotes/"
DEFAULT_BRANCH: Final = "main"
ZERO: Final = "0" * 40
MAX_KNOWN: Final = 1_000
"""Commits kept decoded: a walk meets each as a child's parent and then for itself."""
_CONFIG: Final = {"core.logAllRefUpdates": True, "gc.auto": 0}


def create_history(path: Path) -> None:
    repo = pygit2.init_repository(path, bare=True, initial_head=DEFAULT_BRANCH)
    for key, value in _CONFIG.items():
        repo.config[key] = value
    shutil.rmtree(path / "hooks", ignore_errors=True)


class History:
    """The open history. `lock` makes the flock for writes."""

    def __init__(self, path: Path, lock: Callable[[], FileLock]) -> None:
        self._path = path
        self._objects = path / "objects"
        self._loose = LooseObjects(self._objects)
        self._lock = lock
        self._known: dict[str, Commit] = {}
        pygit2.settings.owner_validation = False  # the repository's own mode 0700 guards it
        # Not `core.fsyncObjectFiles`, which does the same: stock Git warns that it is deprecated.
        pygit2.settings.enable_fsync_gitdir(True)
        try:
            self._repo = pygit2.Repository(str(path))
        except pygit2.GitError as error:
            raise Corrupt(f"history at {path} cannot be opened: {error}") from error
        self._reader = RefReader(self._repo)
        self._refs = RefWriter(path, self._repo, self._loose, self._reader)

    # -- reading ---------------------------------------------------------------------------------

    def commit(self, commit_id: str) -> Commit:
        """The commit with this id. NotFound, or Corrupt when it is no commit of ours."""
        known = self._known.get(commit_id)
        if known is not None:
            return known
        found = self._get(commit_id)
        if not isinstance(found, pygit2.Commit):
            raise NotFound(f"{commit_id[:40]} is not a commit")
        if len(self._known) >= MAX_KNOWN:
            self._known.clear()
        made = self._known[commit_id] = self._commit(found)
        return made

    def _get(self, object_id: str) -> pygit2.Object:
        self._loose.check(object_id)
        try:
            found = self._repo.get(object_id)
        except ValueError as error:
            raise NotFound(f"not a commit id: {object_id[:80]!r}") from error
        except pygit2.GitError as error:
            what = f"history object {object_id[:10]} is damaged: {error}"
            raise Corrupt(what, hint=SEE_FSCK) from error
        if found is None:
            raise NotFound(f"there is no commit {object_id[:40]}")
        return found

    def _commit(self, found: pygit2.Commit) -> Commit:
        try:
            record = decode_record(self._record(found).read_raw())
            entries = list(found.tree)
        except (KeyError, pygit2.GitError) as error:
            what = f"commit {str(found.id)[:10]} is damaged: {error}"
            raise Corrupt(what, hint=SEE_FSCK) from error
        parents = tuple(str(parent) for parent in found.parent_ids)
        if len(entries) != 1 or len(parents) != len(record.parents):
            raise Corrupt(f"commit {str(found.id)[:10]} does not agree with its root record")
        message = found.raw_message.decode("utf-8", "replace")
        return Commit(
            str(found.id), parents, _person(found.author), _person(found.committer), message, record
        )

    def _record(self, commit: pygit2.Commit) -> pygit2.Object:
        self._loose.check(str(commit.tree_id))
        blob = commit.tree[RECORD_NAME]
        self._loose.check(str(blob.id))
        return blob

    def check_parents(self, commit: Commit) -> None:
        """Corrupt unless every parent is there and has the BLAKE3 that the commit says."""
        for parent, digest in zip(commit.parents, commit.record.parents, strict=True):
            if self._digest(parent) != digest:
                raise Corrupt(f"commit {commit.short}: its parent {parent[:10]} was altered")

    def _digest(self, commit_id: str) -> bytes:
        digest: bytes = blake3(self._get(commit_id).read_raw()).digest()
        return digest

    def has(self, commit_id: str) -> bool:
        return commit_id in self._repo

    def resolve(self, revision: str) -> Commit:
        """The commit that Git's revision syntax names (HEAD~3, main@{yesterday}, hex, a tag)."""
        self._loose.check((self.head() or "") if revision == "HEAD" else revision)
        try:
            found = self._peel(self._repo.revparse_single(revision))
        except KeyError as error:
            raise self._unknown(revision) from error
        except (ValueError, pygit2.InvalidSpecError) as error:
            # Of fewer than four digits libgit2 says that they are ambiguous, whatever there is.
            if "ambiguous" in str(error) and "too short" not in str(error):
                raise InvalidInput(
                    f"revision '{revision}' is ambiguous", hint="write more of its digits"
                ) from error
            raise self._unknown(revision) from error
        except pygit2.GitError as error:  # what is unknown has classes of its own, above
            raise Corrupt(f"history is damaged: {error}", hint=SEE_FSCK) from error
        return self._commit(found)

    def _peel(self, found: pygit2.Object) -> pygit2.Commit:
        if not isinstance(found, pygit2.Commit):
            self._loose.check_all()
        return found.peel(pygit2.Commit)

    def _unknown(self, revision: str) -> NotFound:
        if self.head() is None and revision.startswith("HEAD"):
            return NotFound("there are no commits yet", hint="make one with: treering commit")
        return NotFound(f"unknown revision '{revision}'", hint="see: treering log --oneline")

    def head(self) -> str | None:
        """The id of the commit that HEAD names, or None when there is none yet. Corrupt when HEAD
        or its branch cannot be read: that is not the same as none."""
        return self._reader.head()

    def branch(self) -> str | None:
        """The branch that HEAD is on, without refs/heads/, born or not; None when detached."""
        return self._reader.branch()

    def refs(self, prefix: str = "refs/") -> dict[str, str]:
        """Full ref name -> the id it holds, for refs below `prefix`: what a move compares with
        and what travels. Of an annotated tag that is the tag object, not a commit: see `tips`."""
        return self._reader.refs(prefix)

    def tips(self, prefix: str = "refs/") -> dict[str, str]:
        """Full ref name -> id of the commit it leads to, through annotated tags, for refs below
        `prefix`. Refs that lead to no commit of this repository are left out: fsck names them."""
        found = {name: self.peeled(target) for name, target in self.refs(prefix).items()}
        return {name: commit for name, commit in found.items() if commit is not None}

    def peeled(self, object_id: str) -> str | None:
        """The id of the commit that this commit or annotated tag leads to; None when it leads to
        none that is here. Corrupt when an object on the way is damaged."""
        try:
            while isinstance(found := self._get(object_id), pygit2.Tag):
                object_id = str(found.target)
        except NotFound:
            return None
        return object_id if isinstance(found, pygit2.Commit) else None

    def tag(self, object_id: str) -> Tag | None:
        """The annotated tag with this id; None when it is another kind of object."""
        found = self._get(object_id)
        return decode_tag(object_id, found.read_raw()) if isinstance(found, pygit2.Tag) else None

    def named_tag(self, revision: str) -> Tag | None:
        """The annotated tag that a revision names before it is followed to its commit."""
        self._loose.check_all()
        try:
            return self.tag(str(self._repo.revparse_single(revision).id))
        except (KeyError, ValueError, pygit2.GitError):
            return None

    def ref(self, name: str) -> str | None:
        """The id that a full ref name holds (of an annotated tag, the tag object's), or None."""
        return self._reader.held(name)

    def last_move(self, name: str) -> str | None:
        """The id that a ref was moved to last, by its reflog; None where there is none."""
        return next((new for _, new in self._reader.moves(name)), None)

    def reflog_ids(self, name: str) -> set[str]:
        """All commit ids that the reflog of a ref names, of those that are here."""
        ids = {one for move in self._reader.moves(name) for one in move}
        return {one for one in ids if one != ZERO and one in self._repo}

    def log(self, wanted: Iterable[str], hidden: Iterable[str] = ()) -> Iterator[Commit]:
        """Commits reachable from `wanted` and not from `hidden`, newest first, children before
        their parents."""
        for commit_id in self.newest_first(wanted, hidden):
            yield self.commit(commit_id)

    def newest_first(self, wanted: Iterable[str], hidden: Iterable[str] = ()) -> Iterator[str]:
        """Ids of the same commits, in the same order."""
        return self._walk(wanted, hidden, SortMode.TOPOLOGICAL | SortMode.TIME)

    def oldest_first(self, wanted: Iterable[str], hidden: Iterable[str] = ()) -> list[str]:
        """Ids of the same commits, parents before their children."""
        order = SortMode.TOPOLOGICAL | SortMode.REVERSE
        return list(self._walk(wanted, hidden, order))

    def _walk(self, wanted: Iterable[str], hidden: Iterable[str], order: SortMode) -> Iterator[str]:
        self._loose.check_all()
        walker = self._repo.walk(None, order)
        for commit_id in wanted:
            walker.push(commit_id)
        for commit_id in hidden:
            if commit_id in self._repo:
                walker.hide(commit_id)
        try:
            for commit in walker:
                yield str(commit.id)
        except pygit2.GitError as error:
            raise Corrupt(f"history is damaged: {error}", hint=SEE_FSCK) from error

    def is_ancestor(self, old: str, new: str) -> bool:
        """Whether `old` is `new` or one of its ancestors."""
        self._loose.check_all()
        return old == new or (old in self._repo and self._repo.descendant_of(new, old))

    def merge_base(self, one: str, other: str) -> str | None:
        """The best common ancestor of two commits; None when their histories are unrelated."""
        self._loose.check_all()
        found = self._repo.merge_base(one, other)
        return str(found) if found is not None else None

    def ahead_behind(self, local: str, upstream: str) -> tuple[int, int]:
        """How many commits `local` has that `upstream` lacks, and the reverse."""
        self._loose.check_all()
        ahead, behind = self._repo.ahead_behind(local, upstream)
        return ahead, behind

    # -- travelling ------------------------------------------------------------------------------

    def export(self, commit_ids: Iterable[str]) -> Iterator[HistoryObject]:
        """The objects of these commits: blob, tree, commit of each."""
        for commit_id in commit_ids:
            commit = self._get(commit_id)
            if not isinstance(commit, pygit2.Commit):
                raise NotFound(f"{commit_id} is not a commit")
            blob = self._record(commit)
            for found in (blob, commit.tree, commit):
                yield HistoryObject(int(found.type), found.read_raw())

    def export_tags(self, ids: Iterable[str]) -> Iterator[HistoryObject]:
        """The annotated tags among these ids, each after the tag that it names."""
        for object_id in ids:
            chain: list[HistoryObject] = []
            while isinstance(found := self._get(object_id), pygit2.Tag):
                chain.append(HistoryObject(int(found.type), found.read_raw()))
                object_id = str(found.target)
            yield from reversed(chain)

    def add_objects(self, objects: Sequence[HistoryObject], tmp: Path) -> None:
        """Store Git objects durably; many at once as one Git pack made in `tmp`. They are garbage
        until a ref names them."""
        with self._lock(), git_errors("writing history"):
            if len(objects) < BULK:
                write_objects(self._repo, objects)
            else:
                write_pack(objects, tmp, self._objects)
            fsync_folder(self._objects)

    # -- writing ---------------------------------------------------------------------------------

    def create_commit(
        self,
        record: RootRecord,
        parents: Sequence[str],
        author: Person,
        committer: Person,
        message: str,
        ref: str,
    ) -> Commit:
        """Write a commit and move `ref` from its first parent (or from nothing) to it. Conflict
        when the ref has moved meanwhile."""
        record = RootRecord(
            record.root,
            tuple(self._digest(parent) for parent in parents),
            record.change,
            record.users,
            record.groups,
        )
        message = clean_text(message)
        tree = {RECORD_NAME: encode_record(record)}
        with self.changing() as repo:
            commit_id = write_commit(repo, tree, parents, author, committer, message)
            # libgit2 syncs an object and its folder, not the name of a new folder.
            fsync_folder(self._objects)
            update = RefUpdate(ref, parents[0] if parents else None, commit_id)
            title = message.strip().partition("\n")[0]
            kind = "commit" if parents else "commit (initial)"
            self._refs.move(update, committer, f"{kind}: {title}")
            pack_loose(self._repo, self._objects)
        return self.commit(commit_id)

    def write_tag(self, name: str, commit_id: str, tagger: Person, message: str) -> str:
        """Write an annotated tag durably; its id. It is garbage until a ref holds that."""
        content = encode_tag(name, commit_id, tagger, message)
        with self.changing() as repo:
            (made,) = write_objects(repo, [(int(ObjectType.TAG), content)])
            fsync_folder(self._objects)
        return str(made)

    def update_refs(self, updates: Sequence[RefUpdate], who: Person, message: str) -> None:
        """Move refs by compare-and-swap, under one lock: all are compared before any moves, and
        put back if one cannot be moved; see `ref_moves` for crashes. Conflict names the first that
        has moved."""
        with self.changing():
            self._refs.move_all(updates, who, message)

    def settle(self) -> None:
        """Finish moves of refs that a killed process left half made; does nothing, and takes no
        lock, where there are none."""
        if (self._path / ref_moves.FILE).exists():
            with self.changing():
                pass

    def settle_at_once(self) -> None:
        """The same for readers, who do not wait: where a live process moves the refs, or they
        cannot be moved now, they are shown as they are."""
        if (self._path / ref_moves.FILE).exists():
            with suppress(LockHeld, StorageError, Corrupt):
                with self.changing(self._lock().at_once()):
                    pass

    @contextmanager
    def changing(self, lock: FileLock | None = None) -> Iterator[pygit2.Repository]:
        """libgit2's repository under our lock, for changes that have a module of their own."""
        with lock or self._lock(), git_errors("writing history"):
            remove_leftovers(self._path)
            self._refs.finish()
            yield self._repo


def valid_branch(name: str) -> bool:
    """Whether Git would take this as a branch name."""
    return not name.startswith("-") and bool(pygit2.reference_is_valid_name(BRANCHES + name))


def _person(signature: pygit2.Signature) -> Person:
    return Person(signature.name, signature.email, signature.time, signature.offset)
