"""What every command needs: where it runs, how loud it is, the repository, who commits.

The only place that reads the environment, the home folder and the user's Git config. A `Context`
is made for one command and closed after it.
"""

from __future__ import annotations

import os
import socket
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from ..store.errors import InvalidInput
from .output import tell
from .progress import NoProgress, TerminalProgress, progress_for

if TYPE_CHECKING:
    from ..store.history import Commit, Person
    from ..store.repository import Repository
    from .pager import Pager

Function = TypeVar("Function", bound=Callable[..., Any])


@dataclass
class Context:
    """The options that stand before or after any command, and what is opened on demand."""

    start: Path = field(default_factory=Path.cwd)
    quiet: bool = False
    verbose: bool = False
    json: bool = False
    debug: bool = False
    exit_code: int = 0
    lock_wait: float = 60.0
    top: Path | None = None
    pager_wanted: bool = True
    _pager: Pager | None = None
    _repository: Repository | None = None

    def page(self) -> None:
        """From here on show what is printed through the pager, where stdout is a terminal."""
        if self.json or self._pager or not (self.pager_wanted and sys.stdout.isatty()):
            return
        from .pager import Pager, chosen

        words = chosen(os.environ, self.repository.config.get("core.pager"))
        self._pager = Pager.start(words) if words else None

    @property
    def paged(self) -> bool:
        """Whether a pager reads, or has read, what is printed."""
        return self._pager is not None

    def notice(self, text: str) -> None:
        """A line for the user that is not part of the result."""
        if not self.quiet:
            tell(f"treering: {text}")

    def progress(self) -> TerminalProgress | NoProgress:
        return progress_for(self.quiet or self.json)

    def open_at(self, path: Path) -> Repository:
        """The repository in this very folder."""
        from ..store.repository import Repository

        return Repository(path, notice=self.notice, lock_wait=self.lock_wait)

    @property
    def repository(self) -> Repository:
        """The repository of the folder we are in; sets `top` when it has a work tree."""
        if self._repository is None:
            from ..tracker.work_tree import discover

            found = discover(self.start)
            self.top = found.top
            self._repository = self.open_at(found.repository)
        return self._repository

    @property
    def opened(self) -> Repository | None:
        """The repository, if it is open already."""
        return self._repository

    def use(self, repository: Path, top: Path | None) -> None:
        """Work on this repository from now on, wherever we are."""
        self.close()
        self._repository = self.open_at(repository)
        self.top = top

    def work_tree(self) -> Path:
        """The top of the work tree; InvalidInput in a bare repository."""
        repository = self.repository
        if self.top is None:
            raise InvalidInput(f"{repository.path} is bare: it has no work tree")
        return self.top

    def close(self) -> None:
        if self._repository is not None:
            self._repository.close()

    def finish(self) -> None:
        """At the end of the command: close what was opened, and let the user leave the pager."""
        self.close()
        if self._pager is not None:
            self._pager.close()

    def tree_paths(self, paths: tuple[str, ...]) -> list[bytes]:
        """Paths as given on the command line, relative to the top of the work tree."""
        top = self.work_tree()
        found = []
        for text in paths:
            path = Path(os.path.normpath(self.start / text))
            try:
                relative = path.relative_to(top)
            except ValueError as error:
                raise InvalidInput(f"{text} is outside of the work tree {top}") from error
            raw = os.fsencode(relative)
            if raw.split(b"/")[0].lower() == b".treering":
                raise InvalidInput("what is below .treering is not versioned")
            found.append(b"" if raw == b"." else raw)
        return found

    def history_paths(self, paths: tuple[str, ...]) -> list[bytes]:
        """Like tree_paths, for looking at commits: in a bare repository, relative to their top."""
        if self.repository and self.top is None:
            return [os.fsencode(os.path.normpath("/" + path)).strip(b"/") for path in paths]
        return self.tree_paths(paths)

    def commit(self, revision: str) -> Commit:
        """The commit a revision names."""
        return self.repository.history.resolve(revision)

    def split_revision(self, text: str) -> tuple[Commit, bytes]:
        """REV:PATH, REV or PATH-less HEAD: the commit and the path from the top. A path that starts
        with ./ is relative to where we are, as in Git."""
        from .ranges import split_path

        revision, path = split_path(text)
        if path is None:
            return self.commit(text), b""
        raw = os.fsencode(path)
        if path.startswith("./") or path == ".":
            relative = self.start.relative_to(self.work_tree())
            raw = os.fsencode(os.path.normpath(relative / path))
            raw = b"" if raw == b"." else raw
        return self.commit(revision or "HEAD"), raw.strip(b"/")

    def person(self, *, hint: bool = True) -> Person:
        """Who we are: treering's config, else the user's Git config, else login@host, said once."""
        from ..store.history import Person

        config = self.repository.config
        name = os.environ.get("TREERING_AUTHOR_NAME") or config.get("user.name")
        email = os.environ.get("TREERING_AUTHOR_EMAIL") or config.get("user.email")
        if not (name and email):
            user = _user_config()
            name, email = name or user.get("user.name"), email or user.get("user.email")
        if not (name and email):
            login = _login()
            name, email = name or login, email or f"{login}@{socket.gethostname()}"
            if hint and not self.repository.catalog.fact("identity-hint"):
                self.notice(f"no identity is set: committing as {name} <{email}>")
                self.notice("hint: set one with: treering config user.name NAME (and user.email)")
                with self.repository.catalog.transaction() as conn:
                    conn.execute("insert or replace into facts values ('identity-hint', x'31')")
        now = int(time.time())
        return Person(name, email, now, _offset(now))


def _login() -> str:
    import pwd

    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())


def _offset(now: int) -> int:
    return int(time.localtime(now).tm_gmtoff // 60)


def _user_config() -> dict[str, str]:
    """The user's Git config, without asking Git: global files only."""
    from ..store.config import Config

    found: dict[str, str] = {}
    home = Path(os.environ.get("HOME") or "/")
    xdg = Path(os.environ.get("XDG_CONFIG_HOME") or home / ".config")
    for path in (xdg / "git" / "config", home / ".gitconfig"):
        if path.is_file():
            config = Config(path)
            for key in ("user.name", "user.email"):
                value = config.get(key)
                if value:
                    found[key] = value
    return found


pass_context = click.make_pass_decorator(Context, ensure=True)


def common_options(function: Function) -> Function:
    """-q, -v, --json and --debug, which every command takes."""
    options = (
        click.option(
            "--json",
            is_flag=True,
            expose_value=False,
            callback=_set("json"),
            help="Print one JSON document.",
        ),
        click.option(
            "-q",
            "--quiet",
            is_flag=True,
            expose_value=False,
            callback=_set("quiet"),
            help="Print results and errors only.",
        ),
        click.option(
            "-v",
            "--verbose",
            is_flag=True,
            expose_value=False,
            callback=_set("verbose"),
            help="Say more.",
        ),
        click.option(
            "--debug", is_flag=True, expose_value=False, callback=_set("debug"), hidden=True
        ),
    )
    for option in reversed(options):
        function = option(function)
    return function


def _set(name: str) -> Callable[[click.Context, click.Parameter, bool], None]:
    def callback(ctx: click.Context, _parameter: click.Parameter, value: bool) -> None:
        if value:
            setattr(ctx.ensure_object(Context), name, True)

    return callback
