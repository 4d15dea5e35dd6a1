"""Serves the repository at argv[1] on stdin and stdout, as a carrier's far end does."""

from __future__ import annotations

import sys
from pathlib import Path

from treering.store.remotes.frames import BrokenWire
from treering.store.remotes.local import open_local
from treering.store.remotes.wire import serve


def main() -> None:
    remote = open_local(Path(sys.argv[1]), threads=2)
    try:
        serve(sys.stdin.buffer, sys.stdout.buffer, remote)
    except BrokenWire:
        sys.exit(3)
    finally:
        remote.close()


if __name__ == "__main__":
    main()
