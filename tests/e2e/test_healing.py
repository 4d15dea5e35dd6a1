"""What was damaged or interrupted is put right by what people do anyway: push, commit, restore."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from live_trees import NobodyWork, Work, begin_restore, settle


def backup(work: Work, tmp_path: Path) -> Work:
    """A bare repository that has everything of `work`."""
    path = tmp_path / "backup"
    work("init", "-q", "--bare", str(path))
    work("remote", "add", "origin", str(path))
    work("push")
    return Work(work.home, path)


def damage(repository: Path) -> None:
    """Overwrite a few bytes of the largest pack."""
    pack = max((repository / "packs").iterdir(), key=lambda path: path.stat().st_size)
    with pack.open("r+b") as file:
        file.seek(pack.stat().st_size // 2)
        file.write(b"damaged")


def test_a_push_with_nothing_new_repairs_the_remote(work: Work, tmp_path: Path) -> None:
    work.write("file", "".join(f"{number}\n" for number in range(100_000)))
    work.commit()
    remote = backup(work, tmp_path)
    damage(remote.top)
    assert not remote("fsck", "--read-data", "--json", code=12).json["whole"]
    assert "had lost" in work("push").out
    assert remote("fsck", "--read-data", "--json").json["whole"]
    assert "up to date" in work("push").out and "lost" not in work("push").out


def test_a_repair_is_not_undone_by_the_next_check(work: Work) -> None:
    work.write("file", "".join(f"{number}\n" for number in range(100_000)))
    work.commit()
    damage(work.top / ".treering")
    work("fsck", "--read-data", code=12)
    work("commit", "--allow-empty", "-m", "heal")
    for _ in range(2):
        assert work("fsck", "--read-data", "--json").json["whole"]


def test_a_loose_object_cut_short_is_named(work: Work) -> None:
    work.write("file", "x")
    work.commit()
    objects = (work.top / ".treering" / "history" / "objects").glob("??/*")
    largest = max(objects, key=lambda path: path.stat().st_size)
    largest.chmod(0o600)
    content = largest.read_bytes()
    largest.write_bytes(content[: len(content) * 2 // 3])
    found = work("fsck", "--json", code=12).json
    assert "cut short" in found["problems"][0]["what"]


def test_restoring_a_file_does_not_forget_an_interrupted_restore(work: Work) -> None:
    work.write("a", "1")
    work.write("b", "1")
    first = work.commit()["commit"]
    work.write("a", "22")
    work.commit()
    repository = work.top / ".treering"
    begin_restore(repository, first)
    assert "interrupted" in work("restore", "b", code=11).err
    work("commit", "-m", "x", code=11)
    assert work("status", "--json").json["interrupted_restore"] == first
    work("restore", "--source", first)
    assert (work.top / "a").read_text() == "1"
    work.commit("after it was finished")


def test_commit_of_a_path_in_a_folder_that_is_gone(work: Work) -> None:
    for name in ("d/x", "d/y", "d/e/z", "other"):
        work.write(name, name)
    work.commit()
    shutil.rmtree(work.top / "d")
    work("commit", "-q", "-m", "one name", "d/x")
    assert {"d", "d/y", "d/e", "d/e/z", "other"} == set(work.ls())


def test_a_reader_of_a_repository_may_check_it(nobody: NobodyWork) -> None:
    nobody.write("file", "x")
    settle(nobody.top)
    nobody.commit()
    repository = nobody.top / ".treering"
    folders = [repository, *(path for path in repository.rglob("*") if path.is_dir())]
    for path in folders:
        path.chmod(0o500)
    try:
        assert nobody("fsck", "--json").json["whole"]
    finally:
        for path in folders:
            path.chmod(0o700)


def test_a_clone_of_somebody_elses_files_is_clean(nobody: NobodyWork, work: Work) -> None:
    work.write("folder/file", "x")
    settle(work.top)
    work.commit()
    source = nobody.home.parent / "source"
    try:
        work("init", "-q", "--bare", str(source))
        work("push", code=1)  # there is no remote yet
        work("remote", "add", "origin", str(source))
        work("push")
        for path in (source, *source.rglob("*")):
            path.chmod(0o777 if path.is_dir() else 0o666)
        clone = nobody.home / "clone"
        nobody("clone", "-q", str(source), str(clone))
        status = nobody("-C", str(clone), "status", "--json").json
        assert status["changes"] == []
        assert "nothing to commit" in nobody("-C", str(clone), "commit", "-m", "x").out
    finally:
        shutil.rmtree(source, ignore_errors=True)


@pytest.mark.parametrize("arguments", [["brnch"], ["status", "--nope"], ["commit", "--wait", "x"]])
def test_usage_errors_are_one_line_and_json(work: Work, arguments: list[str]) -> None:
    text = work(*arguments, code=2).err
    assert text.startswith("treering: ")
    for spelled in (["--json", *arguments], [*arguments, "--json"]):
        document = work(*spelled, code=2).error
        assert document["message"] and document["hint"]


def test_no_command_shows_the_help(work: Work) -> None:
    assert work(code=2).err.startswith("Usage: treering")


def test_a_message_of_any_bytes(work: Work) -> None:
    work.write("file", "x")
    work("commit", "-m", b"caf\xe9")
    assert work("log", "--oneline").out.strip().endswith("caf\N{REPLACEMENT CHARACTER}")
