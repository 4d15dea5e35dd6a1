"""The systemd unit and the mount helper that `driver install` writes."""

from __future__ import annotations

import shutil
import socket
import subprocess
from pathlib import Path

from attached_trees import away, driver, take_off, told
from live_trees import PROGRAM, NobodyWork, Work, environment

UNIT = "etc/systemd/system/treering-attach@.service"
HELPER = "sbin/mount.fuse.treering"


def run(work: Work, *command: str | Path) -> str:
    done = subprocess.run(
        command,
        cwd=work.home,
        env=environment(work.home),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_unit_is_one_that_systemd_takes(work: Work) -> None:
    root = work.home / "root"
    run(work, PROGRAM, "driver", "install", "--root", root)
    unit = root / UNIT
    assert f"ExecStart={PROGRAM} attach --foreground --quiet %f\n" in unit.read_text()
    if shutil.which("systemd-analyze"):
        tried = work.home / "treering-attach@srv-data.service"
        shutil.copy(unit, tried)
        run(work, "systemd-analyze", "verify", "--man=no", tried)
    said = run(work, PROGRAM, "driver", "uninstall", "--root", root)
    assert said == f"deleted {unit}\ndeleted {root / HELPER}\n"
    assert not unit.exists()
    assert "nothing to delete" in run(work, PROGRAM, "driver", "uninstall", "--root", root)


def test_what_somebody_else_wrote_stays(work: Work) -> None:
    root = work.home / "root"
    helper = root / HELPER
    helper.parent.mkdir(parents=True)
    helper.write_text("#!/bin/sh\necho mine\n")
    assert "is not ours" in work("driver", "install", "--root", str(root), code=2).err
    assert not (root / UNIT).exists()
    work("driver", "uninstall", "--root", str(root))
    assert helper.exists()


def test_an_ordinary_user_gets_a_unit_of_their_own(nobody: NobodyWork) -> None:
    nobody("driver", "install", "--root", str(nobody.home / "root"))
    own = str(nobody.home).lstrip("/") + "/.config/systemd/user/treering-attach@.service"
    assert "default.target" in (nobody.home / "root" / own).read_text()


def test_mount_attaches_what_fstab_says(work: Work) -> None:
    """By mount(8) itself, which looks for its helpers in /sbin: in a mount namespace with a layer
    over that."""
    root = work.home / "root"
    run(work, PROGRAM, "driver", "install", "--root", root)
    (work.home / "layer").mkdir()
    script = """
        mount -t tmpfs none "$1"  # a layer of an overlay may not lie on one
        mkdir "$1/upper" "$1/work"
        cp -p "$2" "$1/upper"
        mount -t overlay -o "lowerdir=/usr/sbin,upperdir=$1/upper,workdir=$1/work" none /usr/sbin
        mount -t fuse.treering "$3" "$3"
        echo new > "$3/new"
        "$4" -C "$3" status
        "$4" detach "$3"
    """
    said = run(
        work, "unshare", "-m", "sh", "-ec", script, "-", work.home / "layer", root / HELPER,
        work.top, PROGRAM,
    )  # fmt: skip
    assert "new:        new" in said


def test_readiness_is_told_to_who_asks_for_it(work: Work, tmp_path: Path) -> None:
    work.write("a", "a")
    work.commit()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(60)
        process = subprocess.Popen(
            [PROGRAM, "-C", work.top, "attach", "--foreground", "--quiet"],
            env={**environment(work.home), "NOTIFY_SOCKET": str(tmp_path / "notify")},
            cwd=work.home,
        )
        try:
            assert manager.recv(100) == b"READY=1"
            assert driver(work)["base"] == work.root()
            assert told(work) == ({}, 0)
            away(work, "detach")
            assert process.wait(20) == 0
        finally:
            take_off(work.top)
            process.kill()
            process.wait()
