"""An apt that works on folders of its own: it leaves the machine's packages alone and needs no root."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path

from joulebook.embedded.errors import UnableToFindBinaries
from joulebook.embedded.help import remedies

_SUITE = "trixie"
_KEYRINGS = [Path(f"/usr/share/keyrings/debian-archive-keyring.{ending}") for ending in ("gpg", "pgp")]
_DEBIAN_SUITE = re.compile(
    r"(bullseye|bookworm|trixie|forky|duke|sid|oldoldstable|oldstable|stable|testing|unstable)"
)
_CONFIGURATION = """\
Dir::State "{root}/state";
Dir::State::status "{root}/status";
Dir::Cache "{root}/cache";
Dir::Log "{root}/log";
Dir::Etc::sourcelist "/dev/null";
Dir::Etc::sourceparts "{root}/sources";
Dir::Etc::preferences "/dev/null";
Dir::Etc::preferencesparts "{root}/preferences";
APT::Install-Recommends "false";
APT::Install-Suggests "false";
APT::Sandbox::User "";
APT::Get::AllowUnauthenticated "false";
Acquire::AllowInsecureRepositories "false";
Acquire::AllowDowngradeToInsecureRepositories "false";
Acquire::AllowWeakRepositories "false";
Acquire::Languages "none";
Acquire::Retries "3";
#clear APT::Update;
#clear DPkg::Pre-Invoke;
#clear DPkg::Post-Invoke;
#clear DPkg::Pre-Install-Pkgs;
"""
_SOURCE = """\
Types: deb
URIs: {uri}
Suites: {suite}
Components: main
Signed-By: {keyring}
"""


class PrivateApt:
    """apt on the machine's own Debian archive, with lists, cache and settings below `root`."""

    def __init__(self, root: Path) -> None:
        self._root = root
        for name in ("state/lists/partial", "cache/archives/partial", "log", "sources", "preferences"):
            (root / name).mkdir(parents=True)
        (root / "status").touch()
        (root / "apt.conf").write_text(_CONFIGURATION.format(root=root))

    def update(self) -> None:
        """Fetch the archive's signed list of packages. Raises `UnableToFindBinaries`."""
        keyring = next(filter(Path.exists, _KEYRINGS), None)
        if keyring is None:
            raise UnableToFindBinaries(
                f"Debian's packages cannot be verified: there is no {_KEYRINGS[0]} "
                f"(package debian-archive-keyring).\n{remedies()}"
            )
        failures = []
        for uri in _archive_addresses():
            source = _SOURCE.format(uri=uri, suite=_SUITE, keyring=keyring)
            (self._root / "sources" / "archive.sources").write_text(source)
            done = self._apt("update", "--error-on=any")
            if done.returncode == 0:
                return
            failures.append(done.stderr.strip()[-800:])
        reason = "\n".join(failures) or "no Debian archive among the machine's package sources"
        raise UnableToFindBinaries(f"Debian's packages cannot be fetched: {reason}\n" + remedies())

    def resolve(self, packages: Iterable[str]) -> dict[str, str]:
        """Return name and version of `packages` and of everything that they need."""
        done = self._apt("install", "--simulate", *packages)
        found = dict(re.findall(r"^Inst (\S+) \((\S+)", done.stdout, re.MULTILINE))
        if done.returncode != 0 or not set(packages) <= found.keys():
            reason = done.stderr.strip()[-800:] or done.stdout.strip()[-800:]
            raise UnableToFindBinaries(
                f"Debian's {_SUITE} cannot provide {', '.join(packages)}: {reason}\n" + remedies()
            )
        return found

    def download(self, versions: Mapping[str, str]) -> list[Path]:
        """Download packages, checked against the signed list, and return their files."""
        folder = self._root / "packages"
        folder.mkdir(exist_ok=True)
        wanted = [f"{name}={version}" for name, version in versions.items()]
        done = self._apt("download", *wanted, cwd=folder)
        files = sorted(folder.glob("*.deb"))
        if done.returncode != 0 or len(files) != len(wanted):
            raise UnableToFindBinaries(f"the download failed: {done.stderr.strip()[-800:]}\n" + remedies())
        return files

    def _apt(self, *words: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        command = ["apt-get", "-c", str(self._root / "apt.conf"), "-q", *words]
        environment = {**os.environ, "LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"}
        return subprocess.run(command, check=False, capture_output=True, text=True, cwd=cwd, env=environment)


def _archive_addresses() -> list[str]:
    """Return the addresses of the Debian archives that the machine itself uses, without its security ones."""
    done = subprocess.run(
        [
            "apt-get",
            "indextargets",
            "--no-release-info",
            "--format",
            "$(REPO_URI) $(RELEASE)",
            "Created-By: Packages",
        ],
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, "LC_ALL": "C"},
    )
    pairs = [line.split() for line in done.stdout.splitlines()]
    fitting = [pair[0] for pair in pairs if len(pair) == 2 and _DEBIAN_SUITE.fullmatch(pair[1])]
    return list(dict.fromkeys(fitting))
