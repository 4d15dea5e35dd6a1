"""The format gate: the small text file that says what a repository is.

    treering repository
    version 1
    ids plain
    cipher none
    block-size 65536
    features

A newer version, another id function or cipher, or a required feature that this version does not
know is refused by name, before anything else is opened.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final, NamedTuple

from .durable import replace_file
from .errors import Corrupt, NoRepository, UnsupportedFormat
from .nodes import valid_block_size

FIRST_LINE: Final = "treering repository"
VERSION: Final = 1
FILE_NAME: Final = "format"
DEFAULT_BLOCK_SIZE: Final = 64 << 10


class Format(NamedTuple):
    block_size: int = DEFAULT_BLOCK_SIZE
    version: int = VERSION
    ids: str = "plain"
    cipher: str = "none"


def write_format(repository: Path, found: Format) -> None:
    lines = [
        FIRST_LINE,
        f"version {found.version}",
        f"ids {found.ids}",
        f"cipher {found.cipher}",
        f"block-size {found.block_size}",
        "features",
    ]
    replace_file(repository / FILE_NAME, "\n".join([*lines, ""]).encode(), mode=0o644)


def read_format(repository: Path) -> Format:
    """The format of the repository in this folder. NoRepository when it is none, UnsupportedFormat
    for what this version cannot read, Corrupt for a file that makes no sense."""
    path = repository / FILE_NAME
    try:
        text = path.read_bytes()[:4096].decode("utf-8", "replace")
    except (FileNotFoundError, NotADirectoryError) as error:
        raise NoRepository(f"{repository} is not a treering repository") from error
    first, *lines = text.splitlines() or [""]
    if first != FIRST_LINE:
        raise Corrupt(f"{path} is damaged: it does not start with '{FIRST_LINE}'")
    fields = dict(line.partition(" ")[::2] for line in lines if line.strip())
    if len(fields) < len(lines):
        raise Corrupt(f"{path} is damaged: a setting is there twice, or none in a line")
    _gate(path, fields)
    return Format(block_size=int(fields["block-size"]))


def _gate(path: Path, fields: dict[str, str]) -> None:
    newer = "use a newer treering"
    if fields.get("version") != str(VERSION):
        raise UnsupportedFormat(
            f"{path.parent} has format version {fields.get('version', '(none)')};"
            f" this treering reads {VERSION}",
            hint=newer,
        )
    for name, known in (("ids", "plain"), ("cipher", "none")):
        if fields.get(name) != known:
            raise UnsupportedFormat(f"{path.parent} needs {name} '{fields.get(name)}'", hint=newer)
    for feature in fields.get("features", "").split():
        raise UnsupportedFormat(f"{path.parent} needs the feature '{feature}'", hint=newer)
    block_size = fields.get("block-size", "")
    if not (block_size.isascii() and block_size.isdigit()) or not valid_block_size(int(block_size)):
        raise Corrupt(f"{path} is damaged: block-size '{block_size}'")
