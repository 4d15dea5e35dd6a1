"""The maps of an attached tree after HEAD moved and the tree with it: by a switch, a merge, a pull.

Whatever brought the tree there was seen by the driver like any program, so the maps have all of it,
and are relative to the new root if they are said to be. What they have is then as it is there, but
for what somebody has changed: it is read once, to have the maps say no more than that.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import Final

from ..store.errors import TreeringError
from ..store.ids import NodeId
from ..store.object_writer import UnstoredObjects
from ..store.progress import SILENT
from ..store.repository import Repository
from ..store.trees import differences, load_root
from .attached import Attachment, attachment, follow
from .capture.build import Capture
from .capture.link import CaptureLink
from .capture.plan import Unusable
from .links import LinkTable
from .snapshot import head_commit, xattr_filter

MAX_READ: Final = 1 << 30
"""Bytes that are read for it. Where more was changed, the next status or commit looks at it."""


def follow_head(repository: Repository) -> None:
    """After a move, with HEAD where it led to and the commit lock held. Whatever fails here leaves
    it to the next commit to scan the tree."""
    attached = attachment(repository)
    head = head_commit(repository)
    if attached is None or attached.base is None or head is None:
        return
    root = head.root.hex()
    if attached.base == root:
        return
    with suppress(TreeringError, Unusable):
        _follow_links(repository, attached.base, head.root)
        if follow(attached, attached.base, root):
            _settle(repository, attached, head.root)


def _follow_links(repository: Repository, before: str, root: NodeId) -> None:
    """Where there were no hard links, and none came, there are none."""
    table = LinkTable(repository.catalog)
    if not before or table.any or not table.is_of(before):
        return
    old = load_root(repository.store, NodeId(bytes.fromhex(before))).top
    new = load_root(repository.store, root).top
    found = differences(repository.store, old, new)
    if not any(each.new is not None and each.new.more.group is not None for each in found):
        table.belongs_to(root.hex())


def _settle(repository: Repository, attached: Attachment, root: NodeId) -> None:
    """Clear the maps, if the tree is as the root is. Nothing is stored."""
    if attached.status()["dirty_bytes"] > MAX_READ:
        return
    base = load_root(repository.store, root).top
    writer = UnstoredObjects(repository.store)
    link = CaptureLink(attached)
    backing = attached.backing()
    try:
        keep = xattr_filter(repository)
        made = Capture(repository, link, base, root.hex(), writer, keep, SILENT, processes=False)
        made.run(backing)
        if made.entry == base and not made.left:
            link.committed(root)
    finally:
        os.close(backing)
        link.close()
