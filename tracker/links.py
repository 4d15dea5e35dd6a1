"""Hard links: which names of the tree are one file, and what their group is called.

A group is named by its first path in tree order, relative to the lowest folder that holds all its
names, so that it depends on the tree alone and a renamed folder above costs nothing. It can be
known only when the whole tree was seen, while entries are built on the way: the build goes by the
groups of the last scan, gathers the names it meets, and when the groups turn out to be others, is
run once more over what is then mostly unchanged.

Paths are kept with NUL in the place of each slash, so that byte order is tree order. A `LinkTable`
belongs to one thread.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby
from operator import itemgetter
from typing import Final

from ..store.catalog import Catalog, sqlite_errors

Group = tuple[int, bytes]
"""(levels up, path) as in an entry's extras."""

BATCH: Final = 1000
ROOT_FACT: Final = "links-root"


def group_names(paths: list[list[bytes]]) -> list[Group]:
    """The group of each of the names (as path components, in tree order) of one file."""
    common = _common_depth([path[:-1] for path in paths])
    first = b"/".join(paths[0][common:])
    return [(len(path) - 1 - common, first) for path in paths]


def group_path(folder: bytes, group: Group) -> bytes:
    """The path from the top that names the group of an entry in `folder` (empty, or ending in a
    slash): equal for all names of one file."""
    levels_up, path = group
    above = folder.split(b"/")[:-1]
    return b"/".join([*above[: len(above) - levels_up], path])


def _common_depth(folders: list[list[bytes]]) -> int:
    low, high = min(folders), max(folders)
    depth = 0
    while depth < min(len(low), len(high)) and low[depth] == high[depth]:
        depth += 1
    return depth


