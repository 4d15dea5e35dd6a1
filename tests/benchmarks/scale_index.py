"""The block index with up to 50 million synthetic objects, each step a process of its own.

Packs of 125,000 random keys stand in a repository as files that are all hole but for header and
footer. The index is made of them as `treering fsck --rebuild-index` does before it checks, and is
looked at; then it takes 100 packs of 1,000 objects, one by one, as commits of 64-KiB blocks do.
Usage of one step: scale_index.py STEP REPOSITORY OBJECTS.
"""

from __future__ import annotations

import hashlib
import random
import shutil
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

from measure import run, sizes
from scale_sheet import Sheet, amount

from treering.store.block_index import BlockIndex
from treering.store.ids import BLOCK_PREFIX, ID_LENGTH, Key
from treering.store.packfile import (
    FILE_HEADER,
    FOOTER_ENTRY,
    MAGIC,
    VERSION,
    FooterEntry,
    encode_trailer,
    pack_file_name,
)
from treering.store.rebuild import rebuild_index
from treering.store.repository import Repository

IN_A_PACK: Final = 125_000
MORE_PACKS: Final = 100
MORE_OBJECTS: Final = 1_000
LOOKED_UP: Final = 500_000
BATCH: Final = 1 << 14
STORED: Final = 500
PLAIN: Final = 1_000


def measure_index(work: Path, size: str, objects: int) -> None:
    sheet, path = Sheet(work, "index", size), work / f"index-{size.replace(' ', '')}"
    shutil.rmtree(path, ignore_errors=True)
    Repository.create(path)
    make_packs(path / "packs", objects)
    for name in STEPS:
        command = [sys.executable, __file__, name, str(path), str(objects)]
        sheet.add(name.replace("-", " "), run(command, stdout=None))
        sheet.say(f"index on disk: {amount(sizes(path)['index'])}")
    shutil.rmtree(path)


def keys_of(pack: int, count: int) -> list[Key]:
    """The keys that a pack holds, which look as random as real ones."""
    ids = hashlib.shake_128(b"pack %d" % pack).digest(ID_LENGTH * count)
    return [Key(BLOCK_PREFIX + ids[at : at + ID_LENGTH]) for at in range(0, len(ids), ID_LENGTH)]


def make_packs(folder: Path, objects: int) -> None:
    for pack in range(objects // IN_A_PACK):
        offsets = range(FILE_HEADER.size + 48, 1 << 40, STORED + 48)
        rows = zip(sorted(keys_of(pack, IN_A_PACK)), offsets, strict=False)
        table = b"".join([FOOTER_ENTRY.pack(key, 1, at, STORED, PLAIN) for key, at in rows])
        end = FILE_HEADER.size + IN_A_PACK * (STORED + 48)
        name = hashlib.shake_128(b"name %d" % pack).digest(ID_LENGTH)
        with (folder / pack_file_name(name)).open("wb") as file:
            file.write(FILE_HEADER.pack(MAGIC, VERSION, 0))
            file.seek(end)
            file.write(table + encode_trailer(table, IN_A_PACK, end))


def _timed(what: str, count: int, work: Callable[[], None]) -> None:
    started = time.monotonic()
    work()
    seconds = time.monotonic() - started
    print(f"    {what}: {count / seconds:,.0f} a second, {seconds / count * 1e6:.1f} us each")


def rebuild(path: Path, objects: int) -> None:
    repository = Repository(path)
    assert rebuild_index(repository) == (objects // IN_A_PACK, objects)
    repository.close()


def look_up(path: Path, objects: int) -> None:
    """Objects that are there and that are not: one by one, and in batches as commits ask."""
    index = BlockIndex(path / "index")
    chance, packs = random.Random(1), objects // IN_A_PACK
    chosen = [chance.randrange(packs) for _ in range(8)]
    pool = [key for pack in chosen for key in keys_of(pack, IN_A_PACK)]
    chance.shuffle(pool)
    there = pool[:LOOKED_UP]
    absent = keys_of(-1, LOOKED_UP)
    for what, keys in (("present", there), ("absent", absent)):
        some = keys[: LOOKED_UP // 5]
        _timed(f"{what}, one by one", len(some), partial(_locate, index, some, 1))
        _timed(f"{what}, in batches", len(keys), partial(_locate, index, keys, BATCH))


def _locate(index: BlockIndex, keys: list[Key], at_once: int) -> None:
    for start in range(0, len(keys), at_once):
        index.locate(keys[start : start + at_once])


def add_small_packs(path: Path, _objects: int) -> None:
    """100 packs of 1,000 objects, each durable before the next."""
    index = BlockIndex(path / "index")
    packs = [keys_of(-2 - number, MORE_OBJECTS) for number in range(MORE_PACKS)]

    def add() -> None:
        for number, keys in enumerate(packs):
            index.add_pack(b"%032d" % number, [FooterEntry(key, 1, 64, 9, 9) for key in keys])

    _timed("added durably", MORE_PACKS * MORE_OBJECTS, add)


def add_a_large_pack(path: Path, _objects: int) -> None:
    """A pack of as many tiny objects as one may hold."""
    index = BlockIndex(path / "index")
    keys = keys_of(-1000, 1 << 17)
    entries = [FooterEntry(key, 1, 64, 9, 9) for key in keys]
    _timed("added durably", len(keys), lambda: _add(index, entries))


def _add(index: BlockIndex, entries: list[FooterEntry]) -> None:
    index.add_pack(b"%032d" % 1000, sorted(entries))


Step = Callable[[Path, int], None]
STEPS: Final[dict[str, Step]] = {
    "rebuild": rebuild,
    "look-up": look_up,
    "add-100-packs-of-1,000": add_small_packs,
    "add-a-pack-of-131,072": add_a_large_pack,
}


def main() -> None:
    name, path, objects = sys.argv[1:]
    STEPS[name](Path(path), int(objects))


if __name__ == "__main__":
    main()
