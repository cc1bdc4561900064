"""Shells complete Joulebook's commands and options, and no module of a command is loaded for its word."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

BASH = """
eval "$(joulebook --show-completion)"
complete_words() {
    COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMPREPLY=()
    _joulebook_completion joulebook
    printf '%s\\n' "${COMPREPLY[@]}"
}
"""
ENVIRONMENT = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}


def run_shell(shell: str, script: str, folder: Path) -> str:
    """Run a script in a shell, whose process Joulebook then finds as its parent."""
    if shutil.which(shell) is None:
        pytest.skip(f"no {shell} on this machine; on Debian: apt-get install {shell}")
    (folder / "script").write_text(script)
    environment = {**ENVIRONMENT, "HOME": str(folder), "ZDOTDIR": str(folder), "XDG_CONFIG_HOME": str(folder)}
    done = subprocess.run(
        [shell, str(folder / "script")],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("ro", {"rollups"}),
        ("db st", {"start", "stop", "status"}),
        ("imports list --st", {"--state"}),
        ("db url --role r", {"reader"}),
        ("--ver", {"--version"}),
    ],
)
def test_bash_completes(words: str, expected: set[str], tmp_path: Path) -> None:
    printed = run_shell("bash", f"{BASH}\ncomplete_words joulebook {words}\n", tmp_path)
    assert {line.strip() for line in printed.split()} == expected


def test_fish_completes(tmp_path: Path) -> None:
    printed = run_shell(
        "fish", "joulebook --show-completion | source; complete -C 'joulebook db st'\n", tmp_path
    )
    assert {line.split("\t")[0] for line in printed.splitlines()} == {"start", "stop", "status"}


def test_zsh_completes(tmp_path: Path) -> None:
    script = (
        "autoload -Uz compinit && compinit -u -D\n"
        'eval "$(joulebook --show-completion)"\n'
        "whence -w _joulebook_completion\n"
        # Zsh completes at a prompt only; what its function would be given is printed in place of that.
        "_arguments() { print -r -- $@ }\n"
        "words=(joulebook db st); CURRENT=3; _joulebook_completion\n"
    )
    printed = run_shell("zsh", script, tmp_path)
    assert "_joulebook_completion: function" in printed
    assert [word in printed for word in ('"start"', '"stop"', '"status"', '"url"')] == [
        True,
        True,
        True,
        False,
    ]


def test_completion_can_be_installed_for_good(tmp_path: Path) -> None:
    run_shell("bash", "joulebook --install-completion\n", tmp_path)
    script = 'source ~/.bashrc\nCOMP_WORDS=(joulebook db sto); COMP_CWORD=2\n_joulebook_completion joulebook\necho "$COMPREPLY"\n'
    assert run_shell("bash", script, tmp_path).strip() == "stop"


@pytest.mark.parametrize("words", [("--version",), ()])
def test_the_first_word_is_completed_and_the_version_printed_without_loading_a_command(
    words: tuple[str, ...],
) -> None:
    completing = (
        {}
        if words
        else {"_JOULEBOOK_COMPLETE": "complete_bash", "COMP_WORDS": "joulebook d", "COMP_CWORD": "1"}
    )
    code = (
        "import sys\nfrom joulebook.cli.main import main\nsys.argv[0] = 'joulebook'\n"
        "try:\n    main()\nfinally:\n"
        "    heavy = {'django', 'psycopg', 'numpy', 'polars', 'joulebook.config'} & set(sys.modules)\n"
        "    sys.stderr.write(f'loaded: {sorted(heavy)}')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *words],
        env={**ENVIRONMENT, **completing}, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.stdout.split() in (["0.1.0"], ["demo", "db", "device"])
    assert done.stderr == "loaded: []"
