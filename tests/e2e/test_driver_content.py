"""Random operations on files of the mount, against a model in memory: what is read, what lies
below, and which blocks are marked."""

from __future__ import annotations

import ctypes
import mmap
import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    rule,
    run_state_machine_as_test,
)
from mounted import Mounted, mounted

from treering.tracker.journal import read_journals
from treering.tracker.journal_records import Look

LIBC = ctypes.CDLL(None, use_errno=True)
BLOCK = 4096
LIMIT = 20 * BLOCK
KEEP_SIZE, PUNCH, ZERO = 1, 2, 16
NAME = st.sampled_from(["a", "b"])
OFFSET = st.integers(0, LIMIT - 1) | st.integers(0, 19).map(lambda block: block * BLOCK)
LENGTH = st.integers(1, 3 * BLOCK) | st.integers(1, 3).map(lambda blocks: blocks * BLOCK)
SEED = st.integers(1, 255)


class Model:
    """A file's content; `base` as of the last commit, None for a file made since; `touched` are
    the bytes that operations named."""

    def __init__(self) -> None:
        self.content = bytearray()
        self.base: bytes | None = None
        self.touched: set[int] = set()

    def touch(self, start: int, end: int) -> None:
        self.touched |= set(range(start // BLOCK, max(start, end - 1) // BLOCK + 1))

    def put(self, offset: int, data: bytes) -> None:
        size = len(self.content)
        self.touch(min(offset, size) if offset + len(data) > size else offset, offset + len(data))
        self.grow(offset)
        self.content[offset : offset + len(data)] = data

    def grow(self, size: int) -> None:
        self.content.extend(bytes(max(0, size - len(self.content))))

    def resize(self, size: int) -> None:
        self.touch(min(size, len(self.content)), max(size, len(self.content)) + 1)
        del self.content[size:]
        self.grow(size)

    def differing(self) -> set[int]:
        """The blocks that differ from the base."""
        if self.base is None:
            return set()
        before, now = blocks_of(self.base), blocks_of(bytes(self.content))
        return {
            number
            for number, block in enumerate(now)
            if (before[number] if number < len(before) else b"") != block
            and not (number >= len(before) and not any(block))
        }


def blocks_of(content: bytes) -> list[bytes]:
    return [content[start : start + BLOCK] for start in range(0, len(content), BLOCK)]


class Files(RuleBasedStateMachine):
    mount: Mounted
    journalled: bool

    def __init__(self) -> None:
        super().__init__()
        self.models: dict[str, Model] = {}
        for path in self.mount.top.iterdir():
            path.unlink()
        self.mount.commit()

    def path(self, name: str) -> Path:
        """A file, made if it is not there."""
        path = self.mount.top / name
        if name not in self.models:
            self.models[name] = Model()
            path.touch()
        return path

    @rule(name=NAME, offset=OFFSET, length=LENGTH, seed=SEED)
    def write(self, name: str, offset: int, length: int, seed: int) -> None:
        with self.path(name).open("r+b", buffering=0) as file:
            os.pwrite(file.fileno(), bytes([seed]) * length, offset)
        self.models[name].put(offset, bytes([seed]) * length)

    @rule(name=NAME, length=LENGTH, seed=SEED)
    def append(self, name: str, length: int, seed: int) -> None:
        with self.path(name).open("ab", buffering=0) as file:
            if len(self.models[name].content) < LIMIT:
                file.write(bytes([seed]) * length)
                self.models[name].put(len(self.models[name].content), bytes([seed]) * length)

    @rule(name=NAME, block=st.integers(0, 18), blocks=st.integers(1, 3), seed=SEED)
    def write_directly(self, name: str, block: int, blocks: int, seed: int) -> None:
        memory = mmap.mmap(-1, blocks * BLOCK)
        memory[:] = bytes([seed]) * len(memory)
        descriptor = os.open(self.path(name), os.O_RDWR | os.O_DIRECT)
        os.pwrite(descriptor, memory, block * BLOCK)
        os.close(descriptor)
        self.models[name].put(block * BLOCK, bytes(memory))

    @rule(name=NAME, offset=OFFSET, length=LENGTH, seed=SEED, sync=st.booleans())
    def write_mapped(self, name: str, offset: int, length: int, seed: int, sync: bool) -> None:
        path, model = self.path(name), self.models[name]
        length = min(length, len(model.content) - offset)
        if length <= 0:
            return
        with path.open("r+b") as file, mmap.mmap(file.fileno(), 0) as memory:
            memory[offset : offset + length] = bytes([seed]) * length
            if sync:
                memory.flush()
        with path.open("rb") as again:
            os.fsync(again.fileno())
        model.put(offset, bytes([seed]) * length)

    @rule(name=NAME, size=OFFSET)
    def truncate(self, name: str, size: int) -> None:
        os.truncate(self.path(name), size)
        self.models[name].resize(size)

    @rule(name=NAME)
    def empty(self, name: str) -> None:
        self.path(name).open("wb").close()
        self.models[name].resize(0)

    @rule(name=NAME, offset=OFFSET, length=LENGTH, mode=st.sampled_from([0, 1, 3, 16, 17]))
    def allocate(self, name: str, offset: int, length: int, mode: int) -> None:
        self._fallocate(name, mode, offset, length)
        model = self.models[name]
        size, end = len(model.content), offset + length
        if not mode & KEEP_SIZE and end > size:
            model.resize(end)
        if mode & (PUNCH | ZERO):
            stop = min(end, len(model.content))
            if stop > offset:
                model.put(offset, bytes(stop - offset))

    def _fallocate(self, name: str, mode: int, offset: int, length: int) -> None:
        with self.path(name).open("r+b") as file:
            arguments = (ctypes.c_long(offset), ctypes.c_long(length))
            assert LIBC.fallocate(file.fileno(), mode, *arguments) == 0, ctypes.get_errno()

    @rule(source=NAME, to=NAME, offset=OFFSET, into=OFFSET, length=LENGTH)
    def copy(self, source: str, to: str, offset: int, into: int, length: int) -> None:
        content = bytes(self._model(source).content[offset : offset + length])
        if source == to and abs(offset - into) < length:
            return
        self.path(to)
        with self.path(source).open("rb") as one, self.path(to).open("r+b") as other:
            done = os.copy_file_range(one.fileno(), other.fileno(), length, offset, into)
        assert done == len(content)
        if content:
            self._model(to).put(into, content)

    def _model(self, name: str) -> Model:
        self.path(name)
        return self.models[name]

    @rule(name=NAME)
    def replace(self, name: str) -> None:
        """Delete it; it is made anew when it is used again."""
        if self.models.pop(name, None):
            (self.mount.top / name).unlink()

    @rule()
    def commit(self) -> None:
        self.mount.commit()
        for model in self.models.values():
            model.base, model.touched = bytes(model.content), set()

    @invariant()
    def what_is_marked_can_be_found_after_a_crash(self) -> None:
        said = [each for file in read_journals(self.mount.journal) for each in file.suspects]
        content = {each.path for each in said if each.look in (Look.EXTENT, Look.SIZE)}
        names = {each.path for each in said if each.look == Look.NAMES}
        for name in self.mount.blocks() if self.journalled else ():
            model = self.models.get(name)
            if model is not None and model.base is not None:
                assert name.encode() in content, name
            elif model is not None:
                assert b"" in names

    @invariant()
    def it_is_as_the_model(self) -> None:
        marked = self.mount.blocks()
        for name, model in self.models.items():
            assert (self.mount.top / name).read_bytes() == model.content
            assert (self.mount.backing / name).read_bytes() == model.content
            found = marked.get(name, set())
            assert model.differing() <= found | self._beyond(name, model)
            assert found <= model.touched

    def _beyond(self, name: str, model: Model) -> set[int]:
        """What was cut off since the base is not marked block by block."""
        smallest = self.mount.ask("smallest").get(name)
        if smallest is None or model.base is None:
            return set()
        return set(range(smallest // BLOCK, -(-len(model.base) // BLOCK)))


@pytest.mark.parametrize("journal", [True, False])
def test_files(journal: bool) -> None:
    chosen = settings(max_examples=settings().max_examples // 2)
    with (
        tempfile.TemporaryDirectory(dir="/var/tmp") as folder,
        mounted(Path(folder), block=BLOCK, journal=journal) as found,
    ):
        run_state_machine_as_test(
            type("Files", (Files,), {"mount": found, "journalled": journal}), settings=chosen
        )
