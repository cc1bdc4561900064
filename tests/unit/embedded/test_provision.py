"""What is said on machines for which no TimescaleDB can be fetched, and where packages come from."""

from __future__ import annotations

import os
import platform
from pathlib import Path

import pytest

from joulebook.embedded import UnableToFindBinaries
from joulebook.embedded import provision as apt_module
from joulebook.embedded.provision import PrivateApt, provision

WAYS_OUT = (
    "apt-get install postgresql-17 postgresql-17-timescaledb",
    "JOULEBOOK_POSTGRES_BIN",
    "JOULEBOOK_TELEMETRY_URL=postgresql://joulebook_reader:",
    "JOULEBOOK_TELEMETRY_WRITER_URL=postgresql://joulebook_writer:",
    "JOULEBOOK_TELEMETRY_OWNER_URL=postgresql://joulebook_owner:",
    "image: timescale/timescaledb:",
)


def give_tools(monkeypatch: pytest.MonkeyPatch, folder: Path, **scripts: str) -> None:
    """Let PATH have these programs alone."""
    folder.mkdir()
    for name, script in scripts.items():
        tool = folder / name.replace("_", "-")
        tool.write_text(f"#!/bin/sh\n{script}\n")
        tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))


def assert_helpful(message: str) -> None:
    assert [way for way in WAYS_OUT if way not in message] == []


def test_another_architecture_is_told_the_ways_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "riscv64")
    with pytest.raises(UnableToFindBinaries, match="this machine is linux riscv64 with glibc") as caught:
        provision(tmp_path / "cache")
    assert_helpful(str(caught.value))
    assert not (tmp_path / "cache").exists()


def test_another_c_library_is_told_the_ways_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "libc_ver", lambda: ("", ""))
    with pytest.raises(UnableToFindBinaries, match="with another C library") as caught:
        provision(tmp_path / "cache")
    assert_helpful(str(caught.value))


def test_a_machine_without_apt_is_told_the_ways_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    give_tools(monkeypatch, tmp_path / "bin", dpkg="exit 0")
    with pytest.raises(UnableToFindBinaries, match="no apt-get here") as caught:
        provision(tmp_path / "cache")
    assert_helpful(str(caught.value))


def test_a_machine_without_network_is_told_why_and_the_ways_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = (
        'case "$*" in *indextargets*) echo "http://archive.invalid/debian/ bookworm";; '
        '*update*) echo "E: Could not resolve archive.invalid" >&2; exit 100;; esac'
    )
    give_tools(monkeypatch, tmp_path / "bin", apt_get=script, dpkg="exit 0")
    monkeypatch.setattr(apt_module, "_KEYRINGS", [tmp_path])
    with pytest.raises(UnableToFindBinaries, match=r"Could not resolve archive.invalid") as caught:
        provision(tmp_path / "cache")
    assert_helpful(str(caught.value))
    assert sorted(path.name for path in (tmp_path / "cache").iterdir()) == ["provision.lock"]


def test_a_machine_without_debians_keys_trusts_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(apt_module, "_KEYRINGS", [tmp_path / "no-keyring"])
    with pytest.raises(UnableToFindBinaries, match=r"cannot be verified.*debian-archive-keyring"):
        PrivateApt(tmp_path / "apt").update()


def test_only_debian_archives_of_the_machine_are_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = [
        "http://archive.invalid/debian/ bookworm",
        "http://archive.invalid/debian/ bookworm",
        "http://archive.invalid/debian/ bookworm-updates",
        "http://security.invalid/debian-security/ bookworm-security",
        "https://tools.invalid/apt nodistro",
        "http://mirror.invalid/ubuntu noble",
    ]
    give_tools(monkeypatch, tmp_path / "bin", apt_get=f"printf '%s\\n' {' '.join(map(repr, lines))}")
    assert apt_module._archive_addresses() == ["http://archive.invalid/debian/"]


def test_a_machine_without_a_debian_archive_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    give_tools(monkeypatch, tmp_path / "bin", apt_get="exit 0")
    monkeypatch.setattr(apt_module, "_KEYRINGS", [tmp_path])
    with pytest.raises(UnableToFindBinaries, match="no Debian archive among the machine's package sources"):
        PrivateApt(tmp_path / "apt").update()


def test_a_cache_that_cannot_be_created_names_its_variable(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UnableToFindBinaries, match=r"cannot create .*file/cache.*JOULEBOOK_CACHE"):
        provision(tmp_path / "file" / "cache")


def test_apts_settings_leave_the_machine_alone(tmp_path: Path) -> None:
    root = tmp_path / "apt"
    PrivateApt(root)
    folders = [line.split('"')[1] for line in (root / "apt.conf").read_text().splitlines() if "Dir::" in line]
    assert len(folders) == 8
    assert {folder for folder in folders if not folder.startswith(f"{root}{os.sep}")} == {os.devnull}
