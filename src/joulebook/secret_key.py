"""The signing key: from the environment, or made once and kept for the owner's eyes only."""

from __future__ import annotations

import os
import secrets
import stat

from joulebook.config import Config, ConfigError

_SHORTEST = 50


def load_secret_key(config: Config) -> str:
    """Return the signing key; the first start makes one of 384 random bits in `JOULEBOOK_HOME`.

    Raises `ConfigError` for a key that is too short to be one, or a key file that others may read.
    """
    if config.secret_key is not None:
        if len(config.secret_key) < _SHORTEST:
            raise ConfigError(
                f"JOULEBOOK_SECRET_KEY has {len(config.secret_key)} characters, needs at least {_SHORTEST}; "
                "unset it to have one made"
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
    return path.read_text("ascii")
