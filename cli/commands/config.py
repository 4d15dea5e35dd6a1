"""treering config: read or change settings."""

from __future__ import annotations

import click

from ...store.errors import NotFound
from ..context import Context, common_options, pass_context
from ..output import say, say_json


@click.command("config")
@click.option("--unset", is_flag=True, help="Remove KEY.")
@click.argument("key", required=False)
@click.argument("value", required=False)
@common_options
@pass_context
def command(context: Context, unset: bool, key: str | None, value: str | None) -> None:
    """Print all settings of the repository, one, or set it.

    \b
    Example:
      treering config user.name "Ada Lovelace"
    """
    config = context.repository.config
    if key is None:
        items = config.items()
        if context.json:
            say_json(items)
        else:
            for name, text in sorted(items.items()):
                say(f"{name}={text}")
    elif unset:
        config.unset(key)
    elif value is not None:
        config.set(key, value)
    else:
        found = config.get(key)
        if found is None:
            raise NotFound(f"{key} is not set")
        if context.json:
            say_json({key: found})
        else:
            say(found)
