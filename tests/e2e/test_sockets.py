"""Sockets: never versioned, said by the commit that first meets them, then only with -v."""

from __future__ import annotations

import os
import socket
from pathlib import Path

from live_trees import Work


def make_socket(path: Path) -> None:
    folder = os.open(path.parent, os.O_PATH)
    try:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(f"/proc/self/fd/{folder}/{path.name}")
    finally:
        os.close(folder)


def test_a_socket_is_said_once(work: Work) -> None:
    work.write("file", "x")
    make_socket(work.top / "one")
    assert work("status").err == ""
    assert "1 socket left out" in work("commit", "-m", "one").err
    for arguments in (["status"], ["commit", "-m", "nothing"]):
        assert work(*arguments).err == ""
        assert work(*arguments, "-v").err == "treering: 1 socket left out\n"
        assert work(*arguments, "--json").json["sockets"] == 1
    work.write("file", "xx")
    assert work("commit", "-m", "other changes").err == ""


def test_each_new_socket_is_said(work: Work) -> None:
    make_socket(work.top / "one")
    work("commit", "-m", "one", "--allow-empty")
    (work.top / "one").unlink()
    (work.top / "d").mkdir()
    make_socket(work.top / "d" / "two")
    work.write("d/file")
    assert "1 socket left out" in work("commit", "-m", "only d", "d").err
    assert work("commit", "-m", "whole").err == ""
    make_socket(work.top / "one")
    assert "1 socket left out" in work("commit", "-m", "it is back").err


def test_what_nobody_could_hear_was_not_said(work: Work) -> None:
    make_socket(work.top / "one")
    assert work("commit", "-q", "-m", "quiet", "--allow-empty").err == ""
    work.commit("as JSON")
    assert "1 socket left out" in work("commit", "-m", "aloud").err