class LinkTable:
    """The groups of the last scan, and the names met by this one."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._met: list[tuple[bytes, int, int | None, bytes | None]] = []
        self._presumed: dict[bytes, Group] = {}
        with sqlite_errors():
            count = catalog.conn.execute("select count(*) from links").fetchone()[0]
        self._known = bool(count)

    def others(self, path: bytes) -> list[bytes]:
        """The other names that a path's file had at the last scan."""
        if not self._known:
            return []
        query = "select path from links where inode=(select inode from links where path=?)"
        key = path.replace(b"/", b"\0")
        with sqlite_errors():
            rows = self._catalog.conn.execute(query, (key,)).fetchall()
        return [name.replace(b"\0", b"/") for (name,) in rows if name != key]

    @property
    def any(self) -> bool:
        """Whether there are any."""
        return self._known

    def is_of(self, root: str) -> bool:
        """Whether it says what the root with this id (hex) has."""
        return self._catalog.fact(ROOT_FACT) == root.encode()

    def doubt(self) -> None:
        """Names have changed while nobody saw it: what it says is of no root any more."""
        with self._catalog.transaction() as conn:
            conn.execute("delete from facts where name=?", (ROOT_FACT,))

    def belongs_to(self, root: str) -> None:
        """It says what this root has, from now on."""
        if not self.is_of(root):
            with self._catalog.transaction() as conn:
                conn.execute(
                    "insert or replace into facts values (?, ?)", (ROOT_FACT, root.encode())
                )

    def inodes_below(self, path: bytes) -> set[int]:
        """The inode numbers of files that have a name at a path or below it."""
        top = path.replace(b"/", b"\0")
        query = "select distinct inode from links where path=? or (path>? and path<?)"
        with sqlite_errors():
            rows = self._catalog.conn.execute(query, (top, top + b"\0", top + b"\1")).fetchall()
        return {inode for (inode,) in rows}

    def names_of(self, inode: int) -> list[bytes]:
        """All names of a file."""
        with sqlite_errors():
            rows = self._catalog.conn.execute("select path from links where inode=?", (inode,))
            return [path.replace(b"\0", b"/") for (path,) in rows.fetchall()]

    def replace(self, names: Mapping[int, Iterable[tuple[bytes, Group | None]]]) -> None:
        """These files have these names now, and groups. What else had one of the names has it no
        more. It is of no root then, until it is said of which."""
        with self._catalog.transaction() as conn:
            conn.execute("delete from facts where name=?", (ROOT_FACT,))
            conn.executemany("delete from links where inode=?", [(inode,) for inode in names])
            conn.executemany(
                "insert or replace into links values (?, ?, ?, ?)",
                (
                    (path.replace(b"/", b"\0"), inode, *(group or (None, None)))
                    for inode, named in names.items()
                    for path, group in named
                ),
            )

    def begin(self) -> None:
        """Start to gather names."""
        self._met = []
        with sqlite_errors():
            conn = self._catalog.conn
            conn.execute("drop table if exists temp.met")
            conn.execute(
                "create temp table met"
                " (path blob primary key, inode integer, levels integer, target blob)"
            )

    def expected(self, path: bytes) -> Group | None:
        """The group that this name has by what was met side by side, or had at the last scan.
        May be asked once for each name."""
        group = self._presumed.pop(path, None)
        if group is not None or not self._known:
            return group
        query = "select levels, target from links where path=?"
        with sqlite_errors():
            row = self._catalog.conn.execute(query, (path.replace(b"/", b"\0"),)).fetchone()
        return (row[0], row[1]) if row and row[0] is not None else None

    def presume(self, folder: bytes, names: list[tuple[int, int, bytes]]) -> None:
        """Expect a group for files of which all names stand side by side, the usual case, so that
        the first scan that meets them needs no second pass. `names` are (inode, number of links,
        name), in order, of one folder."""
        together: dict[int, list[bytes]] = {}
        for inode, _, name in names:
            together.setdefault(inode, []).append(name)
        for inode, links, name in names:
            if len(together[inode]) == links:
                self._presumed[folder + name] = (0, together[inode][0])

    def meet(self, path: bytes, inode: int, group: Group | None) -> None:
        """A name of a file that has more than one, and the group that the build gave it."""
        self._met.append((path.replace(b"/", b"\0"), inode, *(group or (None, None))))
        if len(self._met) >= BATCH:
            self._spill()

    def _spill(self) -> None:
        with sqlite_errors():
            conn = self._catalog.conn
            conn.execute("begin")
            conn.executemany("insert or replace into temp.met values (?, ?, ?, ?)", self._met)
            conn.execute("commit")
        self._met = []

    def keep_outside(self, paths: Iterable[bytes]) -> None:
        """Names that this scan did not look at and that stay as they are, with all below them."""
        for path in paths:
            query = (
                "select path, inode, levels, target from links where path=? or (path>? and path<?)"
            )
            top = path.replace(b"/", b"\0")
            rows = self._catalog.conn.execute(query, (top, top + b"\0", top + b"\1")).fetchall()
            for name, inode, levels, target in rows:
                group = None if levels is None else (levels, target)
                self.meet(name.replace(b"\0", b"/"), inode, group)

    def settle(self) -> bool:
        """Work out the groups of the names met and remember them. True when they are those that
        the build gave."""
        self._spill()
        if not self._known and not self._any_met():
            return True
        columns = "path, inode, levels, target"
        with self._catalog.transaction() as conn:
            conn.execute("create temp table found as select * from links limit 0")
            conn.executemany("insert into temp.found values (?, ?, ?, ?)", self._groups())
            wrong = self._differ("temp.found", "temp.met", columns)
            if self._differ("temp.found", "links", columns):
                conn.execute("delete from facts where name=?", (ROOT_FACT,))
                conn.execute("delete from links")
                conn.execute("insert into links select * from temp.found")
            conn.execute("drop table temp.found")
        self._known = True
        return not wrong

    def _differ(self, left: str, right: str, columns: str) -> bool:
        """Whether two tables have different rows. The names are our own."""
        a, b = f"select {columns} from {left}", f"select {columns} from {right}"
        query = (
            f"select 1 from (select * from ({a} except {b})"
            f" union all select * from ({b} except {a})) limit 1"
        )
        return self._catalog.conn.execute(query).fetchone() is not None

    def _any_met(self) -> bool:
        row = self._catalog.conn.execute("select 1 from temp.met limit 1").fetchone()
        return row is not None

    def _groups(self) -> Iterator[tuple[bytes, int, int | None, bytes | None]]:
        reader: sqlite3.Cursor = self._catalog.conn.execute(
            "select inode, path from temp.met order by inode, path"
        )
        for inode, rows in groupby(reader, key=itemgetter(0)):
            names = [path for _, path in rows]
            if len(names) == 1:
                yield names[0], inode, None, None
                continue
            split = [name.split(b"\0") for name in names]
            for name, (levels_up, target) in zip(names, group_names(split), strict=True):
                yield name, inode, levels_up, target
