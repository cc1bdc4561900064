"""Checks the names of a request's parameters, and reports a parameter with an unusable value."""

from __future__ import annotations

from collections.abc import Sequence

from django.http import QueryDict


class BadParameter(Exception):
    """A parameter has a value that cannot be used; `parameter` is its name."""

    def __init__(self, parameter: str, message: str) -> None:
        super().__init__(message)
        self.parameter = parameter


def check_names(
    query: QueryDict, known: Sequence[str] = (), *, repeatable: Sequence[str] = ("metric",)
) -> None:
    """Raise `BadParameter` for a parameter that is not `known`, or given twice and not `repeatable`."""
    for name in query:
        if name not in known:
            remedy = f"use {', '.join(known)}" if known else "this address takes none"
            raise BadParameter(name[:40], f"parameter {name[:40]!r} is not known; {remedy}")
        if name not in repeatable and len(query.getlist(name)) > 1:
            raise BadParameter(name, f"{name} is given {len(query.getlist(name))} times; give it once")
