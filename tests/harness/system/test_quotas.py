"""CPU quotas and clocks are read as kernels show them: versions 1 and 2, whole chains, containers, broken files."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.system.cpu_clocks import CpuClocks, read_cpu_clocks
from harness.system.quotas import read_quotas, throttled_ns, throttled_periods, tightest

ROOT = Path(__file__).resolve().parents[3]
NO_COUNTERS = {"cpu.stat": "usage_usec 5\n"}
STAT_1 = "nr_periods 9\nnr_throttled 4\nthrottled_time 7000\n"
STAT_2 = "usage_usec 1\nnr_periods 9\nnr_throttled 3\nthrottled_usec 5\n"


def write(root: Path, files: dict[str, str]) -> Path:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content)
    return root


V1 = {
    "cpu,cpuacct/cpu.cfs_quota_us": "-1\n", "cpu,cpuacct/cpu.cfs_period_us": "100000\n",
    "cpu,cpuacct/kube/cpu.cfs_quota_us": "50000\n", "cpu,cpuacct/kube/cpu.cfs_period_us": "50000\n",
    "cpu,cpuacct/kube/cpu.stat": STAT_1,
    "cpu,cpuacct/kube/pod/cpu.cfs_quota_us": "400000\n", "cpu,cpuacct/kube/pod/cpu.cfs_period_us": "100000\n",
    "cpu,cpuacct/kube/pod/cpu.stat": STAT_1,
}  # fmt: skip
V2 = {
    "cgroup.controllers": "cpu memory\n", **NO_COUNTERS,
    "a/cpu.max": "150000 100000\n", "a/cpu.stat": STAT_2,
    "a/b/cpu.max": "max 100000\n", "a/b/cpu.stat": STAT_2,
}  # fmt: skip
OWN_ROOT = {**NO_COUNTERS, "cgroup.controllers": "cpu", "cpu.max": "50000 100000"}
HYBRID = {"unified/cgroup.procs": "", "cpu/cpu.cfs_quota_us": "25000", "cpu/cpu.cfs_period_us": "100000"}


@pytest.mark.parametrize(
    ("files", "membership", "cores", "file", "periods", "time_ns"),
    [
        (V1, "3:memory:/x\n2:cpu,cpuacct:/kube/pod\n0::/\n", 1.0, "cpu,cpuacct/kube/cpu.cfs_quota_us", 8, 14000),
        (V1, "2:cpu,cpuacct:/\n", None, None, None, None),
        (V1, "3:cpuset:/kube\n", None, None, None, None),  # cpuset is another controller
        (V2, "0::/a/b\n", 1.5, "a/cpu.max", 6, 10_000),
        (V2, "0::/\n", None, None, None, None),
        # a container whose mount is its own group, under the host's name of it or beside it
        (OWN_ROOT, "0::/host/name\n", 0.5, "cpu.max", None, None),
        (OWN_ROOT, "0::/../..\n", 0.5, "cpu.max", None, None),
        (HYBRID, "1:cpu:/\n0::/\n", 0.25, "cpu/cpu.cfs_quota_us", None, None),
        ({}, "", None, None, None, None),
        ({"cgroup.controllers": "cpu", "cpu.max": "100000 0"}, "0::/\n", None, None, None, None),
        ({"cgroup.controllers": "cpu", "cpu.max": "\xff\x00 7\n"}, "0::/\n", None, None, None, None),
        ({"cgroup.controllers": "cpu", "cpu.max": "9" * 5000 + " 1"}, "0::/\n", None, None, None, None),
    ],
)  # fmt: skip
def test_the_tightest_quota_of_the_whole_chain_is_found(
    tmp_path: Path, files: dict[str, str], membership: str, cores: float | None, file: str | None,
    periods: int | None, time_ns: int | None,
) -> None:  # fmt: skip
    root = write(tmp_path / "cgroup", {"none": "", **files})
    quotas = read_quotas(root, write(tmp_path, {"membership": membership}) / "membership")
    found = tightest(quotas)
    assert (found and found.cores) == cores
    assert (found and str(found.file.relative_to(root))) == file
    assert (throttled_periods(quotas), throttled_ns(quotas)) == (periods, time_ns)


@given(st.text(max_size=60), st.text(max_size=30), st.text(max_size=60))
def test_whatever_the_files_say_it_is_read(tmp_path: Path, membership: str, quota: str, stat: str) -> None:
    files = {"cgroup.controllers": "cpu", "cpu.max": quota, "cpu.stat": stat, "membership": membership}
    for name, content in files.items():
        (tmp_path / name).write_text(content, errors="surrogateescape" if content.isascii() else "replace")
    for found in read_quotas(tmp_path, tmp_path / "membership"):
        assert found.cores is None or found.cores > 0
        assert found.file.is_relative_to(tmp_path)


def test_a_machine_without_control_groups_has_no_quota(tmp_path: Path) -> None:
    assert read_quotas(tmp_path / "no", tmp_path / "neither") == ()
    assert tightest(()) is throttled_ns(()) is throttled_periods(()) is None


def test_a_real_quota_is_found_before_a_race(tmp_path: Path) -> None:
    """In a real control group where one can be made here, else in a folder that looks like one: half of two cores."""
    here = read_quotas()
    group = (here[0].file.parent if here else tmp_path) / f"speedrun-test-{os.getpid()}"
    try:
        group.mkdir()
        version_1 = (group / "cpu.cfs_quota_us").exists()
        (group / ("cpu.cfs_quota_us" if version_1 else "cpu.max")).write_text(
            "100000" if version_1 else "100000 100000"
        )
        entrance = os.open(group / "cgroup.procs", os.O_WRONLY)
    except OSError:
        root = write(tmp_path, {"cgroup.controllers": "cpu", "cpu.max": "100000 100000"})
        found = tightest(read_quotas(root, write(tmp_path, {"membership": "0::/\n"}) / "membership"))
        assert found is not None
        assert found.cores == 1.0
        return
    try:
        done = subprocess.run(
            [sys.executable, "-m", "harness", "doctor", "--race", "--dry-run", "--json", "--track", "nano-2cpu"],
            cwd=ROOT, env=os.environ | {"SPEEDRUN_RUNS": str(tmp_path)}, capture_output=True, text=True,
            preexec_fn=lambda: os.write(entrance, b"0"),
        )  # fmt: skip
        assert done.returncode == 1, done.stderr
        told = json.loads(done.stdout)
        assert (told["verdict"], told["cpu"]["quota_cores"]) == ("slow", 1.0)
        assert told["cpu"]["quota_file"].startswith(str(group))
        assert "found a CPU quota of 1.00 cores (50% of them)" in told["reasons"][0]
    finally:
        os.close(entrance)
        group.rmdir()


def test_clocks_are_those_of_the_cores_a_run_uses(tmp_path: Path) -> None:
    write(tmp_path, {
        "cpu0/cpufreq/scaling_governor": "performance\n", "cpu0/cpufreq/scaling_max_freq": "3000000\n",
        "cpu0/cpufreq/cpuinfo_max_freq": "3500000\n",
        "cpu1/cpufreq/scaling_governor": "powersave\n", "cpu1/cpufreq/scaling_max_freq": "1200000\n",
        "cpu1/cpufreq/cpuinfo_max_freq": "3500000\n",
        "cpu2/cpufreq/scaling_max_freq": "<unknown>\n", "cpu2/cpufreq/cpuinfo_max_freq": "9" * 40,
    })  # fmt: skip
    assert read_cpu_clocks([0], tmp_path) == CpuClocks("performance", 3000.0, 3500.0)
    assert read_cpu_clocks([0, 1], tmp_path) == CpuClocks("performance, powersave", 1200.0, 3500.0)
    assert read_cpu_clocks([2, 3], tmp_path) == CpuClocks(None, None, None)
