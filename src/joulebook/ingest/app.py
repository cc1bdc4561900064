"""The ingest service: one ASGI application, its start and its orderly end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.docs import get_swagger_ui_html
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Receive, Scope, Send

from joulebook import __version__
from joulebook.config import Config, ConfigError
from joulebook.embedded import telemetry_url
from joulebook.ingest.access.token_use import TokenUse
from joulebook.ingest.access.tokens import RateLimits, TokenDirectory
from joulebook.ingest.commit.group_commit import GroupCommitter
from joulebook.ingest.commit.storing import ReadingStore
from joulebook.ingest.connection import DatabaseProbe
from joulebook.ingest.live.endpoint import LiveEndpoint
from joulebook.ingest.live.feed import LiveFeed
from joulebook.ingest.metrics import IngestMetrics, Siblings
from joulebook.ingest.requests.bodies import BodyMemory
from joulebook.ingest.requests.intake import Intake, Limits
from joulebook.ingest.wire import Wire
from joulebook.ingest.wires.json import JsonWire
from joulebook.ingest.wires.line_protocol import LineProtocolWire
from joulebook.ingest.wires.websocket import WebSocketWire
from joulebook.logs import request_id
from joulebook.secret_key import load_secret_key
from joulebook.serving.metrics import MetricsRefused, check_metrics_reader
from joulebook.telemetry.errors import DatabaseUnavailable
from joulebook.telemetry.readings import to_microseconds

WIRES: tuple[type[Wire], ...] = (JsonWire, LineProtocolWire, WebSocketWire)
"""Every wire; their routes, documentation and metrics follow from this list."""


class DirectRoutes:
    """The ASGI application that calls endpoints by their exact address, and the router for all others."""

    def __init__(self, app: ASGIApp) -> None:
        """Pass all other requests to `app`; it also has the direct routes, for their other methods."""
        self._app = app
        self._endpoints: dict[str, ASGIApp] = {}

    def add(self, routes: Iterable[BaseRoute]) -> None:
        """Call an endpoint directly for a POST to a path without parameters."""
        for route in routes:
            if isinstance(route, Route) and "{" not in route.path and "POST" in (route.methods or ()):
                self._endpoints[route.path] = route.app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass one request on."""
        if scope["type"] == "http" and scope["method"] == "POST":
            await self._endpoints.get(scope["path"], self._app)(scope, receive, send)
        else:
            await self._app(scope, receive, send)


_BODIES = 4
"""The memory for bodies has room for this number of the largest ones."""

DESCRIPTION = """
Devices send readings here. Each answer reports every reading, after its commit.

A client's rule: on 2xx discard the readings; on 400 and 422 log and discard them; on 413 split the request;
on 401 and 403 keep the readings and raise an alarm; on 429 and 5xx send the same again after `Retry-After`
seconds. Sending again is always safe.
"""


class _Services:
    """Everything that serves requests, from the application's start to its end."""

    def __init__(
        self,
        config: Config,
        *,
        wires: Sequence[Wire],
        limits: Limits,
        metrics: IngestMetrics,
        secret_key: str,
    ) -> None:
        """Start in the running event loop."""
        self._wires = wires
        url = telemetry_url(config, "writer")
        self._use = TokenUse(config.database_url)
        self._writing_use = asyncio.create_task(self._use.run())
        self._tokens = TokenDirectory(config.database_url, used=self._use.note)
        self._committer = GroupCommitter(
            url,
            queue_readings=config.ingest_queue_readings,
            device_metrics=config.device_metrics,
            metric_texts=config.metric_texts,
            metrics=metrics,
        )
        self.probe = DatabaseProbe(url)
        self._live = LiveFeed(url)
        metrics.live_streams = lambda: self._live.streams
        store = ReadingStore(committer=self._committer, metrics=metrics)
        intake = Intake(tokens=self._tokens, store=store, limits=limits, check_database=self.probe.check)
        live = LiveEndpoint(feed=self._live, secret_key=secret_key, trusted_proxies=config.trusted_proxies)
        self.routes = [route for wire in wires for route in wire.open(intake)]
        self.routes.append(Route("/live/{device_id}", live, methods=["GET"]))

    async def drain(self, *, seconds: float) -> None:
        """End the streams of viewers and the connections of devices: they have no end of their own."""
        self._live.drain()
        for wire in self._wires:
            await wire.drain(seconds=seconds)

    async def close(self) -> None:
        """Store the readings still waiting; end threads and connections."""
        for wire in self._wires:
            await wire.close()
        await self._live.close()
        await self._committer.close()
        self.probe.close()
        self._tokens.close()
        self._writing_use.cancel()
        await self._use.close()


def create_app(
    config: Config | None = None, *, process: int = 1, siblings_folder: Path | None = None
) -> FastAPI:
    """Return the application for a configuration (default: the environment's).

    If there are several processes, each is given its number and a common folder. Raises `ConfigError` for
    unusable settings.
    """
    settings = config or Config.from_environ()
    limits = Limits(
        most_bytes=settings.ingest_max_bytes,
        most_readings=settings.ingest_max_readings,
        oldest=_start_of_day(settings.ingest_oldest),
        rates=RateLimits(settings.ingest_rate),
        bodies=BodyMemory(_BODIES * settings.ingest_max_bytes),
    )
    wires = [wire(settings) for wire in WIRES]
    secret_key = load_secret_key(settings)
    metrics = IngestMetrics(process=process)
    metrics.wires = lambda: [metric for wire in wires for metric in wire.collect()]
    siblings = Siblings(metrics, home=settings.home, folder=siblings_folder)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        await siblings.open()
        services = _Services(settings, wires=wires, limits=limits, metrics=metrics, secret_key=secret_key)
        app.state.probe, app.state.drain = services.probe, services.drain
        app.router.routes[:0] = services.routes
        app.state.direct.add(services.routes)
        yield
        await siblings.close()
        await services.close()

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
    _add_docs(app, wires, assets=settings.package / "ingest" / "assets")
    return app


def _add_probes(app: FastAPI, siblings: Siblings, *, metrics_token: str | None) -> None:
    @app.get("/livez", tags=["probes"], summary="Whether the process is alive")
    async def livez() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/readyz", tags=["probes"], summary="Whether readings can be stored now")
    async def readyz(request: Request) -> JSONResponse:
        try:
            await request.app.state.probe.check()
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


def _add_docs(app: FastAPI, wires: Sequence[Wire], *, assets: Path) -> None:
    """Serve the API's documentation with our own copies of the scripts, so that it works offline.

    Its OpenAPI document also has the operations of the wires: they are no FastAPI routes.
    """
    generated = app.openapi

    def openapi() -> dict[str, Any]:
        document = generated()
        schemes: dict[str, Any] = {"device token": {"type": "http", "scheme": "bearer"}}
        for wire in wires:
            document["paths"] |= wire.openapi_paths
            schemes |= wire.security_schemes
        document.setdefault("components", {})["securitySchemes"] = schemes
        return document

    app.openapi = openapi  # type: ignore[method-assign]
    app.mount("/docs/assets", StaticFiles(directory=assets, check_dir=False), name="docs-assets")

    @app.get("/docs", include_in_schema=False)
    async def docs() -> HTMLResponse:
        return get_swagger_ui_html(
            # Relative: a proxy may serve the page below any path.
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
