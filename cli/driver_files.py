"""What `driver install` puts on a machine: a systemd unit for attached trees, and the helper that
mount(8) calls for an fstab line of the type fuse.treering."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple

from ..store.errors import InvalidInput, storage_error

UNIT_NAME: Final = "treering-attach@.service"
HELPER_NAME: Final = "mount.fuse.treering"
MARK: Final = "# Written by `treering driver install`.\n"
UNIT: Final = """\
{mark}[Unit]
Description=treering driver of %f
RequiresMountsFor=%f

[Service]
Type=notify
ExecStart={program} attach --foreground --quiet %f
KillMode=mixed
Restart=on-failure

[Install]
WantedBy={wanted}
"""
HELPER: Final = """\
#!/bin/sh
{mark}# mount(8) gives the source, the mount point and options, which are the file system's below.
exec {program} attach --quiet -- "$2"
"""


class DriverFile(NamedTuple):
    path: Path
    text: str
    mode: int


def driver_files(program: Path, root: Path, environment: Mapping[str, str]) -> list[DriverFile]:
    """The files for this user, below `root`: of the whole machine for root, else of the user's own
    systemd. `program` is the command to run."""
    word = _word(program)
    if os.geteuid() == 0:
        unit = UNIT.format(mark=MARK, program=word, wanted="multi-user.target")
        helper = HELPER.format(mark=MARK, program=shlex.quote(os.fspath(program)))
        return [
            DriverFile(root / "etc/systemd/system" / UNIT_NAME, unit, 0o644),
            DriverFile(root / "sbin" / HELPER_NAME, helper, 0o755),
        ]
    own = environment.get("XDG_CONFIG_HOME") or f"{environment.get('HOME', '')}/.config"
    if not own.startswith("/"):
        raise InvalidInput("there is no folder for units", hint="set HOME or XDG_CONFIG_HOME")
    unit = UNIT.format(mark=MARK, program=word, wanted="default.target")
    return [DriverFile(root / own.lstrip("/") / "systemd/user" / UNIT_NAME, unit, 0o644)]


def _word(program: Path) -> str:
    """A path as systemd reads it in a command line."""
    text = os.fspath(program).replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return f'"{text}"' if any(letter in text for letter in " \t\"'\\;") else text


def install(files: list[DriverFile]) -> None:
    """Write them. A file of somebody else's is not replaced."""
    for file in files:
        if is_foreign(file.path):
            raise InvalidInput(f"{file.path} is not ours", hint="move it away first")
    for file in files:
        try:
            file.path.parent.mkdir(parents=True, exist_ok=True)
            file.path.write_text(file.text)
            file.path.chmod(file.mode)
        except OSError as error:
            raise storage_error(f"writing {file.path}", error) from error


def uninstall(files: list[DriverFile]) -> list[Path]:
    """Delete those that are there and ours."""
    gone = []
    for file in files:
        if file.path.exists() and not is_foreign(file.path):
            try:
                file.path.unlink()
            except OSError as error:
                raise storage_error(f"deleting {file.path}", error) from error
            gone.append(file.path)
    return gone


def is_foreign(path: Path) -> bool:
    """Whether a file is there that we did not write."""
    try:
        return MARK not in path.read_text(errors="replace")
    except OSError:
        return False
