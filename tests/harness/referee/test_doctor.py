"""doctor tries instead of looking: what it says is what happens when it writes, maps, resolves or asks."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from harness.formats.environment import read_nvidia_smi
from harness.referee import doctor, trials

ROOT = Path(__file__).resolve().parents[3]
ROW = "NVIDIA H100, GPU-1234, 550.1, 81559, 700.00, 1980, Enabled, 00000000:18:00.0"


@pytest.mark.parametrize(
    "more", ["", "Warning: persistence mode is off", "a, b, c", ",,,,,,,", '"unclosed', "\x00\x1b[2J"]
)
def test_rows_are_rows_whatever_nvidia_smi_says_besides(more: str) -> None:
    for lines in ([ROW, more], [more, ROW], [ROW, more, ROW]):
        said = read_nvidia_smi(lines, 0)
        assert {gpu.name for gpu in said.gpus} == {"NVIDIA H100"}
        assert len(said.gpus) == lines.count(ROW)
        assert bool(said.words) == bool(more.strip())
    assert read_nvidia_smi([ROW, more], 18).gpus == ()


def examined(path: Path, **environment: str) -> dict[str, Any]:
    everything = os.environ | {"PATH": f"{path}:{os.environ['PATH']}"} | environment
    argv = [sys.executable, "-m", "harness", "doctor", "--json"]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, env=everything)
    assert done.returncode in (0, 5), done.stderr
    checks: dict[str, Any] = {check["name"]: check for check in json.loads(done.stdout)["checks"]}
    return checks | {"code": done.returncode}


def test_doctor_shows_nvidia_smis_own_words(tmp_path: Path) -> None:
    smi = tmp_path / "nvidia-smi"
    smi.write_text("#!/bin/sh\necho 'Failed to initialize NVML: Driver/library version mismatch'\nexit 18\n")
    smi.chmod(0o755)
    gpus = examined(tmp_path)["gpus"]
    assert "Driver/library version mismatch" in gpus["found"]
    assert "18" in gpus["found"]


def test_a_runs_folder_that_cannot_be_written_means_that_nothing_runs(tmp_path: Path) -> None:
    found = examined(tmp_path, SPEEDRUN_RUNS="/proc/runs")
    assert found["runs disk"]["verdict"] == "missing"
    assert found["code"] == 5


def test_a_lock_that_cannot_be_had_means_that_nothing_runs(tmp_path: Path) -> None:
    found = examined(tmp_path, SPEEDRUN_LOCKS=str(tmp_path / "nowhere"))
    assert (found["machine lock"]["verdict"], found["code"]) == ("missing", 5)


def test_a_folder_mounted_noexec_is_found() -> None:
    program = (
        "from pathlib import Path\nfrom harness.referee import trials\n"
        "print(trials.write_problem(Path('/mnt')), trials.execute_problem(Path('/mnt')), sep='|')"
    )
    mount = f'mount -t tmpfs -o noexec none /mnt && exec {sys.executable} -c "{program}"'
    done = subprocess.run(["unshare", "-rm", "bash", "-c", mount], cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        pytest.skip("no mount namespaces for this user")
    write, execute = done.stdout.strip().split("|")
    assert write == "None"
    assert execute in ("Operation not permitted", "Permission denied")


def test_a_noexec_or_long_tmpdir_is_told_where_it_matters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor.tempfile, "gettempdir", lambda: str(tmp_path))
    monkeypatch.setattr(trials, "execute_problem", lambda _: "Operation not permitted")
    monkeypatch.setattr(doctor.levels, "available_levels", lambda: ("landlock", "process"))
    found = doctor._temporary()
    assert found.verdict == "note"
    assert "noexec" in found.advice
    monkeypatch.setattr(doctor.levels, "available_levels", lambda: doctor.levels.LEVELS)
    assert doctor._temporary().verdict == "ok"  # namespaces bring folders of their own
    monkeypatch.setattr(doctor.tempfile, "gettempdir", lambda: "/proc")
    assert doctor._temporary().verdict == "missing"


def test_a_host_name_that_does_not_resolve_is_a_note(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trials, "_RESOLVE", "import socket; raise socket.gaierror(-2, 'Name or service not known')")
    assert trials.resolve_problem() == "Name or service not known"
    found = doctor._network()
    assert (found.verdict, "does not resolve: Name or service not known" in found.found) == ("note", True)
    monkeypatch.setattr(trials, "_RESOLVE", "pass")
    assert trials.resolve_problem() is None


def test_no_socket_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    assert trials.socket_problem() is None
    monkeypatch.setattr(trials.socket, "create_server", refuse)
    assert doctor._network().verdict == "missing"


def test_verify_hashes_unless_it_is_told_to_believe(tmp_path: Path, data_root: Path) -> None:
    """Rot that keeps size and date: found, where a command is called verify."""
    import shutil

    shutil.copytree(data_root / "embedded-tiny", tmp_path / "embedded-tiny")
    argv = [sys.executable, "-m", "harness", "data", "verify", "embedded-tiny"]

    def verify(*more: str) -> subprocess.CompletedProcess[str]:
        environment = os.environ | {"SPEEDRUN_DATA": str(tmp_path)}
        return subprocess.run([*argv, *more], cwd=ROOT, capture_output=True, text=True, env=environment)

    assert "shards verified, hashed," in verify().stdout
    shard = next((tmp_path / "embedded-tiny").glob("*train*.bin"))
    before, content = shard.stat(), bytearray(shard.read_bytes())
    content[-4] ^= 1
    shard.write_bytes(content)
    os.utime(shard, ns=(before.st_atime_ns, before.st_mtime_ns))
    remembered, found = verify("--remembered"), verify()
    assert "as they were when they were last hashed" in remembered.stdout
    assert (found.returncode, shard.name in found.stderr) == (2, True)
