"""The token file: for its owner's eyes only, and never shown."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from joulebook.simulator.tokens import DeviceCredentials, UnableToReadTokens, read_tokens, write_tokens

TOKENS = [DeviceCredentials("sim-00001", "jbd1_secret"), DeviceCredentials("sim-00002", "jbd2_secret")]


def test_what_was_written_is_read_and_only_the_owner_can_read_it(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "tokens"
    write_tokens(path, TOKENS)
    assert path.stat().st_mode & 0o777 == 0o600
    assert read_tokens(path) == TOKENS
    assert [entry.name for entry in path.parent.iterdir()] == ["tokens"]


def test_writing_again_keeps_the_file_private(tmp_path: Path) -> None:
    path = tmp_path / "tokens"
    path.write_text("old")
    path.chmod(0o644)
    write_tokens(path, TOKENS)
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o622])
def test_a_file_that_others_can_open_is_refused_with_the_remedy(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "tokens"
    write_tokens(path, TOKENS)
    path.chmod(mode)
    with pytest.raises(UnableToReadTokens, match=f"chmod 600 {path}"):
        read_tokens(path)


def test_comments_and_blank_lines_are_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "tokens"
    path.write_text("# mine\n\n  sim-00001   jbd1_secret  \n")
    path.chmod(0o600)
    assert read_tokens(path) == TOKENS[:1]


@pytest.mark.parametrize("text", ["sim-00001 jbd1_secret extra\n", "jbd1_secret\n"])
def test_a_line_that_is_not_understood_is_named_but_not_shown(tmp_path: Path, text: str) -> None:
    path = tmp_path / "tokens"
    path.write_text(f"# first\n{text}")
    path.chmod(0o600)
    with pytest.raises(UnableToReadTokens, match="line 2: expected") as caught:
        read_tokens(path)
    assert "secret" not in str(caught.value)


def test_a_missing_or_an_empty_file_is_an_error_of_its_own(tmp_path: Path) -> None:
    with pytest.raises(UnableToReadTokens, match="cannot be read"):
        read_tokens(tmp_path / "missing")
    empty = tmp_path / "empty"
    write_tokens(empty, [])
    with pytest.raises(UnableToReadTokens, match="names no device"):
        read_tokens(empty)


def test_tokens_may_come_from_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("sim-00001 jbd1_secret\n"))
    assert read_tokens(Path("-")) == TOKENS[:1]
