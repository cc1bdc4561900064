"""Where the demo keeps its password, its devices' tokens and the state of its home."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from joulebook.simulator.tokens import write_private


class DemoFiles:
    """The demo's files in one JOULEBOOK_HOME; only their owner can read them."""

    SEED: ClassVar[int] = 11
    """The home of every demo."""
    USER: ClassVar[str] = "demo"

    def __init__(self, home: Path) -> None:
        self.credentials = home / "demo-credentials"
        self.tokens = home / "demo" / "tokens"
        self.states = home / "demo" / "states.json"
        self.origin = home / "demo" / "origin"

    def read_credentials(self) -> tuple[str, str]:
        """Return the user's name, and the password; an empty one where the user has chosen another."""
        try:
            lines = self.credentials.read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            return self.USER, ""
        fields = dict(line.split(" ", 1) for line in lines if " " in line)
        return self.USER, fields.get("password", "").strip()

    def write_credentials(self, password: str) -> None:
        """Keep the password; an empty one says that the user has chosen another."""
        text = f"user {self.USER}\n"
        write_private(self.credentials, f"{text}password {password}\n" if password else text)

    def read_origin(self) -> int | None:
        """Return when the demo's home began (seconds since 1970 UTC); None before the first start."""
        try:
            return int(self.origin.read_text(encoding="ascii"))
        except FileNotFoundError:
            return None

    def write_origin(self, second: int) -> None:
        """Keep when the demo's home began: its registers count from there."""
        write_private(self.origin, f"{second}\n")
