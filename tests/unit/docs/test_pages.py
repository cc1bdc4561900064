"""The documentation as text: links lead somewhere, commands exist, and blocks keep to the convention."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest
import typer.main

from joulebook.cli.main import app

from ...docs_pages import PAGES, REPOSITORY, anchors, blocks, links, name

LANGUAGES = {"sh", "json", "text", "python", "csv", "ini", "yaml", "sql", "mermaid"}
every_page = pytest.mark.parametrize("page", PAGES, ids=name)


def commands(
    group: click.Group | None = None, words: tuple[str, ...] = ()
) -> dict[tuple[str, ...], click.Command]:
    """Return every command of the command line by its words."""
    found: dict[tuple[str, ...], click.Command] = {}
    top = group if group is not None else typer.main.get_command(app)
    for word, command in top.commands.items():
        if hasattr(command, "commands"):
            found |= commands(command, (*words, word))
        else:
            found[(*words, word)] = command
    return found


def options(command: click.Command) -> set[str]:
    """Return the long options of a command."""
    declared = {
        option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)
    }
    return {option for option in declared if option.startswith("--")} - {"--help"}


@pytest.mark.parametrize("page", sorted({*PAGES, *REPOSITORY.glob("*.md")}), ids=name)
def test_links_lead_to_pages_and_headings_that_exist(page: Path) -> None:
    for target in links(page.read_text()):
        if re.match(r"https?://", target):
            continue
        path, _, anchor = target.partition("#")
        there = (page.parent / path).resolve() if path else page
        assert there.exists(), f"{name(page)} links to {target}"
        if anchor:
            assert anchor in anchors(there.read_text()), f"{name(page)} links to {target}"


def test_every_page_can_be_reached_from_the_readme() -> None:
    start = REPOSITORY / "README.md"
    reached, waiting = {start}, [start]
    while waiting:
        page = waiting.pop()
        for target in links(page.read_text()):
            there = (page.parent / target.partition("#")[0]).resolve()
            if there.suffix == ".md" and there not in reached and there.exists():
                reached.add(there)
                waiting.append(there)
    assert {name(page) for page in PAGES} - {name(page) for page in reached} == set()


@every_page
def test_blocks_keep_to_the_convention(page: Path) -> None:
    before = None
    for block in blocks(page.read_text()):
        where = f"{name(page)}:{block.line}"
        assert block.language in LANGUAGES, where
        assert not (block.language == "sh" and block.note not in {"", "by-hand"}), where
        if block.language == "json":
            assert before is not None, f"{where}: nothing prints this"
            assert before.is_run, f"{where}: nothing that is run prints this"
        before = block


@every_page
def test_python_examples_are_files_that_a_command_of_the_page_runs(page: Path) -> None:
    found = blocks(page.read_text())
    run = "".join(block.text for block in found if block.is_run)
    for block in found:
        if block.language == "python":
            assert block.note, f"{name(page)}:{block.line}"
            assert f"python {block.note}" in run, f"{name(page)}:{block.line}"


def shell_lines(page: Path) -> list[str]:
    """Return the commands of a page's shell blocks, in blocks and in code marks of the text."""
    text = page.read_text()
    shell = "\n".join(block.text for block in blocks(text) if block.language == "sh").replace("\\\n", " ")
    return shell.splitlines() + re.findall(r"`((?:joulebook|make) [^`]+)`", text)


@every_page
def test_commands_and_options_that_pages_use_exist(page: Path) -> None:
    known = commands()
    groups = {words[0] for words in known if len(words) == 2}
    for line in shell_lines(page):
        for call in re.findall(r"(?:^|[\s/(])joulebook (?!-)([^|<>;&)]*)", line):
            words = call.replace("…", "").split()
            if not words or words[0].isupper() or "=" in words[0]:
                continue
            size = 2 if words[0] in groups else 1
            command = known.get(tuple(words[:size]))
            if size == 2 and len(words) == 1:
                continue
            assert command is not None, f"{name(page)}: {line}"
            used = {word.partition("=")[0] for word in words[size:] if word.startswith("--") and word != "--"}
            own = call.partition(" -- ")[0]
            used = {option for option in used if option in own}
            assert used <= options(command) | {"--help"}, f"{name(page)}: {line}"


@every_page
def test_make_targets_that_pages_use_exist(page: Path) -> None:
    targets = set(re.findall(r"^([a-z]+):", (REPOSITORY / "Makefile").read_text(), re.MULTILINE))
    for line in shell_lines(page):
        match = re.match(r"make ([a-z]+)", line)
        if match:
            assert match[1] in targets, f"{name(page)}: {line}"


def test_shell_examples_can_be_parsed() -> None:
    for page in PAGES:
        for block in blocks(page.read_text()):
            if block.language == "sh" and "<<" not in block.text:
                shlex.split(block.text, comments=True)
