"""Corrections in the admin, read-only."""

from __future__ import annotations

from django.contrib import admin
from django.http import HttpRequest

from joulebook.web.corrections.models import Correction


@admin.register(Correction)
class CorrectionAdmin(admin.ModelAdmin[Correction]):
    """The list of corrections, with device, kind, user, state and reason."""

    list_display = ("id", "device", "kind", "user", "state", "created_at", "reason")
    list_filter = ("state", "kind")
    list_select_related = ("device", "user")

    def has_add_permission(self, request: HttpRequest) -> bool:  # noqa: ARG002
        """Return False: a correction is previewed first."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Correction | None = None) -> bool:  # noqa: ARG002
        """Return False: a record of the past is not edited."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Correction | None = None) -> bool:  # noqa: ARG002
        """Return False: readings carry the correction's number."""
        return False
