"""The wheel holds exactly the three packages of the tree, under the `treering` namespace."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

TOP = Path(__file__).parent.parent
PACKAGES = ("cli", "store", "tracker")


def tree_modules() -> set[str]:
    found = set()
    for package in PACKAGES:
        for path in (TOP / package).rglob("*"):
            if path.suffix == ".py" or path.name == "py.typed":
                found.add(f"treering/{path.relative_to(TOP)}")
    return found


def test_wheel_equals_tree(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    for name in (*PACKAGES, "pyproject.toml", "README.md", "LICENSE"):
        origin = TOP / name
        if origin.is_dir():
            shutil.copytree(origin, source / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(origin, source / name)
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "-o", str(tmp_path)]
    subprocess.run([*command, str(source)], check=True, capture_output=True)
    (wheel,) = tmp_path.glob("treering-*.whl")
    packed = {n for n in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in n}
    assert packed == tree_modules()


def test_version_is_one() -> None:
    from treering.cli.version import VERSION

    project = tomllib.loads((TOP / "pyproject.toml").read_text())["project"]
    assert project["version"] == VERSION


def test_namespace_has_no_module_of_its_own() -> None:
    import treering

    assert getattr(treering, "__file__", None) is None
