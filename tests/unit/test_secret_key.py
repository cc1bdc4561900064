"""Which signing keys are refused, and what is said then."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from pathlib import Path

import pytest

from joulebook.config import Config, ConfigError
from joulebook.secret_key import load_secret_key

WEAK = {
    "a" * 60: "has only 1 different character;",
    "ab1" * 20: "has only 3 different characters;",
    "django-insecure-" + secrets.token_urlsafe(48): "begins with 'django-insecure-'",
    "Django-Insecure-" + secrets.token_urlsafe(48): "begins with 'django-insecure-'",
    "please-change-me!" * 4: "repeats a shorter text",
    "1234567890" * 6: "repeats a shorter text",
    secrets.token_urlsafe(40)[:49]: "has 49 characters, needs at least 50",
}


@pytest.mark.parametrize("key", WEAK, ids=range(len(WEAK)))
def test_a_key_that_could_be_guessed_is_refused_without_being_shown(key: str, tmp_path: Path) -> None:
    config = Config.from_environ({"JOULEBOOK_HOME": str(tmp_path), "JOULEBOOK_SECRET_KEY": key})
    with pytest.raises(ConfigError, match="JOULEBOOK_SECRET_KEY") as refused:
        load_secret_key(config)
    message = str(refused.value)
    assert WEAK[key] in message
    assert "unset it to have a key made" in message
    assert key not in message


@pytest.mark.parametrize(
    "make",
    [lambda: secrets.token_urlsafe(48), lambda: secrets.token_hex(32), lambda: str(secrets.randbits(400))],
    ids=["base64", "hex", "digits"],
)
def test_a_random_key_is_taken(make: Callable[[], str], tmp_path: Path) -> None:
    key = make()
    config = Config.from_environ({"JOULEBOOK_HOME": str(tmp_path), "JOULEBOOK_SECRET_KEY": key})
    assert load_secret_key(config) == key


def test_the_key_that_is_made_is_taken_at_the_next_start(tmp_path: Path) -> None:
    config = Config.from_environ({"JOULEBOOK_HOME": str(tmp_path)})
    assert load_secret_key(config) == load_secret_key(config)


@pytest.mark.parametrize("content", ["", "x" * 60])
def test_a_key_file_that_was_cut_or_filled_is_refused_with_the_remedy(content: str, tmp_path: Path) -> None:
    path = tmp_path / "secret-key"
    path.write_text(content)
    path.chmod(0o600)
    with pytest.raises(ConfigError, match="remove the file to have a key made"):
        load_secret_key(Config.from_environ({"JOULEBOOK_HOME": str(tmp_path)}))
