"""Keep what corrections changed, so that each can be undone; and show readings as a correction would make
them."""

from __future__ import annotations

from django.db import migrations

# `correction_id` is the number of the correction among the accounts. Only the holder of the last `lease` may
# write. `edit` is what it does, `progress` how far it is, and `report` what it has changed so far.
CORRECTIONS = """
CREATE TABLE IF NOT EXISTS corrections (
    correction_id int PRIMARY KEY,
    lease int NOT NULL,
    identity text NOT NULL,
    edit json NOT NULL,
    progress json,
    report json,
    is_undoing boolean NOT NULL DEFAULT false,
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
GRANT SELECT ON corrections TO joulebook_reader;
GRANT SELECT, INSERT, UPDATE ON corrections TO joulebook_writer;
"""
# A corrected reading as it was sent (`import_id` 0 or more), or as a correction filled it in (its number
# below zero). A corrected row of `readings` has an `import_id` below zero as well, and the value NaN if it
# is deleted or moved away: its key stays taken.
ORIGINALS = """
CREATE TABLE IF NOT EXISTS corrected_readings (
    time timestamptz NOT NULL,
    value float8 NOT NULL,
    series_id int NOT NULL,
    import_id int NOT NULL,
    PRIMARY KEY (series_id, time)
);
CREATE INDEX IF NOT EXISTS corrected_readings_by_import ON corrected_readings (import_id, series_id, time)
    WHERE import_id <> 0;
GRANT SELECT ON corrected_readings TO joulebook_reader;
GRANT SELECT, INSERT, UPDATE, DELETE ON corrected_readings TO joulebook_writer;
"""
# One row for each correction of each original, by the original's key. `moved_to` is its new time, if the
# correction moves it. No foreign keys, as for readings.
STEPS = """
CREATE TABLE IF NOT EXISTS correction_steps (
    time timestamptz NOT NULL,
    moved_to timestamptz,
    series_id int NOT NULL,
    correction_id int NOT NULL,
    PRIMARY KEY (series_id, time, correction_id)
);
CREATE INDEX IF NOT EXISTS correction_steps_by_correction ON correction_steps (correction_id, series_id,
time); CREATE INDEX IF NOT EXISTS correction_steps_by_target ON correction_steps (series_id, moved_to)
    WHERE moved_to IS NOT NULL;
GRANT SELECT ON correction_steps TO joulebook_reader;
GRANT SELECT, INSERT, UPDATE, DELETE ON correction_steps TO joulebook_writer;
"""
# With this schema first in its search path, a transaction sees the readings of an edit that is not stored,
# and their time as marked: every answer then is the one after the edit. The settings are those of
# `joulebook.telemetry.corrections.preview`.
EDITED = """
CREATE SCHEMA IF NOT EXISTS edited;
CREATE OR REPLACE VIEW edited.readings AS
SELECT stored.time,
       CASE WHEN stored.series_id = ANY((SELECT current_setting('joulebook.edited_series')::int4[])::int4[])
             AND stored.time >= (SELECT current_setting('joulebook.edited_from')::timestamptz)
             AND stored.time < (SELECT current_setting('joulebook.edited_to')::timestamptz)
             AND (current_setting('joulebook.edited_points') = '{}'
                  OR stored.time = ANY(
                      (SELECT current_setting('joulebook.edited_points')::timestamptz[])::timestamptz[]))
            THEN 'NaN'::float8 ELSE stored.value END AS value,
       stored.series_id, stored.import_id
FROM public.readings AS stored
UNION ALL
SELECT edit.time, edit.value, edit.series_id, 0
FROM unnest((SELECT current_setting('joulebook.edited_row_times')::timestamptz[]),
            (SELECT current_setting('joulebook.edited_row_values')::float8[]),
            (SELECT current_setting('joulebook.edited_row_series')::int4[])) AS edit (time, value, series_id);
CREATE OR REPLACE VIEW edited.rollup_dirty AS
SELECT begins_at, ends_at, series_id FROM public.rollup_dirty
UNION ALL
SELECT changed.begins_at, changed.ends_at, changed.series_id
FROM unnest((SELECT current_setting('joulebook.edited_mark_from')::timestamptz[]),
            (SELECT current_setting('joulebook.edited_mark_to')::timestamptz[]),
            (SELECT current_setting('joulebook.edited_mark_series')::int4[]))
    AS changed (begins_at, ends_at, series_id);
GRANT USAGE ON SCHEMA edited TO joulebook_reader;
GRANT SELECT ON edited.readings, edited.rollup_dirty TO joulebook_reader;
"""


class Migration(migrations.Migration):
    dependencies = (("readings", "0010_series_texts"),)
    operations = (
        migrations.RunSQL(CORRECTIONS, "DROP TABLE IF EXISTS corrections"),
        migrations.RunSQL(ORIGINALS, "DROP TABLE IF EXISTS corrected_readings"),
        migrations.RunSQL(STEPS, "DROP TABLE IF EXISTS correction_steps"),
        migrations.RunSQL(EDITED, "DROP SCHEMA IF EXISTS edited CASCADE"),
    )
