"""A file system in memory that forgets, at a power cut, what was not synced; served through FUSE by
the driver's own protocol code.

Of a file's content each sector of 512 bytes is, after the cut, as it was at the file's last fsync
or as it was last written; its size likewise. Of the changes of names since a folder's last fsync
any may have happened, those of one name in their order; a rename happens whole. `main` serves one
mount and answers `cut SEED` on its standard input with what is left, and goes on.
"""

from __future__ import annotations

import errno
import itertools
import json
import os
import random
import stat
import subprocess
import sys
import threading
import time
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from treering.tracker.fuse import mount, protocol
from treering.tracker.fuse.protocol import Opcode, Request, SetAttr
from treering.tracker.fuse.session import Session

SECTOR = 512
NOTHING = bytes(protocol.ENTRY.size + protocol.ATTR.size)
"""A look-up that does not come along."""


@dataclass(eq=False)
class Node:
    """A file or a folder. `durable` and `kept` are its content and names as of the last fsync."""

    number: int
    mode: int
    content: bytearray = field(default_factory=bytearray)
    durable: bytes = b""
    names: dict[bytes, Node] = field(default_factory=dict)
    changed_ns: int = field(default_factory=time.time_ns)
    links: int = 1

    @property
    def is_folder(self) -> bool:
        return stat.S_ISDIR(self.mode)


Change = tuple[Node, bytes, "Node | None"]
"""A folder has another node, or none, under a name."""


