"""The commands that bring a device's first reading in, ready to be copied into a terminal."""

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
    """Return the address of ingest as seen from where the user's browser is, without a last slash."""
    config = settings.CONFIG
    if config.ingest_url is not None:
        return str(config.ingest_url)
    page = urlsplit(page_origin(request))
    host = config.ingest_host
    if host in _EVERY_ADDRESS:
        host = split_domain_port(page.netloc)[0]
    elif ":" in host:
        host = f"[{host}]"
    # A page that came over TLS may speak to nothing that does not.
    return f"{page.scheme}://{host}:{config.ingest_port}"


def ingest_origin(request: HttpRequest) -> str:
    """Return the scheme, host and port of `ingest_base`: what a page's policy allows it to speak to."""
    parts = urlsplit(ingest_base(request))
    return f"{parts.scheme}://{parts.netloc}"


def ingest_url(request: HttpRequest) -> str:
    """Return where devices send readings, as seen from where the user's browser is."""
    return f"{ingest_base(request)}/api/readings"


def new_device_command(owner: str) -> str:
    """Return the command that creates a device and keeps its token in the shell."""
    return (
        f"TOKEN=$(joulebook device add {_EXAMPLE_DEVICE} --owner {shlex.quote(owner)} --name 'Home battery')"
    )


def new_token_command(device_id: str) -> str:
    """Return the command that makes another token for a device and keeps it in the shell."""
    return f"TOKEN=$(joulebook device token {shlex.quote(device_id)})"


def first_reading_command(url: str) -> str:
    """Return the curl command that sends two readings with the token in the shell."""
    return (
        'curl -H "Authorization: Bearer $TOKEN" -H "Content-Type: application/json" \\\n'
        f'     -d \'{{"power": 1240, "voltage": 230.1}}\' {url}'
    )
