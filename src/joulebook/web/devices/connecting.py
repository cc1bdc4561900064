"""How a device connects: ingest's address for this browser, and commands to copy into a terminal."""

from __future__ import annotations

import shlex
from urllib.parse import urlsplit

from django.conf import settings
from django.http import HttpRequest
from django.http.request import split_domain_port

from joulebook.web.origins import page_origin

_EVERY_ADDRESS = frozenset({"0.0.0.0", "::", "[::]"})  # noqa: S104 - compared with, not listened on
_EXAMPLE_DEVICE = "device_001"


def ingest_base(request: HttpRequest) -> str:
    """Return ingest's address for the user's browser, without a trailing slash."""
    config = settings.CONFIG
    if config.ingest_url is not None:
        return str(config.ingest_url)
    page = urlsplit(page_origin(request))
    host = config.ingest_host
    if host in _EVERY_ADDRESS:
        host = split_domain_port(page.netloc)[0]
    elif ":" in host:
        host = f"[{host}]"
    # A browser refuses plain HTTP from a page loaded over TLS.
    return f"{page.scheme}://{host}:{config.ingest_port}"


def ingest_origin(request: HttpRequest) -> str:
    """Return the scheme, host and port of `ingest_base`, for a page's content security policy."""
    parts = urlsplit(ingest_base(request))
    return f"{parts.scheme}://{parts.netloc}"


def readings_url(request: HttpRequest) -> str:
    """Return the address for devices' readings, as the user's browser reaches it."""
    return f"{ingest_base(request)}/api/readings"


def new_device_command(owner: str) -> str:
    """Return the command creating a device, with its token in the shell's variable TOKEN."""
    return (
        f"TOKEN=$(joulebook device add {_EXAMPLE_DEVICE} --owner {shlex.quote(owner)} --name 'Home battery')"
    )


def new_token_command(device_id: str) -> str:
    """Return the command creating another token, in the shell's variable TOKEN."""
    return f"TOKEN=$(joulebook device token {shlex.quote(device_id)})"


def first_reading_command(url: str) -> str:
    """Return the curl command sending two readings with TOKEN."""
    return (
        'curl -H "Authorization: Bearer $TOKEN" -H "Content-Type: application/json" \\\n'
        f'     -d \'{{"power": 1240, "voltage": 230.1}}\' {url}'
    )
