"""Keep in which file a rejected row is, for imports of several files."""

from __future__ import annotations

from django.db import migrations

FORWARDS = """
ALTER TABLE import_problems ADD COLUMN IF NOT EXISTS file_name text COLLATE "C" NOT NULL DEFAULT '';
CREATE INDEX IF NOT EXISTS import_problems_by_file ON import_problems (import_id, file_name, line);
DROP INDEX IF EXISTS import_problems_by_line;
"""
BACKWARDS = """
CREATE INDEX IF NOT EXISTS import_problems_by_line ON import_problems (import_id, line);
DROP INDEX IF EXISTS import_problems_by_file;
ALTER TABLE import_problems DROP COLUMN IF EXISTS file_name;
"""


class Migration(migrations.Migration):
    dependencies = (("readings", "0012_rollups_know_gaps"),)
    operations = (migrations.RunSQL(FORWARDS, BACKWARDS),)
