"""Items some at a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TypeVar

Item = TypeVar("Item")


def batched(items: Iterable[Item], count: int) -> Iterator[list[Item]]:
    """Lists of `count` items, the last one perhaps shorter (`itertools.batched` of Python 3.12)."""
    iterator = iter(items)
    while batch := list(islice(iterator, count)):
        yield batch
