"""treering completion: the script that makes a shell complete our command lines."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from ...store.errors import TreeringError
from ..completion import VARIABLE
from ..context import Context, common_options, pass_context
from ..output import say


@click.command("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@common_options
@pass_context
def command(context: Context, shell: str) -> None:
    """Print the script that makes a shell complete commands, options, branches, tags, remotes and
    the paths in REV:PATH. Have it run when the shell starts.

    \b
    Example:
      treering completion bash >~/.treering-completion
      echo '. ~/.treering-completion' >>~/.bashrc
    """
    made = get_completion_class(shell)
    root = click.get_current_context().find_root().command
    if made is None:
        raise TreeringError(f"click knows no completion for {shell}")
    maker = made(root, {}, "treering", VARIABLE)
    say((maker.source_template % maker.source_vars()).rstrip("\n"))
    if shell == "bash":  # else bash would cut REV:PATH in two
        say("COMP_WORDBREAKS=${COMP_WORDBREAKS//:}")
