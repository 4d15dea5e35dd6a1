"""Run one decoder's harness under atheris: `run_decoder.py NAME SECONDS [libFuzzer options]`.

Starts from the seeds, the corpus and what earlier runs found, which lies in the folder FOUND of the
environment (else below the system's folder for temporary files). Ends with the smallest inputs that
reach all that was reached as the corpus in tests/data/fuzz. An input that raises what it must not,
takes over a minute or makes the process grow to 512 MiB is kept in the folder `findings`, and
the exit code is not 0.
"""

from __future__ import annotations

import hashlib
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import atheris

sys.path.insert(0, str(Path(__file__).parents[1]))
with atheris.instrument_imports(include=["treering"]):
    from fuzz.decoders import DECODERS, tried
from fuzz import corpus, seeds

LIMITS = ["-rss_limit_mb=512", "-timeout=60", f"-max_len={corpus.MAX_INPUT}", "-verbosity=1"]


def work_folder(name: str) -> Path:
    top = Path(os.environ.get("FOUND") or Path(tempfile.gettempdir(), "treering-fuzz"))
    (top / name / "findings").mkdir(parents=True, exist_ok=True)
    (top / name / "inputs").mkdir(exist_ok=True)
    return top / name


def put(folder: Path, inputs: list[bytes]) -> None:
    for one in inputs:
        (folder / hashlib.sha1(one).hexdigest()).write_bytes(one)


def run(name: str, options: list[str]) -> None:
    """libFuzzer in this process: does not return."""
    harness = DECODERS[name]
    # A merge runs itself again, through a shell.
    again = shlex.join([sys.executable, __file__, "--here", name])
    atheris.Setup([again, *options], lambda data: tried(harness, data))
    atheris.Fuzz()


def fuzz(name: str, seconds: int, options: list[str]) -> int:
    """Fuzz, then minimise, each in a process of its own."""
    folder = work_folder(name)
    inputs, least = folder / "inputs", folder / "least"
    put(inputs, seeds.seeds_of(name) + corpus.load(name))
    again = [sys.executable, __file__, "--here", name, *LIMITS]
    kept = f"-artifact_prefix={folder}/findings/"
    done = subprocess.run(
        [*again, kept, f"-max_total_time={seconds}", *options, inputs], check=False
    )
    shutil.rmtree(least, ignore_errors=True)
    least.mkdir()
    subprocess.run([*again, "-merge=1", least, inputs], check=True, capture_output=True)
    corpus.save(name, [path.read_bytes() for path in least.iterdir()])
    print(f"{name}: exit {done.returncode}; corpus of {len(corpus.load(name))}", flush=True)
    return done.returncode


if __name__ == "__main__":
    if sys.argv[1] == "--here":
        run(sys.argv[2], sys.argv[3:])
    sys.exit(fuzz(sys.argv[1], int(sys.argv[2]), sys.argv[3:]))
