"""What a killed writer left in tmp/: whole records of unfinished packs are kept, the rest deleted.

A pack being written is under its writer's flock, so a free one belongs to nobody. Every record is
verified before it is kept. The records go into a fresh pack through the ordinary writer, which
brings footer, name and index along; the left file goes when they are durable.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Final

from .block_store import BlockStore, expand
from .errors import Corrupt, StorageError, is_full
from .ids import Kind
from .locking import try_lock
from .object_writer import ObjectWriter
from .packfile import Record, scan_records

BATCH: Final = 64
STALE_SECONDS: Final = 24 * 3600
"""Folders in tmp/ have no lock; one this old belongs to nobody."""


def salvage(store: BlockStore, threads: int) -> int:
    """Take over what dead writers left in the store's tmp/; the number of objects kept."""
    kept = 0
    for path in sorted(store.tmp.glob("pack-*.tmp")):
        kept += _salvage_pack(store, path, threads)
    _remove_stale_folders(store.tmp)
    return kept


def _salvage_pack(store: BlockStore, path: Path, threads: int) -> int:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return 0
    try:
        if not try_lock(descriptor) or not path.exists():
            return 0
        writer = ObjectWriter(store)
        try:
            for record in _verified(store, path, threads):
                if writer.claim([record.key])[0]:
                    writer.append([record])
            writer.finish()
        except StorageError as error:
            writer.abort()
            if not is_full(error):
                raise
            # There is no room for a copy: keeping both would keep the disk full.
            path.unlink()
            return 0
        except BaseException:
            writer.abort()
            raise
        path.unlink()
        return writer.stored_objects
    finally:
        os.close(descriptor)


def _verified(store: BlockStore, path: Path, threads: int) -> Iterator[Record]:
    """The records of a pack up to the first that is not whole, those with the right content."""
    records = (
        Record(entry.key, entry.codec, entry.plain, payload)
        for entry, payload in scan_records(path)
        if entry.key[0] in (Kind.BLOCK, Kind.NODE)
    )
    with ThreadPoolExecutor(threads, thread_name_prefix="salvage") as pool:
        while batch := list(islice(records, BATCH)):
            checks = pool.map(lambda record: _is_good(store, record), batch)
            yield from (record for record, good in zip(batch, checks, strict=True) if good)


def _is_good(store: BlockStore, record: Record) -> bool:
    try:
        expand(store.codec, record)
    except Corrupt:
        return False
    return True


def _remove_stale_folders(tmp: Path) -> None:
    for path in tmp.glob("history-*"):
        if time.time() - path.stat().st_mtime > STALE_SECONDS:
            shutil.rmtree(path, ignore_errors=True)
