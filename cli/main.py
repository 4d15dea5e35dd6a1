"""Entry point: the `treering` group with its lazy commands, and the one place where an error
becomes a line on stderr and an exit code."""

from __future__ import annotations

import errno
import gc
import os
import sys
from contextlib import suppress
from importlib import import_module
from typing import Any, Final, NoReturn

import click

from ..store.errors import InvalidInput, StorageError, TreeringError
from . import exits
from .context import Context, common_options
from .output import complain, drop_unwritten, flush, open_missing_streams, reader_is_gone
from .version import VERSION
from .worker_client import run_there

COMMANDS: Final = {
    "attach": "Mount the driver over a work tree.",
    "blame": "Show which commit last wrote each region of a file.",
    "branch": "List, make, rename and delete branches.",
    "cat": "Print a file of a commit.",
    "clone": "Make a new repository from a remote one.",
    "commit": "Record the work tree as a snapshot.",
    "completion": "Print the completion script of a shell.",
    "config": "Read or change settings.",
    "detach": "Take the driver off a work tree.",
    "diff": "Show what differs between commits, or from one to the work tree.",
    "driver": "Show the driver of an attached work tree.",
    "dump": "Write a commit as a tar archive.",
    "fetch": "Bring commits from a remote.",
    "find": "Find paths in all of history.",
    "fsck": "Check the repository.",
    "init": "Make a repository.",
    "log": "Show history.",
    "ls": "List what a commit holds.",
    "maps": "Show which blocks of an attached work tree changed.",
    "merge": "Bring another branch's changes into this one.",
    "pull": "Bring commits from a remote, and the work tree up to them.",
    "push": "Send commits to a remote.",
    "remote": "Keep the list of remotes.",
    "restore": "Bring files back from a commit.",
    "show": "Show a commit and what it changed.",
    "stats": "Show how much commits hold, and how much is stored for them.",
    "status": "Show what differs from the last commit.",
    "switch": "Move the work tree to another branch.",
    "tag": "List, make and delete tags.",
}
"""Name -> one line of help. The module is `commands.NAME`, imported when the command is run."""


class LazyGroup(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = import_module(f".commands.{cmd_name}", __package__)
        command: click.Command = module.command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """From the table: listing the commands must not import them all."""
        with formatter.section("Commands"):
            formatter.write_dl(sorted(COMMANDS.items()))


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(VERSION, prog_name="treering", message="%(prog)s %(version)s")
@click.option("-C", "directory", metavar="DIR", multiple=True, help="Run as if started in DIR.")
@click.option("--no-pager", is_flag=True, help="Print long output as it comes.")
@common_options
@click.pass_context
def cli(ctx: click.Context, directory: tuple[str, ...], no_pager: bool) -> None:
    """Git for big, live data: versions directory trees of any size and replicates what changed."""
    context = ctx.ensure_object(Context)
    context.pager_wanted = not no_pager
    for path in directory:
        context.start = (context.start / path).resolve()
        if not context.start.is_dir():
            raise click.UsageError(f"-C {path}: not a folder")


def main(arguments: list[str] | None = None) -> NoReturn:
    open_missing_streams()
    if "_TREERING_COMPLETE" in os.environ:
        from .completion import complete  # only here: every command would wait for the import

        with suppress(Exception):
            complete(cli)
        sys.exit(0)
    given = sys.argv[1:] if arguments is None else arguments
    code = run_there(given)
    if code is None:
        code = run(given)
    drop_unwritten()
    sys.exit(code)


def run(arguments: list[str]) -> int:
    """Run one command; its exit code. Nothing below this raises SystemExit."""
    _tune()
    context = Context()
    try:
        try:
            cli.main(args=arguments, prog_name="treering", standalone_mode=False, obj=context)
            flush()
        finally:
            context.finish()
    except click.exceptions.NoArgsIsHelpError as error:
        complain(error.format_message())
        return exits.USAGE
    except click.ClickException as error:
        context.json = context.json or "--json" in arguments  # it may stand behind the mistake
        return _failed(context, _usage_error(error))
    except (SystemExit, BrokenPipeError):
        # No command leaves by SystemExit: click makes it of any broken pipe.
        return _pipe_broke(context)
    except click.exceptions.Exit as error:
        return error.exit_code
    except (KeyboardInterrupt, click.Abort):
        return _interrupted()
    except TreeringError as error:
        return _failed(context, error)
    except OSError as error:
        name = f"{error.filename}: " if error.filename else ""
        refused = StorageError(f"{name}{error.strerror or error}")
        refused.__cause__ = error
        return _failed(context, refused)
    except RecursionError as error:
        return _failed(context, TreeringError(f"nested too deeply: {error}"))
    return context.exit_code


def _pipe_broke(context: Context) -> int:
    """The reader of our output has gone (`treering log | head`): nothing more to say, to nobody.
    Any other pipe is one that the command needed."""
    if context.paged or reader_is_gone():
        return context.exit_code
    return _failed(context, StorageError(os.strerror(errno.EPIPE)))


def _usage_error(error: click.ClickException) -> InvalidInput:
    """click's complaint about the command line, in our form."""
    ctx = getattr(error, "ctx", None)
    where = ctx.command_path if ctx else "treering"
    message = error.format_message().rstrip(".")
    return InvalidInput(f"usage: {message}", hint=f"see: {where} --help")


def _failed(context: Context, error: TreeringError) -> int:
    if context.debug:
        import traceback

        traceback.print_exc()
    _show_error(context, error)
    return exits.exit_code(error)


def _show_error(context: Context, error: TreeringError) -> None:
    hint = error.hint or _driver_hint(error)
    if context.json:
        import json

        document: dict[str, Any] = {"error": type(error).__name__, "message": error.message}
        document["hint"] = hint
        text = json.dumps(document, ensure_ascii=False)
    else:
        text = f"treering: {error.message}"
        if hint:
            text += f"\nhint: {hint}"
    complain(text)


def _driver_hint(error: TreeringError) -> str | None:
    """A driver that died, and its holder with it, leaves a mount that answers nobody."""
    cause = error.__cause__
    dead = isinstance(cause, OSError) and cause.errno in (errno.ENOTCONN, errno.ECONNABORTED)
    return "its driver has died: treering detach DIR takes the mount off" if dead else None


def _interrupted() -> int:
    complain("treering: interrupted")
    return exits.INTERRUPTED


def _tune() -> None:
    """Fewer garbage collections - our objects have no cycles, and there are many of them - and as
    many open files as we may have."""
    gc.freeze()
    gc.set_threshold(100_000, 50, 50)
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = hard if hard != resource.RLIM_INFINITY else 65536
    if soft < min(wanted, 65536):
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(wanted, 65536), hard))
