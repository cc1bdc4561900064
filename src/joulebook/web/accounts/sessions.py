"""Sessions in the accounts database, under a hash of their ids: a copied table allows no sign-in.

The id itself is in the browser's cookie and in this process's memory only, as with tokens.
"""

from __future__ import annotations

import hashlib
from typing import Any

from django.contrib.sessions.backends.base import SessionBase
from django.contrib.sessions.backends.db import SessionStore as PlainSessionStore
from django.contrib.sessions.base_session import AbstractBaseSession
from django.contrib.sessions.models import Session
from django.utils import timezone

_COLUMN_LENGTH = 40


class SessionStore(PlainSessionStore):
    """Django's sessions in the database, with hashed ids in every statement."""

    def exists(self, session_key: str) -> bool:
        """Return whether there is a session of this id."""
        return super().exists(hash_session_id(session_key))

    def load(self) -> dict[str, Any]:
        """Return the session's data; forget an unknown or expired id."""
        key = hash_session_id(self.session_key or "")
        rows = Session.objects.filter(session_key=key, expire_date__gt=timezone.now())
        for stored in rows.values_list("session_data", flat=True):
            return self.decode(stored)
        self._session_key = None
        return {}

    def create_model_instance(self, data: dict[str, Any]) -> AbstractBaseSession:
        """Return the row to store."""
        row = super().create_model_instance(data)
        row.session_key = hash_session_id(row.session_key)
        return row

    def delete(self, session_key: str | None = None) -> None:
        """Remove a session, by default this one."""
        key = session_key or self.session_key
        if key is not None:
            super().delete(hash_session_id(key))

    # Django's own would use the plain ids.
    aexists = SessionBase.aexists
    aload = SessionBase.aload
    acreate = SessionBase.acreate
    asave = SessionBase.asave
    adelete = SessionBase.adelete


def hash_session_id(session_id: str) -> str:
    """Return the key of a session in the database: 160 bits of SHA-256, the column's length."""
    return hashlib.sha256(session_id.encode("utf-8", "surrogatepass")).hexdigest()[:_COLUMN_LENGTH]
