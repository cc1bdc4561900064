"""Which address a role gets: the environment's or the embedded database's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import pytest
from psycopg.conninfo import conninfo_to_dict

from joulebook.config import Config
from joulebook.embedded import MissingUrl, NotCreated, telemetry_url
from joulebook.embedded.layout import Layout
from joulebook.embedded.passwords import ensure_passwords, read_password

Configure = Callable[..., Config]


def test_the_environments_address_wins(configure: Configure) -> None:
    config = configure(telemetry_url="postgresql://r@h/j", telemetry_writer_url="postgresql://w@h/j")
    assert telemetry_url(config, "reader") == "postgresql://r@h/j"
    assert telemetry_url(config, "writer") == "postgresql://w@h/j"


@pytest.mark.parametrize(
    ("asked", "missing"),
    [("writer", "JOULEBOOK_TELEMETRY_WRITER_URL"), ("owner", "JOULEBOOK_TELEMETRY_OWNER_URL")],
)
def test_a_role_that_the_environment_left_out_is_named(
    configure: Configure, asked: str, missing: str
) -> None:
    config = configure(telemetry_url="postgresql://r:secret@h/j")
    with pytest.raises(MissingUrl, match=f"^{missing} is not set, but JOULEBOOK_TELEMETRY_URL is") as caught:
        telemetry_url(config, asked)  # type: ignore[arg-type]
    assert "secret" not in str(caught.value)


def test_without_any_address_a_new_home_says_what_to_do(configure: Configure) -> None:
    config = configure()
    with pytest.raises(NotCreated, match=r"joulebook db start.*JOULEBOOK_TELEMETRY_URL"):
        telemetry_url(config, "reader")
    assert not config.home.exists()


def test_the_embedded_address_carries_socket_role_and_password(configure: Configure, tmp_path: Path) -> None:
    config = configure(home=str(tmp_path / "ho me&?"))
    layout = Layout.below(config.home)
    layout.create_root()
    ensure_passwords(layout.passwords)
    assert conninfo_to_dict(telemetry_url(config, "writer")) == {
        "user": "joulebook_writer",
        "password": read_password(layout.passwords, "joulebook_writer"),
        "dbname": "joulebook",
        "host": str(layout.root / "run"),
        "port": "5432",
    }
    assert quote(str(layout.root / "run"), safe="") in telemetry_url(config, "writer")


def test_a_loopback_port_is_part_of_the_address(configure: Configure) -> None:
    config = configure(db_port="6543")
    layout = Layout.below(config.home)
    layout.create_root()
    ensure_passwords(layout.passwords)
    assert conninfo_to_dict(telemetry_url(config, "reader"))["port"] == "6543"
