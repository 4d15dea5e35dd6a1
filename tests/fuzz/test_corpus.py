"""Every decoder takes what fuzzing has found: only documented errors, and little memory."""

from __future__ import annotations

import tracemalloc

import pytest
from fuzz import corpus
from fuzz.decoders import DECODERS, tried
from fuzz.seeds import seeds_of

MEMORY = 64 << 20
"""Four times the largest object: a record, its payload and what is made of both."""


@pytest.mark.parametrize("name", DECODERS)
def test_what_fuzzing_found(name: str) -> None:
    found = corpus.load(name)
    assert found, "make fuzz has never been run for it"
    for number, data in enumerate(found):
        try:
            tried(DECODERS[name], data)
        except BaseException as error:
            error.add_note(f"input {number} of the corpus of {name}: {data.hex()[:2000]}")
            raise


@pytest.mark.parametrize("name", DECODERS)
def test_what_is_right_is_taken(name: str) -> None:
    """A harness that refuses everything would find nothing. Memory stays bounded beside."""
    tracemalloc.start()
    try:
        taken = 0
        for seed in seeds_of(name):
            try:
                DECODERS[name](seed)
                taken += 1
            except Exception:
                continue
        assert taken
        assert tracemalloc.get_traced_memory()[1] < MEMORY
    finally:
        tracemalloc.stop()
