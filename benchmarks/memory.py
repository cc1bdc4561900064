"""How much memory a process and its children have held at most."""

from __future__ import annotations

from pathlib import Path


def peak_megabytes(process: int) -> float:
    """Return the largest resident size that this process, or any one of its living children, ever had."""
    return max(_peak(one) for one in family(process))


def family(process: int) -> list[int]:
    """Return a process and everything below it."""
    found = [process]
    for task in Path(f"/proc/{process}/task").iterdir():
        for child in (task / "children").read_text().split():
            found += family(int(child))
    return found


def _peak(process: int) -> float:
    for line in Path(f"/proc/{process}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError(f"process {process} says nothing of its memory")
