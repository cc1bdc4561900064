"""Let the reader read every table of the owner's, also those of later migrations: backups are made by it."""

from __future__ import annotations

from django.db import migrations

# A backup reads what the catalogue lists. Without this it needed the owner's rights for one table, that of
# the migrations, and a later table without a grant would be missed.
GRANT = """
GRANT SELECT ON ALL TABLES IN SCHEMA public TO joulebook_reader;
GRANT SELECT ON ALL SEQUENCES IN SCHEMA public TO joulebook_reader;
ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT ON TABLES TO joulebook_reader;
ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT ON SEQUENCES TO joulebook_reader;
"""
REVOKE = """
ALTER DEFAULT PRIVILEGES IN SCHEMA public REVOKE SELECT ON SEQUENCES FROM joulebook_reader;
ALTER DEFAULT PRIVILEGES IN SCHEMA public REVOKE SELECT ON TABLES FROM joulebook_reader;
REVOKE SELECT ON ALL SEQUENCES IN SCHEMA public FROM joulebook_reader;
REVOKE SELECT ON django_migrations FROM joulebook_reader;
"""


class Migration(migrations.Migration):
    dependencies = (("readings", "0007_rollups_by_series"),)
    operations = (migrations.RunSQL(GRANT, REVOKE),)
