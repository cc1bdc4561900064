"""The ingest service: one ASGI application, its start and its orderly end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

from fastapi import FastAPI
from fastapi.openapi.docs import get_swagger_ui_html
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Receive, Scope, Send

from joulebook import __version__
from joulebook.config import Config, ConfigError
from joulebook.embedded import telemetry_url
from joulebook.ingest.access.rates import RateLimits
from joulebook.ingest.access.token_use import TokenUse
from joulebook.ingest.access.tokens import TokenDirectory
from joulebook.ingest.commit.group_commit import GroupCommitter
from joulebook.ingest.commit.series_directory import SeriesDirectory
from joulebook.ingest.commit.storing import ReadingStore
from joulebook.ingest.live.endpoint import LiveEndpoint
from joulebook.ingest.live.feed import LiveFeed
from joulebook.ingest.metrics import IngestMetrics, Siblings
from joulebook.ingest.openapi import document_readings
from joulebook.ingest.wires.bodies import BodyMemory
from joulebook.ingest.wires.json.endpoint import Limits, ReadingsEndpoint
from joulebook.ingest.wires.line_protocol.endpoints import WriteEndpoint, line_protocol_routes
from joulebook.ingest.wires.line_protocol.naming import LineNaming
from joulebook.ingest.wires.websocket.endpoint import WebSocketEndpoint
from joulebook.logs import request_id
from joulebook.secret_key import load_secret_key
from joulebook.serving.metrics import MetricsRefused, check_metrics_reader
from joulebook.telemetry.errors import DatabaseUnavailable
from joulebook.telemetry.readings import to_microseconds


class DirectRoutes:
    """The ASGI application that calls an endpoint for its exact address, and another one for all else."""

    def __init__(self, app: ASGIApp) -> None:
        """Pass on to `app` what has no endpoint; it knows them too, and so their other methods."""
        self._app = app
        self._endpoints: dict[str, ASGIApp] = {}

    def add(self, path: str, endpoint: ASGIApp) -> None:
        """Let `endpoint` answer a POST to exactly this path."""
        self._endpoints[path] = endpoint

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on one request."""
        if scope["type"] == "http" and scope["method"] == "POST":
            await self._endpoints.get(scope["path"], self._app)(scope, receive, send)
        else:
            await self._app(scope, receive, send)


_BODIES = 4
"""The bodies that are held at a time take as much memory as so many of the largest."""

_TOKENS_SHARE = 8
"""Of all connections, one in so many may be a WebSocket of the same token."""

DESCRIPTION = """
Devices send readings here, and learn what became of each of them after it was committed.

A client's rule: on 2xx discard what you sent; on 400 and 422 log and discard it; on 413 split it; on
401 and 403 keep it and raise an alarm; on 429 and 5xx send the same again after `Retry-After` seconds.
Sending again is always harmless.
"""


