"""End all sessions: their ids were stored as they are, and copies of the database would still sign in."""

from __future__ import annotations

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0002_sign_in_failures"),
        ("sessions", "0001_initial"),
    ]

    operations = [
        migrations.RunSQL("DELETE FROM django_session", "DELETE FROM django_session"),
    ]
