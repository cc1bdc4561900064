"""Hatchling's build hook: a wheel or source archive contains the page assets, or is not built."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class PageAssetsHook(BuildHookInterface[Any]):
    """Runs `scripts/assets.py` before files are collected."""

    def dependencies(self) -> list[str]:
        """Return pip where only pip could fetch npm: some build environments come without an installer."""
        return [] if shutil.which("npm") or shutil.which("uv") else ["pip"]

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002 - the interface
        """Make the assets, or end the build. An editable installation serves them from the clone."""
        if version == "editable":
            return
        script = Path(self.root) / "scripts" / "assets.py"
        if subprocess.run([sys.executable, str(script)], check=False).returncode:
            sys.exit("nothing was built: the scripts that Joulebook's pages load are missing (see above)")
