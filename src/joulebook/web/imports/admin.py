"""Imports in the admin: to look at."""

from __future__ import annotations

from django.contrib import admin
from django.http import HttpRequest

from joulebook.web.imports.models import Import


@admin.register(Import)
class ImportAdmin(admin.ModelAdmin[Import]):
    """What was imported: when, by whom, and what became of it."""

    list_display = ("file_name", "device", "user", "state", "created_at", "rows_read", "cells_stored")
    list_filter = ("state",)
    list_select_related = ("device", "user")

    def has_add_permission(self, request: HttpRequest) -> bool:  # noqa: ARG002
        """Say no: an import begins with a file."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Import | None = None) -> bool:  # noqa: ARG002
        """Say no: what happened is not edited."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Import | None = None) -> bool:  # noqa: ARG002
        """Say no: readings carry the import's number."""
        return False
