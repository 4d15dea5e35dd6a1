"""Completion: in a real bash, and by the protocol of the three shells."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from live_trees import PROGRAM, Work, environment


@pytest.fixture
def named(two: Work) -> Work:
    two.write("folder/inside", "x")
    two.commit("three")
    two("branch", "feature")
    two("tag", "v1", "-m", "m")
    return two


def in_bash(work: Work, *words: str) -> list[str]:
    """What bash offers for the last of these words."""
    script = (
        'source <(treering completion bash); COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1));'
        ' _treering_completion treering; printf "%s\\n" "${COMPREPLY[@]}"'
    )
    found = environment(work.home)
    done = subprocess.run(
        ["bash", "-c", script, "bash", *words],
        cwd=work.top,
        env={**found, "PATH": f"{PROGRAM.parent}:{found['PATH']}"},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert "Traceback" not in done.stderr
    return done.stdout.split()


def test_bash(named: Work) -> None:
    assert in_bash(named, "treering", "comm") == ["commit"]
    assert "--graph" in in_bash(named, "treering", "log", "--g")
    assert in_bash(named, "treering", "log", "fea") == ["feature"]
    assert in_bash(named, "treering", "log", "v1..ma") == ["v1..main"]
    assert in_bash(named, "treering", "tag", "-d", "v") == ["v1"]
    assert in_bash(named, "treering", "cat", "main:fo") == ["main:folder/"]
    assert in_bash(named, "treering", "cat", "main:folder/") == ["main:folder/inside"]
    assert in_bash(named, "treering", "cat", "nothing:fo") == []


def test_remotes_and_what_travels(named: Work, tmp_path: Path) -> None:
    named("init", "-q", "--bare", str(tmp_path / "bare"))
    named("remote", "add", "backup", str(tmp_path / "bare"))
    named("push", "-q", "backup", "feature:theirs")
    assert in_bash(named, "treering", "push", "ba") == ["backup"]
    assert in_bash(named, "treering", "push", "backup", "main", "f") == ["feature"]
    assert in_bash(named, "treering", "push", "backup", "v") == ["v1"]
    assert in_bash(named, "treering", "fetch", "ba") == ["backup"]
    assert in_bash(named, "treering", "fetch", "backup", "") == ["theirs"]
    assert in_bash(named, "treering", "pull", "backup", "") == ["theirs"]


def test_revisions_where_they_are_taken(named: Work) -> None:
    assert in_bash(named, "treering", "switch", "fea") == ["feature"]
    assert in_bash(named, "treering", "restore", "--source", "fea") == ["feature"]
    assert in_bash(named, "treering", "blame", "main:folder/") == ["main:folder/inside"]
    assert in_bash(named, "treering", "find", "*.jpg", "v1..ma") == ["v1..main"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_has_a_script_and_is_answered(named: Work, shell: str) -> None:
    assert "_TREERING_COMPLETE" in named("completion", shell).out
    done = subprocess.run(
        [PROGRAM],
        cwd=named.top,
        env={
            **environment(named.home),
            "_TREERING_COMPLETE": f"{shell}_complete",
            "COMP_WORDS": "treering log fea",
            "COMP_CWORD": "fea" if shell == "fish" else "2",
        },
        capture_output=True,
        text=True,
        check=True,
    )
    assert "feature" in done.stdout and done.stderr == ""


def test_another_shell(work: Work) -> None:
    assert "'tcsh' is not one of" in work("completion", "tcsh", code=2).err
