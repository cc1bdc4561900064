"""Reports how finely the source is cut: lines, importers, private functions, circles of imports.

A report, not a gate: `make lint` prints it, and a change of a figure is a reason to look.
It counts the modules of `src/joulebook` without migrations. An import inside a function counts like others,
one for the type checker alone does not.
"""

from __future__ import annotations

import ast
import re
import statistics
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path

PACKAGE = "joulebook"
SOURCE = Path(__file__).parent.parent / "src"
LONG_FUNCTION = 30

Function = ast.FunctionDef | ast.AsyncFunctionDef
Graph = dict[str, set[str]]


def main() -> None:
    """Print one figure a line."""
    files = {name: path.read_text("utf-8") for name, path in _modules()}
    trees = {name: ast.parse(text) for name, text in files.items()}
    lines = {name: text.count("\n") for name, text in files.items()}
    total = sum(lines.values())
    functions = [node for tree in trees.values() for node in ast.walk(tree) if isinstance(node, Function)]
    short = sum(_length(function) <= LONG_FUNCTION for function in functions)
    graph = {name: set(_imports(name, tree, trees)) for name, tree in trees.items()}
    importers = Counter(imported for found in graph.values() for imported in found)
    lone = sum(lines[name] for name in files if importers[name] == 1)
    private, once = _private_functions(trees, files)
    inside = sum(_function_imports(tree) for tree in trees.values())
    report = {
        "files of Python": f"{len(files)}",
        "lines of Python": f"{total:,}",
        "file, median and largest": f"{statistics.median(lines.values()):.0f} / {max(lines.values())}",
        f"functions of at most {LONG_FUNCTION} lines": f"{100 * short / len(functions):.0f} %",
        "lines in modules with one importer": f"{100 * lone / total:.0f} %",
        "private functions in 1,000 lines": f"{1000 * private / total:.1f}",
        "private functions used once in 1,000 lines": f"{1000 * once / total:.1f}",
        "imports of our own inside functions": f"{inside}",
        "circles of files": _list_circles(graph),
        "circles of packages": _list_circles(_between_packages(graph)),
    }
    width = max(map(len, report))
    for title, figure in report.items():
        print(f"{title:<{width}}  {figure}")


def _modules() -> Iterator[tuple[str, Path]]:
    for path in sorted((SOURCE / PACKAGE).rglob("*.py")):
        if "migrations" not in path.parts:
            parts = path.relative_to(SOURCE).with_suffix("").parts
            yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


def _length(function: Function) -> int:
    return (function.end_lineno or function.lineno) - function.lineno + 1


def _imports(name: str, tree: ast.Module, known: Mapping[str, object]) -> Iterator[str]:
    """Yield the modules that a module imports anywhere, but for the type checker alone."""
    for node in _executed(tree):
        if isinstance(node, ast.Import):
            found = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found = [f"{node.module}.{alias.name}" for alias in node.names]
            found = [each if each in known else node.module for each in found]
        else:
            continue
        yield from (each for each in found if each in known and each != name)


def _executed(tree: ast.AST) -> Iterator[ast.AST]:
    """Yield all nodes but those below `if TYPE_CHECKING`."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        yield node
        yield from _executed(node)


def _function_imports(tree: ast.Module) -> int:
    found = {
        node
        for function in ast.walk(tree)
        if isinstance(function, Function)
        for node in ast.walk(function)
        if isinstance(node, ast.Import | ast.ImportFrom) and PACKAGE in ast.unparse(node)
    }
    return len(found)


def _private_functions(trees: Mapping[str, ast.Module], files: Mapping[str, str]) -> tuple[int, int]:
    """Return the number of functions and methods named `_…`, and of those whose name their file uses once."""
    count = once = 0
    for module, tree in trees.items():
        for node in ast.walk(tree):
            if isinstance(node, Function) and node.name.startswith("_") and not node.name.endswith("__"):
                count += 1
                # The definition itself is the other one.
                once += len(re.findall(rf"\b{node.name}\b", files[module])) <= 2
    return count, once


def _between_packages(graph: Graph) -> Graph:
    """Return the imports between folders; a module directly below the root counts as a folder of its own."""
    folders: dict[str, set[str]] = defaultdict(set)
    for name, imported in graph.items():
        folder = _folder(name)
        folders[folder] |= {_folder(each) for each in imported} - {folder}
    return {
        folder: {each for each in found if not _nested(folder, each)} for folder, found in folders.items()
    }


def _folder(name: str) -> str:
    head, _, _ = name.rpartition(".")
    return name if head in {"", PACKAGE} else head


def _nested(one: str, other: str) -> bool:
    return one.startswith(f"{other}.") or other.startswith(f"{one}.")


def _list_circles(graph: Graph) -> str:
    circles = [sorted(each) for each in _circles(graph) if len(each) > 1]
    listed = "; ".join(" ↔ ".join(each) for each in circles)
    return f"{len(circles)}{f': {listed}' if circles else ''}"


def _circles(graph: Graph) -> list[set[str]]:
    """Return the strongly connected components, by what reaches and is reached by each node."""
    reached = {name: _reach(graph, name) for name in graph}
    left, found = set(graph), []
    while left:
        name = left.pop()
        circle = {other for other in reached[name] if name in reached.get(other, ())} | {name}
        left -= circle
        found.append(circle)
    return found


def _reach(graph: Graph, start: str) -> set[str]:
    seen: set[str] = set()
    waiting = [start]
    while waiting:
        for each in graph.get(waiting.pop(), ()):
            if each not in seen:
                seen.add(each)
                waiting.append(each)
    return seen


if __name__ == "__main__":
    main()
