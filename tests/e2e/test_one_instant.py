"""Commits taken while programs change the tree without a pause: each is the tree at one instant."""

from __future__ import annotations

import os
import shutil
import sys
import time
from io import BytesIO
from pathlib import Path

import pytest
import stamped
from attached_trees import attached, away, told
from live_trees import Work
from programs import check_alive, working
from random_changes import copied, root_of
from stamped_again import counts_in, instants
from stamped_check import changes_in, instant_of

COMMITS = 1000 if os.environ.get("TREERING_LONG") == "1" else 8
STREAMS = 13 + stamped.LANES
SCRIPT = Path(stamped.__file__)


def commands(top: Path, logs: Path) -> list[list[str]]:
    """Of all kinds of programs."""
    logs.mkdir()
    (top / "moving" / "m0").mkdir(parents=True)
    command = [sys.executable, str(SCRIPT)]
    return [[*command, kind, str(top), str(logs)] for kind in stamped.KINDS]


@pytest.mark.timeout(7200 if COMMITS > 100 else 300)
def test_each_commit_is_one_instant(work: Work, tmp_path: Path) -> None:
    logs, restored = tmp_path / "logs", tmp_path / "restored"
    work.write("first", "there")
    work.commit("first")
    last, moments = 0, []
    with attached(work):
        with working(commands(work.top, logs)) as programs:
            time.sleep(2)
            for number in range(COMMITS):
                begun = time.monotonic_ns()
                done = away(work, "commit", "-m", f"{number}", "--json").json
                ended = time.monotonic_ns()
                assert done["pause_seconds"] is not None, "a scan made it"
                away(work, "restore", "--source", done["commit"], "--target", str(restored))
                found = changes_in(restored)
                dumped = away(work, "dump", done["commit"])
                assert instants(counts_in(BytesIO(dumped.raw)), logs), "by another way"
                first, until = instant_of(found, logs)
                assert begun < until, "it has less than was done before it began"
                assert first < ended, "it has what began after it ended"
                assert first >= last
                last = begun
                moments.append(found)
                shutil.rmtree(restored)
                check_alive(programs)
        streams = set().union(*moments)
        assert len(streams) == STREAMS, streams
        for name in streams:
            assert moments[-1][name] > moments[0].get(name, 0), f"{name} stood still"
        # After all of it, the maps still know what there is.
        copy = copied(work.top, tmp_path / "copy")
        done = away(work, "commit", "-m", "last", "--json").json
        assert told(work) == ({}, 0)
        assert done["root"] == root_of(work, copy)
