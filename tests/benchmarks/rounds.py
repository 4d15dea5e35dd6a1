"""Rounds of a comparison: every tool does a step before any does the next, each after all data was
read and everything synced. So what the machine does in the meantime meets all of them alike.

A round takes a data set from state A (`first`, `none`: stored once more unchanged, `push`) to
state B (`some`: what changed is stored, `push some`, `restore`), and back. The first round compares
what was restored with the data. Trees of many files stay until the end of all rounds: an ext4
without a journal does not use the inode of a deleted file again for five minutes, and looks at each
of them whenever a file is made.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from data import Change, warm
from measure import Figures
from peers import Tool

MANY_FILES = 10_000
STEPS = ("first", "none", "push", "some", "push some", "restore")


@dataclass(frozen=True)
class Sample:
    """One step of one tool. Seconds and bytes; `size` is what the tool stores after it, `sent` the
    bytes and objects that it says to have sent."""

    data: str
    step: str
    tool: str
    round: int
    wall: float
    cpu: float
    memory: int
    size: int
    sent: tuple[int, int] | None


class Comparison:
    def __init__(self, name: str, data: Path, change: Change, tools: list[Tool]) -> None:
        self.name, self.data, self.change, self.tools = name, data, change, tools

    def run(self, rounds: int) -> Iterator[Sample]:
        aside: list[Path] = []
        try:
            for number in range(rounds):
                for tool in self.tools:
                    tool.start()
                try:
                    yield from self._round(number)
                finally:
                    for tool in self.tools:
                        self._put_aside(tool.folder, number, aside)
        finally:
            for folder in aside:
                shutil.rmtree(folder, ignore_errors=True)

    def _put_aside(self, folder: Path, number: int, aside: list[Path]) -> None:
        """A round's folders go at its end, or at the end of all where there are many files."""
        moved = folder.with_name(f"{folder.name}.{number}")
        shutil.rmtree(moved, ignore_errors=True)
        if folder.exists():
            folder.rename(moved)
        if sum(1 for _ in islice(self.data.rglob("*"), MANY_FILES)) < MANY_FILES:
            shutil.rmtree(moved, ignore_errors=True)
        else:
            aside.append(moved)

    def _round(self, number: int) -> Iterator[Sample]:
        yield from self._step(number, "first", lambda tool: tool.first())
        yield from self._step(number, "none", lambda tool: tool.again())
        yield from self._step(number, "push", lambda tool: tool.push())
        self.change.apply()
        try:
            yield from self._step(number, "some", lambda tool: tool.again())
            yield from self._step(number, "push some", lambda tool: tool.push())
            yield from self._step(number, "restore", lambda tool: self._restore(number, tool))
        finally:
            self.change.undo()

    def _step(
        self, number: int, step: str, work: Callable[[Tool], Figures | None]
    ) -> Iterator[Sample]:
        for tool in self.tools:
            warm(tool.repository if step == "restore" else self.data)
            figures = work(tool)
            if figures is None:
                continue
            size, sent = tool.size(), tool.sent() if step.startswith("push") else None
            yield Sample(
                self.name,
                step,
                tool.name,
                number,
                round(figures.wall, 3),
                round(figures.cpu, 3),
                figures.memory,
                size,
                sent,
            )

    def _restore(self, number: int, tool: Tool) -> Figures:
        target = tool.folder / "restored"
        figures = tool.restore(target)
        if number == 0:
            self._check(tool, target)
        return figures

    def _check(self, tool: Tool, target: Path) -> None:
        command = ["rsync", "-aHXnc", "--delete", "--exclude=.treering", "--out-format=%i %n"]
        # The target folder itself is ours: not every tool gives it the mode of the data's.
        command += ["--omit-dir-times", "--no-perms", f"{self.data}/", f"{target}/"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode or done.stdout.strip():
            print(f"{tool.name} restored something else:\n{done.stdout[:500]}", file=sys.stderr)
