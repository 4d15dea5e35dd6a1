"""Sizes, rates and durations, as people write and read them."""

from __future__ import annotations

from typing import Final

from ..store.errors import InvalidInput

UNITS: Final = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")


def format_size(size: float) -> str:
    """1536 -> "1.5 KiB"; bytes are whole."""
    for unit in UNITS:
        if abs(size) < 1024 or unit == UNITS[-1]:
            break
        size /= 1024
    return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"


def parse_size(text: str) -> int:
    """ "64KiB", "64K", "1.5 GiB" or "4096" -> bytes. InvalidInput for anything else."""
    cleaned = text.strip().replace(" ", "").lower().removesuffix("ib").removesuffix("b")
    power = 0
    if cleaned and cleaned[-1] in "kmgtpe":
        power = "kmgtpe".index(cleaned[-1]) + 1
        cleaned = cleaned[:-1]
    try:
        value = float(cleaned) * 1024**power
    except ValueError:
        value = -1.0
    if not 0 <= value < 1 << 63:
        raise InvalidInput(f"'{text}' is not a size", hint="write it as 64KiB, 4MiB or 65536")
    return int(value)


def format_seconds(seconds: float) -> str:
    """0.42 -> "0.42 s", 75 -> "1 min 15 s"."""
    if seconds < 10:
        return f"{seconds:.2f} s"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(int(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min"


def count(number: int, noun: str) -> str:
    """ "1 file", "2,000 files"."""
    plural = noun[:-1] + "ies" if noun.endswith("y") else noun + "s"
    return f"{number:,} {noun if number == 1 else plural}"
