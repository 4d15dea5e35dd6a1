"""`make bench-scale`: how what commands cost grows with what there is. See docs/scaling.md.

Each part makes its own data in WORK, and deletes it afterwards; each step is a whole process. The
tables are printed at the end, and by the part *tables* alone. Parts may be run one by one.
Usage: scale.py [--work DIR] [PART ...]
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Final

from scale_commits import measure_commits
from scale_files import measure_files, measure_names
from scale_index import measure_index
from scale_nodes import measure_nodes
from scale_sheet import print_tables
from scale_sparse import measure_sparse

Part = Callable[[Path], None]
PARTS: Final[dict[str, Part]] = {
    "files-10k": lambda work: measure_files(work, "10 k", 10_000),
    "files-100k": lambda work: measure_files(work, "100 k", 100_000),
    "files-1m": lambda work: measure_files(work, "1 M", 1_000_000),
    "names-10k": lambda work: measure_names(work, "10 k", 10_000),
    "names-100k": lambda work: measure_names(work, "100 k", 100_000),
    "names-1m": lambda work: measure_names(work, "1 M", 1_000_000),
    "sparse": measure_sparse,
    "commits": measure_commits,
    "nodes-100k": lambda work: measure_nodes(work, "nodes", "100 k", 100_000, 1),
    "nodes-1m": lambda work: measure_nodes(work, "nodes", "1 M", 1_000_000, 1),
    "nodes-10m": lambda work: measure_nodes(work, "nodes", "10 M", 10_000_000, 1),
    "two-blocks-1m": lambda work: measure_nodes(work, "two-blocks", "1 M", 1_000_000, 2),
    "two-blocks-10m": lambda work: measure_nodes(work, "two-blocks", "10 M", 10_000_000, 2),
    "index-1m": lambda work: measure_index(work, "1 M", 1_000_000),
    "index-10m": lambda work: measure_index(work, "10 M", 10_000_000),
    "index-50m": lambda work: measure_index(work, "50 M", 50_000_000),
    "tables": print_tables,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, default=Path("/var/tmp/treering-bench-scale"))
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], default=list(PARTS))
    arguments = parser.parse_args()
    arguments.work.mkdir(parents=True, exist_ok=True)
    for name in arguments.parts:
        PARTS[name](arguments.work)


if __name__ == "__main__":
    main()