class ForgetfulFS:
    """`pending`: changes of names that no fsync has covered, each a list that happens whole."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)
        self.top = self._new(stat.S_IFDIR | 0o755)
        self._by_number = {1: self.top}
        self.kept: dict[tuple[int, bytes], Node] = {}
        self.pending: list[list[Change]] = []
        self.lock = threading.Lock()

    def _new(self, mode: int) -> Node:
        return Node(next(self._numbers), mode)

    # -- what is left after a cut ----------------------------------------------------------------

    def cut(self, chance: random.Random) -> dict[bytes, bytes | None]:
        """The files by path, and None for folders."""
        names = dict(self.kept)
        lost: set[tuple[int, bytes]] = set()
        for group in self.pending:
            # Behind a change that was lost, another of the same name cannot have happened.
            places = {(folder.number, name) for folder, name, _ in group}
            if places & lost or chance.random() < 0.5:
                lost |= places
                continue
            self._apply(names, group)
        return dict(self._walk(names, self.top, b"", chance))

    @staticmethod
    def _apply(names: dict[tuple[int, bytes], Node], group: list[Change]) -> None:
        for folder, name, node in group:
            if node is None:
                names.pop((folder.number, name), None)
            else:
                names[folder.number, name] = node

    def _walk(
        self,
        names: dict[tuple[int, bytes], Node],
        folder: Node,
        path: bytes,
        chance: random.Random,
    ) -> Iterator[tuple[bytes, bytes | None]]:
        for (number, name), node in names.items():
            if number == folder.number:
                below = path + b"/" + name if path else name
                yield below, None if node.is_folder else self._torn(node, chance)
                if node.is_folder:
                    yield from self._walk(names, node, below, chance)

    @staticmethod
    def _torn(node: Node, chance: random.Random) -> bytes:
        latest, durable = bytes(node.content), node.durable
        size = chance.choice([len(latest), len(durable)])
        found = bytearray(durable[:size].ljust(size, b"\0"))
        for start in range(0, size, SECTOR):
            if chance.random() < 0.5:
                piece = latest[start : min(start + SECTOR, size)]
                found[start : start + len(piece)] = piece
        return bytes(found)

    # -- requests --------------------------------------------------------------------------------

    def handlers(self) -> dict[Opcode, Any]:
        return {
            Opcode.LOOKUP: self.lookup,
            Opcode.GETATTR: lambda r: self._attr(self._node(r)),
            Opcode.SETATTR: self.setattr,
            Opcode.MKDIR: lambda r: self.make(r, protocol.MKDIR_IN.size, stat.S_IFDIR),
            Opcode.MKNOD: lambda r: self.make(r, protocol.MKNOD_IN.size, 0),
            Opcode.CREATE: self.create,
            Opcode.UNLINK: self.remove,
            Opcode.RMDIR: self.remove,
            Opcode.RENAME: lambda r: self.rename(r, protocol.RENAME_IN.size),
            Opcode.RENAME2: lambda r: self.rename(r, protocol.RENAME2_IN.size),
            Opcode.OPEN: self.open,
            Opcode.OPENDIR: lambda _: protocol.OPEN_OUT.pack(0, 0, 0),
            Opcode.READ: self.read,
            Opcode.WRITE: self.write,
            Opcode.FALLOCATE: self.fallocate,
            Opcode.FSYNC: self.fsync,
            Opcode.FSYNCDIR: self.fsyncdir,
            Opcode.READDIR: lambda r: self.readdir(r, b""),
            Opcode.READDIRPLUS: lambda r: self.readdir(r, NOTHING),
            Opcode.RELEASE: lambda _: b"",
            Opcode.RELEASEDIR: lambda _: b"",
            Opcode.FORGET: lambda _: b"",
            Opcode.BATCH_FORGET: lambda _: b"",
            Opcode.STATFS: lambda _: protocol.STATFS_OUT.pack(
                1 << 20, 1 << 19, 1 << 19, 1 << 20, 1 << 19, 4096, 255, 4096, 0
            ),
        }

    def _node(self, request: Request) -> Node:
        return self._by_number[request.node]

    def _stat(self, node: Node) -> bytes:
        seconds, rest = divmod(node.changed_ns, protocol.SECOND)
        size = len(node.content)
        times = (seconds, seconds, seconds, rest, rest, rest)
        owner = (node.links, 0, 0, 0, 4096, 0)
        blocks = -(-size // SECTOR)
        return protocol.ATTR.pack(node.number, size, blocks, *times, node.mode, *owner)

    def _attr(self, node: Node) -> bytes:
        return protocol.ATTR_OUT.pack(0, 0, 0) + self._stat(node)

    def _entry(self, node: Node) -> bytes:
        return protocol.ENTRY.pack(node.number, 0, 0, 0, 0, 0) + self._stat(node)

    def lookup(self, request: Request) -> bytes:
        node = self._node(request).names.get(request.body[:-1])
        if node is None:
            raise FileNotFoundError(errno.ENOENT, "none")
        return self._entry(node)

    def setattr(self, request: Request) -> bytes:
        fields = protocol.SETATTR_IN.unpack_from(request.body)
        node, valid = self._node(request), fields[0]
        if valid & SetAttr.SIZE:
            del node.content[fields[3] :]
            node.content.extend(bytes(fields[3] - len(node.content)))
        if valid & SetAttr.MODE:
            node.mode = stat.S_IFMT(node.mode) | fields[11] & 0o7777
        node.changed_ns = time.time_ns()
        return self._attr(node)

    def make(self, request: Request, start: int, kind: int) -> bytes:
        mode = int.from_bytes(request.body[:4], sys.byteorder)
        (name,) = protocol.names_of(request.body, start, 1)
        return self._entry(self._put(self._node(request), name, mode | kind))

    def _put(self, folder: Node, name: bytes, mode: int) -> Node:
        with self.lock:
            node = self._new(mode)
            self._by_number[node.number] = node
            self._change([(folder, name, node)])
            return node

    def _change(self, group: list[Change]) -> None:
        for folder, name, node in group:
            if node is None:
                folder.names.pop(name, None)
            else:
                folder.names[name] = node
            folder.changed_ns = time.time_ns()
        self.pending.append(group)

    def create(self, request: Request) -> bytes:
        _, mode, _, _ = protocol.CREATE_IN.unpack_from(request.body)
        (name,) = protocol.names_of(request.body, protocol.CREATE_IN.size, 1)
        node = self._put(self._node(request), name, mode)
        return self._entry(node) + protocol.OPEN_OUT.pack(0, 1, 0)

    def remove(self, request: Request) -> bytes:
        folder, name = self._node(request), request.body[:-1]
        if folder.names[name].names:
            raise OSError(errno.ENOTEMPTY, "not empty")
        with self.lock:
            folder.names[name].links -= 1
            self._change([(folder, name, None)])
        return b""

    def rename(self, request: Request, start: int) -> bytes:
        (number,) = protocol.RENAME_IN.unpack_from(request.body)
        old, new = protocol.names_of(request.body, start, 2)
        folder, into = self._node(request), self._by_number[number]
        with self.lock:
            self._change([(into, new, folder.names[old]), (folder, old, None)])
        return b""

    def open(self, request: Request) -> bytes:
        flags, _ = protocol.OPEN_IN.unpack_from(request.body)
        node = self._node(request)
        if flags & os.O_TRUNC:
            del node.content[:]
        return protocol.OPEN_OUT.pack(0, 0 if node.is_folder else 1, 0)

    def read(self, request: Request) -> bytes:
        _, offset, size, *_ = protocol.READ_IN.unpack_from(request.body)
        return bytes(self._node(request).content[offset : offset + size])

    def write(self, request: Request) -> bytes:
        _, offset, size, _, _, flags, _ = protocol.WRITE_IN.unpack(request.body)
        node = self._node(request)
        with self.lock:
            node.content.extend(bytes(max(0, offset - len(node.content))))
            node.content[offset : offset + size] = request.data
            node.changed_ns = time.time_ns()
            if flags & os.O_DSYNC:
                node.durable = bytes(node.content)
        return protocol.WRITE_OUT.pack(size, 0)

    def fallocate(self, request: Request) -> bytes:
        _, offset, length, mode, _ = protocol.FALLOCATE_IN.unpack_from(request.body)
        node = self._node(request)
        if mode:
            raise OSError(errno.EOPNOTSUPP, "only to make it longer")
        with self.lock:
            node.content.extend(bytes(max(0, offset + length - len(node.content))))
        return b""

    def fsync(self, request: Request) -> bytes:
        node = self._node(request)
        with self.lock:
            node.durable = bytes(node.content)
        return b""

    def fsyncdir(self, request: Request) -> bytes:
        """What touched the folder is durable, in order, and with it what came before for the same
        names."""
        folder = self._node(request)
        with self.lock:
            left = []
            for group in self.pending:
                if any(changed is folder for changed, _, _ in group):
                    self._apply(self.kept, group)
                else:
                    left.append(group)
            self.pending = left
        return b""

    def readdir(self, request: Request, before: bytes) -> bytes:
        _, offset, size, *_ = protocol.READ_IN.unpack_from(request.body)
        names = [b".", b"..", *self._node(request).names]
        out = b""
        for place in range(offset, len(names)):
            found = before + protocol.encode_dirent(1, place + 1, 0, names[place])
            if len(out) + len(found) > size:
                break
            out += found
        return out


def main() -> None:
    """Serve the mount at argv[1]. A line `cut SEED` is answered with files by path, in JSON."""
    system = ForgetfulFS()
    session = Session(mount.mount("forgetful", Path(sys.argv[1])))
    session.handle(system.handlers())

    def listen() -> None:
        for line in sys.stdin:
            with system.lock:
                found = system.cut(random.Random(int(line.split()[1])))
            answer = {
                path.decode(): None if content is None else b64encode(content).decode()
                for path, content in found.items()
            }
            print(json.dumps(answer), flush=True)

    threading.Thread(target=listen, daemon=True).start()
    print("ready", flush=True)
    session.serve()


@dataclass
class Forgetful:
    """A mount of its own at `top`."""

    top: Path
    process: subprocess.Popen[str]

    def cut(self, seed: int, target: Path) -> None:
        """What a power cut at this moment might leave, in a new folder."""
        from base64 import b64decode

        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(f"cut {seed}\n")
        self.process.stdin.flush()
        target.mkdir()
        for name, content in sorted(json.loads(self.process.stdout.readline()).items()):
            if content is None:
                (target / name).mkdir()
            else:
                (target / name).write_bytes(b64decode(content))


@contextmanager
def forgetful(top: Path) -> Iterator[Forgetful]:
    top.mkdir()
    process = subprocess.Popen(
        [sys.executable, __file__, str(top)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield Forgetful(top, process)
    finally:
        subprocess.run(["umount", "-l", top], check=False)
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=10)
        process.kill()
        process.communicate()


if __name__ == "__main__":
    main()
