"""Where an embedded database lives, and its name."""

from __future__ import annotations

from pathlib import Path

import pytest

from joulebook.embedded.errors import EmbeddedError
from joulebook.embedded.layout import Layout


def test_two_homes_have_clusters_of_different_names(tmp_path: Path) -> None:
    assert Layout.below(tmp_path / "a").cluster_name != Layout.below(tmp_path / "b").cluster_name


def test_a_home_reached_through_a_symbolic_link_is_the_same_cluster(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert Layout.below(tmp_path / "link") == Layout.below(tmp_path / "real")


def test_a_home_that_cannot_be_created_is_reported_with_the_variable_to_change(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(EmbeddedError, match=r"cannot create .*file/home/db: Not a directory.*JOULEBOOK_HOME"):
        Layout.below(tmp_path / "file" / "home").create_root()
