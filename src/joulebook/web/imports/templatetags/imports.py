"""Template tags for imports: words for codes and states, and long numbers."""

from __future__ import annotations

from django import template
from django.http import QueryDict

from joulebook.web.imports.models import Import
from joulebook.web.imports.pages.words import STATES, problem_words

register = template.Library()


@register.filter
def in_words(code: str) -> str:
    """Return the words for a problem code."""
    return problem_words(code)


@register.filter
def state_words(import_: Import) -> str:
    """Return the words for the state of an import."""
    if import_.is_cancelling and import_.state == Import.State.RUNNING:
        return "stopping"
    return STATES[Import.State(import_.state)]


@register.filter
def count(number: int | None) -> str:
    """Return a count in groups of three digits."""
    return f"{number or 0:,}".replace(",", "\u202f")


@register.filter
def get(form: QueryDict, name: str) -> str:
    """Return a field of a form; a name with a dash needs this filter."""
    return str(form.get(name, ""))
