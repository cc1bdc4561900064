"""Create the rollups of readings, and what keeps them true: what is closed, and what has changed since."""

from __future__ import annotations

from django.db import migrations

# One row sums up the readings of one series in one UTC bucket; `joulebook.telemetry.rollups.summaries`
# says what each column holds. No foreign key, as for readings. The index on `bucket` alone finds the
# rows of a window whatever their series, when a window is rolled up again.
ROLLUP = """
CREATE TABLE IF NOT EXISTS {table} (
    bucket timestamptz NOT NULL,
    first_at timestamptz NOT NULL,
    last_at timestamptz NOT NULL,
    count int8 NOT NULL,
    sum float8 NOT NULL,
    min float8 NOT NULL,
    max float8 NOT NULL,
    first float8 NOT NULL,
    last float8 NOT NULL,
    increase float8 NOT NULL,
    first_peak float8 NOT NULL,
    last_peak float8 NOT NULL,
    integral float8 NOT NULL,
    longest_gap int8 NOT NULL,
    series_id int NOT NULL,
    resets int NOT NULL,
    PRIMARY KEY (series_id, bucket)
);
SELECT create_hypertable(
    '{table}', by_range('bucket', INTERVAL '{chunk}'), create_default_indexes => true, if_not_exists => true);
GRANT SELECT ON {table} TO joulebook_reader;
GRANT SELECT, INSERT, DELETE ON {table} TO joulebook_writer;
"""
ROLLUPS = {"readings_1m": "28 days", "readings_5m": "84 days", "readings_1h": "364 days"}

# Readings before `closed_until` have been rolled up, or a row of `rollup_dirty` says which have not:
# those of [begins_at, ends_at) of a series, or of every series where `series_id` is null. There is no
# unique index on it, so that writers never wait for each other. What was stored before this migration
# is one such row: it is rolled up in the background, and read from `readings` until then.
STATE = """
CREATE TABLE IF NOT EXISTS rollup_state (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    closed_until timestamptz NOT NULL
);
CREATE TABLE IF NOT EXISTS rollup_dirty (
    begins_at timestamptz NOT NULL,
    ends_at timestamptz NOT NULL,
    series_id int,
    CHECK (begins_at < ends_at)
);
GRANT SELECT ON rollup_state, rollup_dirty TO joulebook_reader;
GRANT SELECT, UPDATE ON rollup_state TO joulebook_writer;
GRANT SELECT, INSERT, DELETE ON rollup_dirty TO joulebook_writer;
INSERT INTO rollup_state (closed_until) VALUES (date_trunc('minute', now())) ON CONFLICT DO NOTHING;
INSERT INTO rollup_dirty (begins_at, ends_at, series_id)
SELECT date_bin('1 hour', min(range_start), TIMESTAMPTZ 'epoch'), max(closed_until), NULL
FROM rollup_state CROSS JOIN timescaledb_information.chunks
WHERE hypertable_schema = 'public' AND hypertable_name = 'readings'
HAVING min(range_start) < max(closed_until);
"""
DROP_STATE = "DROP TABLE IF EXISTS rollup_dirty, rollup_state"

# A writer's first statement. The lock is shared by writers and makes the one who closes a window wait
# for those in flight; a statement of its own then sees what was closed before the lock was given.
BEGIN_WRITING = """
CREATE OR REPLACE FUNCTION begin_writing() RETURNS timestamptz LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock_shared(7406001);
    RETURN (SELECT closed_until FROM rollup_state);
END $$;
CREATE OR REPLACE FUNCTION begin_writing_from(oldest timestamptz) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF begin_writing() > oldest THEN
        RAISE EXCEPTION 'readings from % on are rolled up already', oldest USING ERRCODE = 'JB001';
    END IF;
END $$;
REVOKE ALL ON FUNCTION begin_writing(), begin_writing_from(timestamptz) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION begin_writing(), begin_writing_from(timestamptz) TO joulebook_writer;
"""
DROP_BEGIN_WRITING = "DROP FUNCTION IF EXISTS begin_writing_from(timestamptz), begin_writing()"


class Migration(migrations.Migration):
    dependencies = (("readings", "0003_writer_replaces"),)
    operations = (
        *(
            migrations.RunSQL(ROLLUP.format(table=table, chunk=chunk), f"DROP TABLE IF EXISTS {table}")
            for table, chunk in ROLLUPS.items()
        ),
        migrations.RunSQL(STATE, DROP_STATE),
        migrations.RunSQL(BEGIN_WRITING, DROP_BEGIN_WRITING),
    )
