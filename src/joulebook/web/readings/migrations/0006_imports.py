"""Keep how far imports are, what they rejected and what they overwrote, and let the writer undo them."""

from __future__ import annotations

from django.db import migrations

# `import_id` is the key of the import's record among the accounts. `lease` counts who has run it: only
# who holds the last may write. `checkpoint` and `report` are where the next one goes on, and `undo` how
# far the import is taken back; each is written in the transaction of the readings that it is about. They
# are text to the database, which refuses no character of a file's cells in them as `jsonb` would.
PROGRESS = """
CREATE TABLE IF NOT EXISTS import_progress (
    import_id int PRIMARY KEY,
    lease int NOT NULL,
    device_id text NOT NULL DEFAULT '',
    identity text NOT NULL DEFAULT '',
    checkpoint json,
    report json,
    undo json,
    bytes_read bigint NOT NULL DEFAULT 0,
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
GRANT SELECT ON import_progress TO joulebook_reader;
GRANT SELECT, INSERT, UPDATE, DELETE ON import_progress TO joulebook_writer;
"""
# `column_name` is null where the whole row was rejected, and `row` is then the line as the file has it.
PROBLEMS = """
CREATE TABLE IF NOT EXISTS import_problems (
    import_id int NOT NULL,
    line bigint NOT NULL,
    column_name text,
    code text NOT NULL,
    text text NOT NULL,
    "row" text NOT NULL
);
CREATE INDEX IF NOT EXISTS import_problems_by_line ON import_problems (import_id, line);
GRANT SELECT ON import_problems TO joulebook_reader;
GRANT SELECT, INSERT, UPDATE, DELETE ON import_problems TO joulebook_writer;
"""
# What stood where an import put another value, and whose it was (0: live). The index finds what lies on
# an import that is undone. No foreign key, as for readings.
REPLACED = """
CREATE TABLE IF NOT EXISTS import_replaced (
    time timestamptz NOT NULL,
    value float8 NOT NULL,
    import_id int NOT NULL,
    series_id int NOT NULL,
    replaced_import_id int NOT NULL,
    PRIMARY KEY (import_id, series_id, time),
    CHECK (import_id <> replaced_import_id)
);
CREATE INDEX IF NOT EXISTS import_replaced_by_import ON import_replaced (replaced_import_id, series_id, time)
    WHERE replaced_import_id <> 0;
GRANT SELECT ON import_replaced TO joulebook_reader;
GRANT SELECT, INSERT, UPDATE, DELETE ON import_replaced TO joulebook_writer;
"""


class Migration(migrations.Migration):
    dependencies = (("readings", "0005_kept_from"),)
    operations = (
        migrations.RunSQL(PROGRESS, "DROP TABLE IF EXISTS import_progress"),
        migrations.RunSQL(PROBLEMS, "DROP TABLE IF EXISTS import_problems"),
        migrations.RunSQL(REPLACED, "DROP TABLE IF EXISTS import_replaced"),
        migrations.RunSQL(
            "GRANT DELETE ON readings TO joulebook_writer", "REVOKE DELETE ON readings FROM joulebook_writer"
        ),
    )
