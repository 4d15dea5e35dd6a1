"""Making the block index anew from the packs, and rescuing what a damaged pack still holds."""

from __future__ import annotations

import shutil
from pathlib import Path

from .block_index import replace_index
from .block_store import expand
from .errors import Corrupt, StorageError
from .index_filler import IndexFiller
from .object_writer import ObjectWriter
from .packfile import Record, packs_in, read_footer, scan_records
from .progress import SILENT, Progress
from .repository import Repository


def rebuild_index(repository: Repository, *, progress: Progress = SILENT) -> tuple[int, int]:
    """Make the block index anew from the packs: (packs, objects). What a damaged footer no longer
    tells is read record by record into a new pack, and the damaged one is set aside in tmp/."""
    if not repository.writable:
        raise StorageError(f"{repository.path} may only be read")
    progress.begin("rebuilding the index")
    fresh = repository.tmp / "index-new"
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir()
    damaged = []
    packs = 0
    with repository.lock("salvage", "salvage of unfinished packs"):
        filler = IndexFiller(fresh)
        try:
            for name, path in packs_in(repository.path / "packs"):
                try:
                    footer = read_footer(path)
                except Corrupt:
                    damaged.append(path)
                    continue
                filler.add_pack(name, footer)
                packs += 1
                progress.advance(files=1)
            objects = filler.finish()
        finally:
            filler.close()
        repository.close()
        replace_index(repository.path / "index", fresh)
    for path in damaged:
        objects += _rescue(repository, path)
        packs += 1
    return packs, objects


def _rescue(repository: Repository, path: Path) -> int:
    """Until its records are durable elsewhere, the pack stays where the next run looks for it."""
    aside = repository.tmp / f"damaged-{path.name}"
    aside.unlink(missing_ok=True)
    aside.hardlink_to(path)
    writer = ObjectWriter(repository.store)
    try:
        for entry, payload in scan_records(aside):
            record = Record(entry.key, entry.codec, entry.plain, payload)
            try:
                expand(repository.store.codec, record)
            except (Corrupt, KeyError):
                continue
            if writer.claim([record.key])[0]:
                writer.append([record])
        writer.finish()
    except BaseException:
        writer.abort()
        raise
    if path.samefile(aside):  # if not, all was rescued: the same bytes have the same name
        path.unlink()
    repository.record_packs(writer.packs)
    repository.doubt()
    return writer.stored_objects
