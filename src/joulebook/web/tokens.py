"""Tokens of machines: their creation, and their hashes, the only stored form."""

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
    """A new token: `text` is shown once, the rest is stored."""

    text: str
    prefix: str
    token_hash: str


def make_token(kind: str) -> NewToken:
    """Return a new token `<kind><8 hex>_<secret>` with 256 random bits in its secret."""
    prefix = f"{kind}{secrets.token_hex(4)}"
    text = f"{prefix}_{secrets.token_urlsafe(_SECRET_BYTES)}"
    return NewToken(text=text, prefix=prefix, token_hash=hash_token(text))


def hash_token(text: str) -> str:
    """Return the SHA-256 of a token in hexadecimal.

    A plain hash is enough: a random secret cannot be guessed, only stolen.
    """
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


class Token(models.Model):
    """The stored part of a token: enough to recognise it, too little to use it."""

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
        """Revoke this token."""
        type(self)._default_manager.filter(pk=self.pk, revoked_at=None).update(revoked_at=now)


class TokenAdmin(admin.ModelAdmin[Any]):
    """Tokens are listed and revoked in the admin; their text is shown only at their creation."""

    actions = ("revoke_selected",)

    def has_add_permission(self, request: HttpRequest) -> bool:  # noqa: ARG002
        """Return False: the admin could not show the text of a new token."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:  # noqa: ARG002
        """Return False: a token has nothing to edit; the action revokes it."""
        return False

    @admin.action(description="Revoke the selected tokens", permissions=["delete"])
    def revoke_selected(self, request: HttpRequest, queryset: models.QuerySet[Any]) -> None:
        """Revoke the selected tokens."""
        count = queryset.filter(revoked_at=None).update(revoked_at=timezone.now())
        self.message_user(request, f"{count} token(s) revoked; devices notice within seconds.")
