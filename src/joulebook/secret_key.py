"""The signing key: from the environment, or made once and kept in a private file."""

from __future__ import annotations

import os
import secrets
import stat

from joulebook.config import Config, ConfigError

_SHORTEST = 50
_FEWEST_CHARACTERS = 8
_PLACEHOLDER = "django-insecure-"
"""The beginning of keys from Django's own templates."""


def load_secret_key(config: Config) -> str:
    """Return the signing key; the first start makes one of 384 random bits in `JOULEBOOK_HOME`.

    Raises `ConfigError` for a weak key, or a key file readable by others.
    """
    if config.secret_key is not None:
        if problem := _weakness(config.secret_key):
            raise ConfigError(
                f"JOULEBOOK_SECRET_KEY {problem}; unset it to have a key made, or take the output of: "
                "python -c 'import secrets; print(secrets.token_urlsafe(48))'"
            )
        return config.secret_key
    path = config.home / "secret-key"
    config.home.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        # Written aside and linked into place: of two first starts at once, both end with the same key.
        draft = config.home / f".secret-key-{os.getpid()}-{secrets.token_hex(4)}"
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(secrets.token_urlsafe(48))
        try:
            os.link(draft, path)
        except FileExistsError:
            pass
        finally:
            draft.unlink()
    if stat.S_IMODE(path.stat().st_mode) & 0o077:
        raise ConfigError(f"{path} can be read by others; run: chmod 600 {path}")
    key = path.read_text("ascii", errors="replace").strip()
    if problem := _weakness(key):
        raise ConfigError(
            f"the key in {path} {problem}; remove the file to have a key made; all users sign in again then"
        )
    return key


def _weakness(key: str) -> str | None:
    """Return why the key is weak; None if it looks random. Never shows the key."""
    if len(key) < _SHORTEST:
        return f"has {len(key)} characters, needs at least {_SHORTEST}"
    if key.lower().startswith(_PLACEHOLDER):
        return f"begins with {_PLACEHOLDER!r}, as published examples do"
    if (different := len(set(key))) < _FEWEST_CHARACTERS:
        return f"has only {different} different character{'s' * (different > 1)}"
    if key in (key + key)[1:-1]:
        return "repeats a shorter text"
    return None
