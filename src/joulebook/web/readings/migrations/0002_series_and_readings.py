"""Create series and the hypertable of readings, and say who may do what with them."""

from __future__ import annotations

from django.db import migrations, models

SERIES = """
CREATE TABLE IF NOT EXISTS series (
    id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    device_id text NOT NULL,
    metric text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (device_id, metric)
);
GRANT SELECT ON series TO joulebook_reader;
GRANT SELECT, INSERT ON series TO joulebook_writer;
"""
# The columns' order packs a row into 24 bytes. No foreign key: on a hypertable it costs a look-up a
# row and can deadlock when a chunk is created; series are never deleted while they have readings.
READINGS = """
CREATE TABLE IF NOT EXISTS readings (
    time timestamptz NOT NULL,
    value float8 NOT NULL,
    series_id int NOT NULL,
    import_id int NOT NULL DEFAULT 0,
    PRIMARY KEY (series_id, time)
);
SELECT create_hypertable(
    'readings', by_range('time', INTERVAL '7 days'), create_default_indexes => false, if_not_exists => true);
GRANT SELECT ON readings TO joulebook_reader;
GRANT SELECT, INSERT ON readings TO joulebook_writer;
"""


class Migration(migrations.Migration):
    dependencies = (("readings", "0001_roles"),)
    operations = (
        migrations.RunSQL(SERIES, "DROP TABLE IF EXISTS series"),
        migrations.RunSQL(READINGS, "DROP TABLE IF EXISTS readings"),
        migrations.CreateModel(
            name="Series",
            fields=[
                ("id", models.IntegerField(primary_key=True, serialize=False)),
                ("device_id", models.TextField()),
                ("metric", models.TextField()),
                ("created_at", models.DateTimeField()),
            ],
            options={"db_table": "series", "managed": False, "verbose_name_plural": "series"},
        ),
        migrations.CreateModel(
            name="Reading",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "series_id", "time", blank=True, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("time", models.DateTimeField()),
                ("value", models.FloatField()),
                ("import_id", models.IntegerField()),
                (
                    "series",
                    models.ForeignKey(
                        on_delete=models.deletion.DO_NOTHING, related_name="readings", to="readings.series"
                    ),
                ),
            ],
            options={"db_table": "readings", "managed": False},
        ),
    )
