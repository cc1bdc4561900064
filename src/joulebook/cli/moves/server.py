"""The server of another database: its series are listed with counts, and downloaded part by part."""

from __future__ import annotations

import gzip
import hashlib
import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import httpx

from joulebook.cli.progress import show_progress
from joulebook.telemetry.files.formats.named_series import NamedSeries
from joulebook.telemetry.imports.totals import SeriesTotals

_SECONDS = 300.0


class UnableToMove(Exception):
    """The source cannot be moved; the message names the remedy."""


@dataclass(frozen=True)
class Listed:
    """A series of the server, with its count and range; 0 for a number that it does not say."""

    series: NamedSeries
    totals: SeriesTotals


class Server(Protocol):
    """A server to move from. All methods raise `UnableToMove`."""

    identity: str
    """Names the server, its database and what is chosen of it."""

    def list_series(self, until: int) -> list[Listed]:
        """Return the series of numbers with readings up to an instant, in seconds since 1970."""
        ...

    def parts(self, until: int) -> dict[str, int]:
        """Return the parts to be downloaded one after another, each with its number of readings."""
        ...

    def download(self, part: str, until: int) -> Iterator[bytes]:
        """Yield the content of a part, in a format that can be imported."""
        ...


class Http:
    """Requests to one server, with a login that is in no address."""

    def __init__(self, url: str, *, login: str, password: str) -> None:
        """Check the address. Raises `UnableToMove`."""
        try:
            address = httpx.URL(url)
        except httpx.InvalidURL as exc:
            raise UnableToMove(f"{url[:200]!r} is no address such as http://localhost:8086: {exc}") from exc
        if address.userinfo:
            raise UnableToMove(
                "leave user and password out of the address, which may be logged; "
                "give --login NAME, and the password in JOULEBOOK_MOVE_PASSWORD or when asked"
            )
        if address.scheme not in {"http", "https"} or not address.host:
            raise UnableToMove(f"{url[:200]!r} is no address such as http://localhost:8086")
        self.url = str(address).rstrip("/")
        self._client = httpx.Client(
            auth=(login, password) if login else None, timeout=httpx.Timeout(30.0, read=_SECONDS)
        )

    def get(self, path: str, **parameters: Any) -> Any:
        """Return the JSON of an answer."""
        try:
            answer = self._client.get(self.url + path, params=parameters)
        except httpx.HTTPError as exc:
            raise UnableToMove(f"{self.url} does not answer: {exc or type(exc).__name__}") from exc
        self._check(answer)
        try:
            return answer.json()
        except ValueError as exc:
            raise UnableToMove(f"{self.url}{path} answers no JSON; is it the right address?") from exc

    def lines(self, path: str, **parameters: Any) -> Iterator[bytes]:
        """Yield the lines of a long answer, without their ends."""
        rest = b""
        try:
            with self._client.stream("GET", self.url + path, params=parameters) as answer:
                if answer.status_code != httpx.codes.OK:
                    answer.read()
                    self._check(answer)
                for chunk in answer.iter_bytes():
                    *whole, rest = (rest + chunk).split(b"\n")
                    yield from whole
        except httpx.HTTPError as exc:
            raise UnableToMove(
                f"{self.url} stopped answering: {exc or type(exc).__name__}; "
                "give the same command again, it goes on from here"
            ) from exc
        if rest:
            yield rest

    def _check(self, answer: httpx.Response) -> None:
        if answer.status_code in {httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN}:
            raise UnableToMove(
                f"{self.url} wants another user or password: give --login NAME, and the password in "
                "JOULEBOOK_MOVE_PASSWORD or when asked"
            )
        if answer.status_code != httpx.codes.OK:
            raise UnableToMove(f"{self.url} answers {answer.status_code}: {answer.text[:300].strip()}")


class Staging:
    """The folder in which a download becomes a file; an interrupted one continues there.

    The last instant is that of the first try: all parts then are of one moment.
    """

    def __init__(self, home: Path, server: Server, *, now: int) -> None:
        self._server = server
        self._folder = home / "moves" / hashlib.sha256(server.identity.encode()).hexdigest()[:16]
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        begun = self._folder / "begun.json"
        if not begun.exists():
            begun.write_text(json.dumps({"until": now}), encoding="utf-8")
        self.until = int(json.loads(begun.read_text(encoding="utf-8"))["until"])

    def fetch(self, name: str) -> Path:
        """Download what is missing, and return the file. Raises `UnableToMove`."""
        file = self._folder / f"{name}.gz"
        if file.exists():
            return file
        parts = self._server.parts(self.until)
        total, done = max(sum(parts.values()), 1), 0
        with show_progress("Downloading") as show:
            for number, (part, count) in enumerate(parts.items()):
                self._fetch_part(self._folder / f"part-{number:05d}.gz", part)
                done += count
                show(done / total)
        whole = file.with_suffix(".partial")
        with whole.open("wb") as out:
            for number in range(len(parts)):
                with (self._folder / f"part-{number:05d}.gz").open("rb") as part_file:
                    shutil.copyfileobj(part_file, out, 1 << 20)
        whole.rename(file)
        for part_path in self._folder.glob("part-*"):
            part_path.unlink()
        return file

    def _fetch_part(self, path: Path, part: str) -> None:
        if path.exists():
            return
        partial = path.with_suffix(".partial")
        with gzip.open(partial, "wb", compresslevel=1) as out:
            for piece in self._server.download(part, self.until):
                out.write(piece)
        partial.rename(path)

    def remove(self) -> None:
        """Remove the folder: the move is complete."""
        shutil.rmtree(self._folder, ignore_errors=True)
