"""What a machine lacks is said in words, with what to do about it."""

import os
from pathlib import Path

import pytest

from dev.cluster.nodes import cgroups, checks, packages
from dev.errors import DevError


def test_not_root() -> None:
    with pytest.raises(DevError, match=r"needs root(.|\n)*sudo .* -m dev.cluster up(.|\n)*--context"):
        checks.root(lambda: 1000)
    checks.root(lambda: 0)


def test_not_linux() -> None:
    with pytest.raises(DevError, match=r"darwin\n.*Docker"):
        checks.linux("darwin")


def test_no_control_groups(tmp_path: Path) -> None:
    with pytest.raises(DevError, match="no control groups are mounted"):
        checks.cgroup_controllers(tmp_path)


def test_a_controller_missing_from_the_unified_hierarchy(tmp_path: Path) -> None:
    (tmp_path / "cgroup.controllers").write_text("cpu cpuset io pids\n")
    with pytest.raises(DevError, match=r"controller memory\n.*cgroup_enable=memory"):
        checks.cgroup_controllers(tmp_path)


def test_controllers_missing_from_the_old_hierarchies(tmp_path: Path) -> None:
    for name in ("cpu", "cpuacct", "cpuset", "devices", "pids"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "cgroup.procs").touch()
    with pytest.raises(DevError, match="controller freezer, memory"):
        checks.cgroup_controllers(tmp_path)


def test_all_controllers_there(tmp_path: Path) -> None:
    (tmp_path / "cgroup.controllers").write_text("cpuset cpu io memory hugetlb pids\n")
    checks.cgroup_controllers(tmp_path)


def test_no_overlay_file_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "find", lambda _: None)
    filesystems = tmp_path / "filesystems"
    filesystems.write_text("nodev\tsysfs\n\text4\n")
    with pytest.raises(DevError, match="modprobe overlay"):
        checks.overlay(filesystems)
    filesystems.write_text("nodev\tsysfs\nnodev\toverlay\n")
    checks.overlay(filesystems)


def test_missing_network_features_are_named_all_at_once() -> None:
    def kernel(script: str) -> None:
        if "statistic" in script or "veth" in script:
            raise DevError("not supported")

    with pytest.raises(DevError, match=r"links between namespaces \(veth\), load balancing.*\n.*First of 2"):
        checks.network_features(kernel)


def test_state_in_a_place_that_is_hidden_inside_the_cluster() -> None:
    with pytest.raises(DevError, match="cannot be under /run"):
        checks.state_folder(Path("/run/slipway/one"))


def test_too_little_space(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("dev.cluster.nodes.checks.shutil.disk_usage", lambda _: type("Usage", (), {"free": 1024**3})())
    with pytest.raises(DevError, match=r"only 1\.0 GiB are free"):
        checks.state_folder(tmp_path / "not" / "there" / "yet")


@pytest.mark.parametrize(("effective", "capable"), [("000001fffeffffff", False), ("000001ffffffffff", True)])
def test_the_right_to_lower_an_oom_score(effective: str, *, capable: bool) -> None:
    assert checks.may_lower_oom_score(f"Name:\tx\nCapEff:\t{effective}\n") is capable


def test_missing_packages_are_named_once_with_the_command() -> None:
    absent = packages.missing(lambda command: None if command in ("ctr", "containerd", "runc") else "/bin/x", [])
    assert absent == ["containerd", "containernetworking-plugins", "runc"]
    command = packages.install_command(absent)
    assert command.count("apt-get install") == 1
    assert command.endswith("containerd containernetworking-plugins runc")


def test_packages_are_installed_only_when_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[str] = []
    answers = iter([["runc"], ["runc"], []])
    monkeypatch.setattr(packages, "missing", lambda: next(answers))
    monkeypatch.setattr(packages, "run", lambda argv, **_: ran.append(argv[-1]))
    with pytest.raises(DevError, match=r"1 package is missing: runc\n.*apt-get install.*--install-packages"):
        packages.require(install=False, say=lambda _: None)
    assert ran == []
    packages.require(install=True, say=lambda _: None)
    assert len(ran) == 1
    assert "install --yes" in ran[0]


def test_a_controller_that_may_not_be_handed_down(tmp_path: Path) -> None:
    """As in a container whose topmost group holds processes: the kernel answers EBUSY."""
    (tmp_path / "cgroup.controllers").write_text("cpuset cpu memory pids\n")
    (tmp_path / "cgroup.subtree_control").mkdir()
    with pytest.raises(DevError, match=r"controller cpu cannot be used(.|\n)*--cgroupns=private"):
        cgroups.ensure("one", tmp_path)


def test_a_group_is_made_in_every_hierarchy_and_may_run_something(tmp_path: Path) -> None:
    for name in ("cpu", "cpuset", "unified"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "cgroup.procs").touch()
    for setting in ("cpuset.cpus", "cpuset.mems"):
        (tmp_path / "cpuset" / setting).write_text("0-1\n")
    (tmp_path / "cpuset" / "slipway-one").mkdir()
    (tmp_path / "cpuset" / "slipway-one" / "cpuset.cpus").write_text("\n")
    (tmp_path / "cpuset" / "slipway-one" / "cpuset.mems").write_text("0\n")
    (tmp_path / "cpu" / "slipway-one").mkdir()
    (tmp_path / "cpu" / "slipway-one" / "cpu.shares").write_text("1024\n")
    cgroups.ensure("one", tmp_path)
    assert (tmp_path / "cpu" / "slipway-one" / "cpu.shares").read_text() == str(1024 * (os.cpu_count() or 1))
    assert all((tmp_path / name / "slipway-one").is_dir() for name in ("cpu", "cpuset", "unified"))
    assert (tmp_path / "cpuset" / "slipway-one" / "cpuset.cpus").read_text() == "0-1\n"
    assert (tmp_path / "cpuset" / "slipway-one" / "cpuset.mems").read_text() == "0\n"


def test_a_further_nodes_group_lies_in_the_clusters_and_goes_alone(tmp_path: Path) -> None:
    (tmp_path / "cpuset").mkdir()
    (tmp_path / "cpuset" / "cgroup.procs").touch()
    for setting in ("cpuset.cpus", "cpuset.mems"):
        (tmp_path / "cpuset" / setting).write_text("0\n")
    first = tmp_path / "cpuset" / "slipway-one"
    first.mkdir()
    for folder in (first, first / "node-2"):
        folder.mkdir(exist_ok=True)
        for setting in ("cpuset.cpus", "cpuset.mems"):
            (folder / setting).write_text("\n")
    cgroups.ensure("one", tmp_path, node=2)
    assert (first / "node-2" / "cpuset.mems").read_text() == "0\n"
    assert cgroups.group("one", 2) == "/slipway-one/node-2"
    for setting in ("cpuset.cpus", "cpuset.mems"):  # files of the kernel, which a folder of its own does not keep
        (first / "node-2" / setting).unlink()
    cgroups.remove("one", root=tmp_path, node=2)
    assert first.is_dir()
    assert not (first / "node-2").exists()
