"""Which changes of `stamped` a tree has, and whether there is an instant at which it was so."""

from __future__ import annotations

import os
from pathlib import Path

from stamped import FACTOR, KEPT, LANES, LINE, PRIME, RECORD, SLOTS, STEP, record


def changes_in(top: Path) -> dict[str, int]:
    """Of each stream that began, how many changes the tree has. AssertionError where it has some
    but not those before them, or half of one."""
    found: dict[str, int] = {}
    if (top / "written").exists():
        found["writes"] = _slots((top / "written").read_bytes())
    found |= _moved(top)
    if (top / "appended").exists():
        found |= _appended((top / "appended").read_bytes())
    if (top / "mapped").exists():
        found["mapped"] = _slots((top / "mapped").read_bytes().rstrip(b"\0"))
    if (top / "names").exists():
        found |= _named(top / "names")
    if (top / "sized").exists():
        found["sizes"] = _sized(os.stat(top / "sized").st_size)
    if (top / "replaced").exists():
        content = (top / "replaced").read_bytes()
        number = int.from_bytes(content[:8], "little")
        assert content == record(number, 80_000)
        found["replaces"] = number + 1
    if (top / "links").exists():
        found |= _linked(top / "links")
    if (top / "asynchronous").exists():
        found |= _lanes((top / "asynchronous").read_bytes())
    return found


def _slots(content: bytes) -> int:
    """Each slot has the last record that was written there."""
    last = -1
    seen = {}
    content += bytes(-len(content) % RECORD)
    for slot in range(len(content) // RECORD):
        data = content[slot * RECORD : (slot + 1) * RECORD]
        number = int.from_bytes(data[:8], "little")
        if data != record(number):
            data = data.rstrip(b"\0")  # the zeros at the end of a file were cut off
            data += bytes(-len(data) % 8)
            assert data == record(number, len(data)), f"half a record in slot {slot}"
        if any(data) or slot == 0:
            assert number * STEP % SLOTS == slot, (number, slot)
            seen[slot] = number
            last = max(last, number)
    if last <= 0 and not any(content[:1]):
        return min(len(content), 1) and last + 1
    for number in range(max(0, last - SLOTS + 1), last + 1):
        assert seen.get(number * STEP % SLOTS, 0) == number, f"{number} is not there"
    return last + 1


def _moved(top: Path) -> dict[str, int]:
    found = {}
    if (top / "moving").exists():
        folders = os.listdir(top / "moving")
        assert len(folders) == 1, folders
        found["folders"] = int(folders[0][1:])
        inside = top / "moving" / folders[0] / "inside"
        if inside.exists():
            found["pwrites"] = _slots(inside.read_bytes())
    places = [path for n in (0, 1) for path in (top / f"from{n}").glob("f*")]
    if places:
        (place,) = places
        found["files"] = int(place.name[1:])
        assert place.parent.name == f"from{found['files'] % 2}"
        assert place.read_bytes() == b"moved"
    return found


def _appended(content: bytes) -> dict[str, int]:
    found = {"appends0": 0, "appends1": 0}
    assert len(content) % LINE.size == 0
    for which, number in LINE.iter_unpack(content):
        assert number == found[f"appends{which}"], (which, number, found)
        found[f"appends{which}"] += 1
    return found


def _named(folder: Path) -> dict[str, int]:
    there = sorted(int(name) for name in os.listdir(folder))
    if not there:
        return {}
    assert there == list(range(there[0], there[-1] + 1))
    assert len(there) <= KEPT + 1
    for number in there:
        assert (folder / str(number)).read_bytes() == record(number, 64)
    return {"made": there[-1] + 1, "removed": there[0]}


def _sized(size: int) -> int:
    return size * pow(FACTOR, -1, PRIME) % PRIME


def _linked(folder: Path) -> dict[str, int]:
    names = sorted(os.listdir(folder))
    found = {}
    for name in names:
        if name.startswith("l"):
            found["links"] = int(name[1:])
    content = (folder / "first").read_bytes() if "first" in names else b""
    for name in names:
        assert (folder / name).read_bytes() == content, f"{name} is another file"
        assert os.path.samefile(folder / name, folder / "first")
    if content:
        number = int.from_bytes(content[:8], "little")
        assert content == record(number)
        found["linked"] = number + 1
    return found


def _lanes(content: bytes) -> dict[str, int]:
    found = {}
    for lane in range(LANES):
        last = -1
        seen = {}
        for turn in range(64):
            data = content[(turn * LANES + lane) * 4096 :][:4096]
            if not data:
                continue
            number = int.from_bytes(data[:8], "little")
            data = data.ljust(4096, b"\0")
            assert data == record(number, 4096), f"half a record in lane {lane}"
            if number % 64 == turn:
                seen[turn] = number
                last = max(last, number)
        if last > 0:
            for number in range(max(0, last - 63), last + 1):
                assert seen.get(number % 64) == number, f"lane {lane} lacks {number}"
            found[f"lane{lane}"] = last + 1
    return found


def instant_of(found: dict[str, int], logs: Path) -> tuple[int, int]:
    """The first and the last moment at which the tree may have been so: after all changes that it
    has began, and before any that it lacks was done. AssertionError where there is none."""
    begins = {name: _time(logs, name, count - 1, 0) for name, count in found.items() if count}
    ends = {name: _time(logs, name, count, 8) for name, count in found.items()}
    first = max(begins.values(), default=0)
    last = min((moment for moment in ends.values() if moment), default=1 << 62)
    if first > last:
        late = max(begins, key=lambda name: begins[name])
        early = min(ends, key=lambda name: ends[name] or 1 << 62)
        raise AssertionError(
            f"it has change {found[late] - 1} of {late}, and lacks change {found[early]} of"
            f" {early}, which was done {(first - last) / 1e6:.3f} ms before that began"
        )
    return first, last


def _time(logs: Path, name: str, number: int, offset: int) -> int:
    """0 for what was not written yet."""
    with (logs / name).open("rb") as log:
        log.seek(16 * number + offset)
        return int.from_bytes(log.read(8), "little")
