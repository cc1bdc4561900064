"""The client is imported without any part of a server."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import joulebook

LIST = """
import sys
import httpx
before = set(sys.modules)
import joulebook.client
print(*sorted({name if name.startswith("joulebook") else name.split(".")[0]
               for name in set(sys.modules) - before}))
"""


def test_importing_it_brings_the_standard_library_httpx_and_itself_only() -> None:
    """Run where nothing but this import can have loaded a module."""
    source = str(Path(joulebook.__file__).parent.parent)
    program = f"import sys; sys.path.insert(0, {source!r})\n{LIST}"
    done = subprocess.run([sys.executable, "-I", "-c", program], capture_output=True, text=True, check=True)
    brought = set(done.stdout.split())
    assert "joulebook.client" in brought
    others = {name for name in brought if name not in sys.stdlib_module_names}
    assert {name for name in others if not name.startswith("joulebook")} <= {
        # parts of httpx that it loads when it is first used
        "httpcore", "h11", "anyio", "sniffio", "certifi", "idna",
    }  # fmt: skip
    assert {name for name in others if name.startswith("joulebook")} == {
        "joulebook",
        *(
            "joulebook.client" + ("" if file.stem == "__init__" else f".{file.stem}")
            for file in Path(joulebook.__file__).parent.joinpath("client").glob("*.py")
        ),
    }