def create_app(
    config: Config | None = None, *, process: int = 1, siblings_folder: Path | None = None
) -> FastAPI:
    """Return the application for a configuration (default: the environment's).

    One of several processes on a port is given its number, and the folder in which they meet. Raises
    `ConfigError` for settings that cannot be used.
    """
    settings = config or Config.from_environ()
    limits = Limits(
        most_bytes=settings.ingest_max_bytes,
        most_readings=settings.ingest_max_readings,
        oldest=_start_of_day(settings.ingest_oldest),
        rates=RateLimits(settings.ingest_rate),
        bodies=BodyMemory(_BODIES * settings.ingest_max_bytes),
    )
    naming = LineNaming(device_tags=settings.line_protocol_device_tags, metric=settings.line_protocol_metric)
    url = telemetry_url(settings, "writer")
    secret_key = load_secret_key(settings)
    metrics = IngestMetrics(process=process)
    siblings = Siblings(metrics, home=settings.home, folder=siblings_folder)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        await siblings.open()
        use = TokenUse(settings.database_url)
        writing_use = asyncio.create_task(use.run())
        tokens = TokenDirectory(settings.database_url, used=use.note)
        series = SeriesDirectory(url, device_metrics=settings.device_metrics)
        committer = GroupCommitter(url, metrics=metrics, queue_readings=settings.ingest_queue_readings)
        store = ReadingStore(series=series, committer=committer, metrics=metrics)
        endpoint = ReadingsEndpoint(tokens=tokens, store=store, limits=limits)
        websockets = WebSocketEndpoint(
            tokens=tokens,
            store=store,
            limits=limits,
            metrics=metrics,
            listen_url=settings.telemetry_listen_url or url,
            most_per_token=max(1, settings.ingest_connections // _TOKENS_SHARE),
        )
        app.state.series = series
        live = LiveFeed(url)
        live_endpoint = LiveEndpoint(
            feed=live, secret_key=secret_key, trusted_proxies=settings.trusted_proxies
        )
        metrics.live_streams = lambda: live.streams

        async def drain(*, seconds: float) -> None:
            """End what would go on for ever: the viewers' streams, and the devices' connections."""
            live.drain()
            await websockets.drain(seconds=seconds)

        app.state.drain = drain
        writing = line_protocol_routes(
            tokens=tokens, store=store, limits=limits, naming=naming, ping_database=series.ping
        )
        writing.append(Route("/api/readings", endpoint, methods=["POST"]))
        for route in writing:
            if isinstance(route.endpoint, ReadingsEndpoint | WriteEndpoint):
                app.state.direct.add(route.path, route.endpoint)
        app.router.routes[:0] = writing
        app.router.routes.insert(0, Route("/live/{device_id}", live_endpoint, methods=["GET"]))
        app.router.routes.insert(0, WebSocketRoute("/ws/device/{device_id}", websockets))
        yield
        await siblings.close()
        await websockets.close()
        await live.close()
        await committer.close()
        series.close()
        tokens.close()
        writing_use.cancel()
        await use.close()

    app = FastAPI(
        title="Joulebook ingest",
        version=__version__,
        description=DESCRIPTION,
        lifespan=lifespan,
        servers=[{"url": settings.ingest_url}] if settings.ingest_url is not None else None,
        docs_url=None,
        redoc_url=None,
    )
    app.state.metrics = metrics
    app.state.direct = DirectRoutes(app)
    _add_probes(app, siblings, metrics_token=settings.metrics_token)
    _add_docs(app, settings)
    document_readings(app)
    return app


def _add_probes(app: FastAPI, siblings: Siblings, *, metrics_token: str | None) -> None:
    @app.get("/livez", tags=["probes"], summary="Is the process alive?")
    async def livez() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/readyz", tags=["probes"], summary="Can it store readings now?")
    async def readyz(request: Request) -> JSONResponse:
        try:
            await request.app.state.series.ping()
        except DatabaseUnavailable as exc:
            answer = {"status": "unavailable", "message": str(exc), "request_id": request_id.get()}
            return JSONResponse(answer, status_code=503)
        return JSONResponse({"status": "ok"})

    @app.get(
        "/metrics",
        tags=["probes"],
        summary="Numbers of all processes on this port, for Prometheus",
        response_class=PlainTextResponse,
    )
    async def numbers(request: Request) -> Response:
        peer = request.client.host if request.client is not None else ""
        try:
            check_metrics_reader(metrics_token, peer=peer, header=request.headers.get)
        except MetricsRefused as exc:
            challenge = {"WWW-Authenticate": "Bearer"} if exc.status == 401 else None
            return PlainTextResponse(f"{exc}\n", status_code=exc.status, headers=challenge)
        text, content_type = await siblings.text(request.headers.get("accept", ""))
        return Response(text, headers={"Content-Type": content_type, "Cache-Control": "no-store"})


def _add_docs(app: FastAPI, config: Config) -> None:
    """Serve the API's documentation with scripts of our own, so that it works offline."""
    assets = config.package / "ingest" / "assets"
    app.mount("/docs/assets", StaticFiles(directory=assets, check_dir=False), name="docs-assets")

    @app.get("/docs", include_in_schema=False)
    async def docs() -> HTMLResponse:
        return get_swagger_ui_html(
            # Relative, so that a proxy may serve the page below any path.
            openapi_url="openapi.json",
            title="Joulebook ingest",
            swagger_js_url="docs/assets/swagger-ui-bundle.js",
            swagger_css_url="docs/assets/swagger-ui.css",
            swagger_favicon_url="data:,",
        )


def _start_of_day(text: str) -> int:
    """Return the UTC midnight of an ISO date in microseconds since 1970."""
    try:
        return to_microseconds(datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC))
    except ValueError as exc:
        raise ConfigError(f"JOULEBOOK_INGEST_OLDEST={text!r} is not a date such as 2000-01-01") from exc
