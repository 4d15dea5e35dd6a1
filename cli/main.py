"""Entry point: the `treering` group, lazy commands, and the one place where an error becomes a
line on stderr and an exit code."""

from __future__ import annotations

import sys

import click

from .version import VERSION


@click.group()
@click.version_option(VERSION, prog_name="treering", message="%(prog)s %(version)s")
def cli() -> None:
    """Git for big, live data."""


def main() -> None:
    sys.exit(cli.main(standalone_mode=True))
