"""Note from when on readings and rollups are kept, and let the writer drop what is older, and no more."""

from __future__ import annotations

from django.db import migrations

# Nothing is written or removed before `writable_from`: who holds the writers' lock shared may rely on
# it. Before the others readings and rollups may be gone. All only move forward. The moment of the last
# move tells whether a query that saw the former instants may still be under way.
KEPT_FROM = """
ALTER TABLE rollup_state
    ADD COLUMN IF NOT EXISTS writable_from timestamptz NOT NULL DEFAULT 'epoch',
    ADD COLUMN IF NOT EXISTS readings_kept_from timestamptz NOT NULL DEFAULT 'epoch',
    ADD COLUMN IF NOT EXISTS readings_1m_kept_from timestamptz NOT NULL DEFAULT 'epoch',
    ADD COLUMN IF NOT EXISTS readings_5m_kept_from timestamptz NOT NULL DEFAULT 'epoch',
    ADD COLUMN IF NOT EXISTS readings_1h_kept_from timestamptz NOT NULL DEFAULT 'epoch',
    ADD COLUMN IF NOT EXISTS kept_from_moved_at timestamptz NOT NULL DEFAULT 'epoch';
"""
FORGET_KEPT_FROM = """
ALTER TABLE rollup_state
    DROP COLUMN IF EXISTS writable_from,
    DROP COLUMN IF EXISTS readings_kept_from,
    DROP COLUMN IF EXISTS readings_1m_kept_from,
    DROP COLUMN IF EXISTS readings_5m_kept_from,
    DROP COLUMN IF EXISTS readings_1h_kept_from,
    DROP COLUMN IF EXISTS kept_from_moved_at;
"""

# Only a chunk's owner may drop it. The writer borrows that right here, for four tables by name and for
# chunks that lie before what is kept as a whole; `drop_chunks` takes no others.
DROP_CHUNKS = """
CREATE OR REPLACE FUNCTION drop_chunks_not_kept(of_table text, before timestamptz) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    kept_from timestamptz;
BEGIN
    SELECT CASE of_table
        WHEN 'readings' THEN readings_kept_from
        WHEN 'readings_1m' THEN readings_1m_kept_from
        WHEN 'readings_5m' THEN readings_5m_kept_from
        WHEN 'readings_1h' THEN readings_1h_kept_from
    END INTO kept_from FROM public.rollup_state;
    IF kept_from IS NULL OR before IS NULL THEN
        RAISE EXCEPTION 'no chunks of % are dropped here', of_table USING ERRCODE = 'invalid_parameter_value';
    END IF;
    RETURN (
        SELECT count(*) FROM drop_chunks(
            format('public.%I', of_table)::regclass, older_than => LEAST(before, kept_from)));
END $$;
REVOKE ALL ON FUNCTION drop_chunks_not_kept(text, timestamptz) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION drop_chunks_not_kept(text, timestamptz) TO joulebook_writer;
"""


class Migration(migrations.Migration):
    dependencies = (("readings", "0004_rollups"),)
    operations = (
        migrations.RunSQL(KEPT_FROM, FORGET_KEPT_FROM),
        migrations.RunSQL(DROP_CHUNKS, "DROP FUNCTION IF EXISTS drop_chunks_not_kept(text, timestamptz)"),
    )
