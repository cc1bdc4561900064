"""Template tags for imports: codes and states in people's words, and long numbers."""

from __future__ import annotations

from django import template
from django.http import QueryDict

from joulebook.web.imports.models import Import
from joulebook.web.imports.pages.words import STATES, problem_words

register = template.Library()


@register.filter
def in_words(code: str) -> str:
    """Write what the code of a problem means."""
    return problem_words(code)


@register.filter
def state_words(import_: Import) -> str:
    """Write what became of an import."""
    if import_.is_cancelling and import_.state == Import.State.RUNNING:
        return "being stopped"
    return STATES[Import.State(import_.state)]


@register.filter
def count(number: int | None) -> str:
    """Write a count in groups of three digits."""
    return f"{number or 0:,}".replace(",", "\u202f")


@register.filter
def get(form: QueryDict, name: str) -> str:
    """Return a field of a form whose name has a dash."""
    return str(form.get(name, ""))
