"""treering and the tools it is measured against, each behind the same five steps.

A tool keeps what it stores below a folder of its own. `first` stores the data set whole, `again`
stores it once more (with nothing or something changed), `restore` brings the newest state to an
empty folder, `push` replicates to a second place on this machine. A step that a tool does not have
returns None. `start` wipes what the tool had. The data set's own `.treering` is excluded by all.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from abc import ABC, abstractmethod
from pathlib import Path
from typing import ClassVar

import measure
from measure import Figures


class Tool(ABC):
    """`data` is the data set, `folder` what the tool may fill."""

    name: ClassVar[str]
    package: ClassVar[str]
    note: ClassVar[str]

    def __init__(self, data: Path, folder: Path) -> None:
        self.data = data
        self.folder = folder
        self.repository = folder / "repository"
        self.second = folder / "second"

    @property
    def environment(self) -> dict[str, str]:
        return {}

    def quietly(self, *command: str) -> str:
        """A step of the set-up; what it prints."""
        environment = {**os.environ, **self.environment}
        done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
        return done.stdout

    def run(self, *command: str, cwd: Path | None = None) -> Figures:
        return measure.run(command, environment=self.environment, cwd=cwd)

    def start(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)

    @abstractmethod
    def version(self) -> str: ...

    @abstractmethod
    def first(self) -> Figures: ...

    def again(self) -> Figures:
        return self.first()

    @abstractmethod
    def restore(self, target: Path) -> Figures: ...

    def push(self) -> Figures | None:
        return None

    def sent(self) -> tuple[int, int] | None:
        """Bytes and objects that the last push sent, where the tool says so."""
        return None

    def size(self) -> int:
        """Bytes on disk of all that the tool stores of the data."""
        lines = self.quietly("du", "-s", "--block-size=1", str(self.repository))
        return int(lines.split()[0])


class Treering(Tool):
    name, package = "treering", ""
    note = "a work tree whose repository lies elsewhere (`init --repo`); found by scan"

    def version(self) -> str:
        return self.quietly(str(measure.TREERING), "--version").split()[-1]

    def start(self) -> None:
        super().start()
        self._sent: tuple[int, int] | None = None
        shutil.rmtree(self.data / ".treering", ignore_errors=True)
        self.treering("init", "-q", "--repo", str(self.repository))
        self.treering("init", "-q", "--bare", str(self.second))
        self.treering("remote", "add", "second", str(self.second))

    def treering(self, *arguments: str) -> str:
        return self.quietly(str(measure.TREERING), "-C", str(self.data), *arguments)

    def first(self) -> Figures:
        return measure.treering(self.data, "commit", "-q", "-m", "state")

    def restore(self, target: Path) -> Figures:
        to = ["--source", "HEAD", "--target", str(target)]
        return measure.treering(self.data, "restore", "-q", *to)

    def push(self) -> Figures:
        report = self.folder / "push.json"
        with report.open("wb") as file:
            figures = measure.treering(self.data, "push", "--json", "second", stdout=file)
        said = json.loads(report.read_text())
        self._sent = said["bytes"], said["objects"]
        return figures

    def sent(self) -> tuple[int, int] | None:
        return self._sent


class Restic(Tool):
    name, package = "restic", "restic"
    note = "encrypted, compression auto"

    @property
    def environment(self) -> dict[str, str]:
        return {
            "RESTIC_PASSWORD": "x",
            "RESTIC_FROM_PASSWORD": "x",
            "RESTIC_REPOSITORY": str(self.repository),
            "RESTIC_CACHE_DIR": str(self.folder / "cache"),
        }

    def version(self) -> str:
        return self.quietly("restic", "version").split()[1]

    def start(self) -> None:
        super().start()
        self.quietly("restic", "init", "-q")
        chunker = ["--from-repo", str(self.repository), "--copy-chunker-params"]
        self.quietly("restic", "init", "-q", "-r", str(self.second), *chunker)

    def first(self) -> Figures:
        excluded = ["--exclude", str(self.data / ".treering")]
        return self.run("restic", "backup", "-q", *excluded, ".", cwd=self.data)

    def restore(self, target: Path) -> Figures:
        return self.run("restic", "restore", "-q", "latest", "--target", str(target))

    def push(self) -> Figures:
        second = ["-r", str(self.second), "--from-repo", str(self.repository)]
        return self.run("restic", "copy", "-q", *second)


class Borg(Tool):
    name, package = "borg", "borgbackup"
    note = "not encrypted, `-C zstd,1`"

    @property
    def environment(self) -> dict[str, str]:
        return {
            "BORG_BASE_DIR": str(self.folder / "base"),
            "BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK": "yes",
        }

    def version(self) -> str:
        return self.quietly("borg", "--version").split()[1]

    def start(self) -> None:
        super().start()
        self._archives = 0
        self.quietly("borg", "init", "-e", "none", str(self.repository))

    def first(self) -> Figures:
        self._archives += 1
        create = ["borg", "create", "-C", "zstd,1", "--exclude", ".treering"]
        return self.run(*create, f"{self.repository}::{self._archives}", ".", cwd=self.data)

    def restore(self, target: Path) -> Figures:
        target.mkdir()
        return self.run("borg", "extract", f"{self.repository}::{self._archives}", cwd=target)


class Bup(Tool):
    name, package = "bup", "bup"
    note = "zlib 1, its default; index and save are one step"

    @property
    def environment(self) -> dict[str, str]:
        return {"BUP_DIR": str(self.repository)}

    def version(self) -> str:
        return self.quietly("bup", "version").strip()

    def start(self) -> None:
        super().start()
        self.quietly("bup", "init")

    def first(self) -> Figures:
        excluded = f"--exclude={self.data}/.treering"
        index = self.run("bup", "index", excluded, str(self.data))
        return index + self.run("bup", "save", "-q", "-n", "state", str(self.data))

    def restore(self, target: Path) -> Figures:
        target.mkdir()
        return self.run("bup", "restore", "-q", "-C", str(target), f"/state/latest{self.data}/.")


class Rsync(Tool):
    name, package = "rsync", "rsync"
    note = "a plain copy, `-aHAX --inplace --no-whole-file`"

    def version(self) -> str:
        return self.quietly("rsync", "--version").split()[2]

    def copy(self, source: Path, target: Path) -> Figures:
        flags = ["-aHAX", "--inplace", "--no-whole-file", "--delete", "--exclude=.treering"]
        return self.run("rsync", *flags, f"{source}/", f"{target}/")

    def first(self) -> Figures:
        return self.copy(self.data, self.repository)

    def restore(self, target: Path) -> Figures:
        return self.copy(self.repository, target)


TOOLS: tuple[type[Tool], ...] = (Treering, Restic, Borg, Bup, Rsync)


def installed(names: list[str]) -> list[type[Tool]]:
    """These tools, less those that are not there and cannot be installed; says which."""
    found = [tool for tool in TOOLS if tool.name in names]
    missing = [tool for tool in found if tool.package and shutil.which(tool.name) is None]
    if missing and os.geteuid() == 0 and shutil.which("apt-get"):
        packages = [tool.package for tool in missing]
        subprocess.run(["apt-get", "install", "-y", "-qq", *packages], check=False)
    for tool in missing:
        if shutil.which(tool.name) is None:
            print(f"not measured: {tool.name} is not installed (Debian: {tool.package})")
            found.remove(tool)
    return found
