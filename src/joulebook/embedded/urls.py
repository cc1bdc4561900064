"""Each role's address of the readings: on the environment's server, or else on the embedded one."""

from __future__ import annotations

from joulebook.config import Config
from joulebook.embedded.database import EmbeddedDatabase, Role
from joulebook.embedded.errors import MissingUrl

_VARIABLES: dict[Role, str] = {
    "reader": "JOULEBOOK_TELEMETRY_URL",
    "writer": "JOULEBOOK_TELEMETRY_WRITER_URL",
    "owner": "JOULEBOOK_TELEMETRY_OWNER_URL",
}


def named_urls(config: Config) -> dict[Role, str | None]:
    """Return the environment's addresses, by role."""
    return {
        "reader": config.telemetry_url,
        "writer": config.telemetry_writer_url,
        "owner": config.telemetry_owner_url,
    }


def uses_own_server(config: Config) -> bool:
    """Return whether the environment names the user's own server; Joulebook never starts nor stops it."""
    return any(named_urls(config).values())


def telemetry_url(config: Config, role: Role) -> str:
    """Return the address of the readings for `role`, password included; nothing is started.

    Raises `MissingUrl` if the environment names a server but not for this role, and `NotCreated` if it
    names none and there is no embedded database yet.
    """
    url = named_urls(config)[role]
    if url is not None:
        return url
    if uses_own_server(config):
        named = ", ".join(_VARIABLES[other] for other, value in named_urls(config).items() if value)
        raise MissingUrl(
            f"{_VARIABLES[role]} is not set, but {named} is: a server of your own needs one for each role, "
            f"{_VARIABLES[role]}=postgresql://joulebook_{role}:…@host:5432/joulebook"
        )
    return EmbeddedDatabase(config).url(role)
