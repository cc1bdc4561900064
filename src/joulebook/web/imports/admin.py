"""Imports in the admin, read-only."""

from __future__ import annotations

from django.contrib import admin
from django.http import HttpRequest

from joulebook.web.imports.models import Import


@admin.register(Import)
class ImportAdmin(admin.ModelAdmin[Import]):
    """The list of imports, with file, device, user, state and counts."""

    list_display = ("file_name", "device", "user", "state", "created_at", "rows_read", "cells_stored")
    list_filter = ("state",)
    list_select_related = ("device", "user")

    def has_add_permission(self, request: HttpRequest) -> bool:  # noqa: ARG002
        """Return False: an import begins with a file."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Import | None = None) -> bool:  # noqa: ARG002
        """Return False: a record of the past is not edited."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Import | None = None) -> bool:  # noqa: ARG002
        """Return False: readings carry the import's number."""
        return False
