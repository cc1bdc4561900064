"""Ingest below a path of a host that others share, as in `JOULEBOOK_INGEST_URL=https://home.example/ingest`.

A proxy may take the path away or pass it on. Both work: addresses are served with the path and without.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from starlette.types import ASGIApp, Receive, Scope, Send


def without_prefix(app: ASGIApp, public_url: str | None) -> ASGIApp:
    """Return `app`, reached also below the path of its public address."""
    prefix = urlsplit(public_url or "").path.rstrip("/")
    if not prefix:
        return app
    start = f"{prefix}/"

    async def shortened(scope: Scope, receive: Receive, send: Send) -> None:
        if scope.get("path", "").startswith(start):
            scope = {**scope, "path": scope["path"][len(prefix) :]}
            if scope.get("raw_path", b"").startswith(start.encode()):
                scope["raw_path"] = scope["raw_path"][len(prefix) :]
        await app(scope, receive, send)

    return shortened
