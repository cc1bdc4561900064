"""Fixtures for the parts of the embedded database that need no server."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from joulebook.config import Config
from joulebook.embedded.layout import Layout


@pytest.fixture
def configure(tmp_path: Path) -> Callable[..., Config]:
    """Return a function that makes a configuration from JOULEBOOK_* variables given without their prefix."""

    def make(**variables: str) -> Config:
        named = {f"JOULEBOOK_{name.upper()}": value for name, value in variables.items()}
        own = {"JOULEBOOK_HOME": str(tmp_path / "home"), "JOULEBOOK_CACHE": str(tmp_path / "cache")}
        return Config.from_environ(own | named)

    return make


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    layout = Layout.below(tmp_path / "home")
    layout.create_root()
    return layout
