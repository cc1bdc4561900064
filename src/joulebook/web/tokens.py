"""Secrets that machines sign in with: how they are made, and the only form in which they are kept."""

from __future__ import annotations

import hashlib
import secrets
from datetime import datetime
from typing import Any, NamedTuple

from django.contrib import admin
from django.db import models
from django.http import HttpRequest
from django.utils import timezone

_SECRET_BYTES = 32


class NewToken(NamedTuple):
    """A token that was just made: `text` is shown once, the rest is stored."""

    text: str
    prefix: str
    token_hash: str


def make_token(kind: str) -> NewToken:
    """Make a token `<kind><8 hex>_<secret>` with 256 random bits in its secret."""
    prefix = f"{kind}{secrets.token_hex(4)}"
    text = f"{prefix}_{secrets.token_urlsafe(_SECRET_BYTES)}"
    return NewToken(text=text, prefix=prefix, token_hash=hash_token(text))


def hash_token(text: str) -> str:
    """Return the SHA-256 of a token in hexadecimal.

    A plain hash is enough: what is hashed is random, so it cannot be guessed, only stolen.
    """
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


class Token(models.Model):
    """What is kept of a token: enough to recognise it, nothing to use it with."""

    prefix = models.CharField(max_length=16, editable=False)
    token_hash = models.CharField(max_length=64, unique=True, editable=False)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    last_used_at = models.DateTimeField(null=True, blank=True, editable=False)
    revoked_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        abstract = True

    def __str__(self) -> str:
        return f"{self.prefix}_…"

    def revoke(self, *, now: datetime) -> None:
        """Refuse this token from now on."""
        type(self)._default_manager.filter(pk=self.pk, revoked_at=None).update(revoked_at=now)


class TokenAdmin(admin.ModelAdmin[Any]):
    """Tokens are listed and revoked in the admin; their text is shown only where they are made."""

    actions = ("revoke_selected",)

    def has_add_permission(self, request: HttpRequest) -> bool:  # noqa: ARG002
        """Say no: a token made here could not be shown."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:  # noqa: ARG002
        """Say no: there is nothing in a token to edit; the action revokes it."""
        return False

    @admin.action(description="Revoke the selected tokens", permissions=["delete"])
    def revoke_selected(self, request: HttpRequest, queryset: models.QuerySet[Any]) -> None:
        """Refuse the selected tokens from now on."""
        count = queryset.filter(revoked_at=None).update(revoked_at=timezone.now())
        self.message_user(request, f"{count} token(s) revoked; devices notice within seconds.")
