"""Keep the texts of series whose readings are text: a reading's value is the code of its text."""

from __future__ import annotations

from django.db import migrations

# A text keeps its code for ever: readings refer to it. Codes of a series are 1, 2, …: the largest one tells
# whether the series has as many texts as it may.
SERIES_TEXTS = """
CREATE TABLE IF NOT EXISTS series_texts (
    series_id int NOT NULL,
    code int NOT NULL,
    text text NOT NULL,
    PRIMARY KEY (series_id, code),
    UNIQUE (series_id, text)
);
GRANT SELECT ON series_texts TO joulebook_reader;
GRANT SELECT, INSERT ON series_texts TO joulebook_writer;
"""


class Migration(migrations.Migration):
    dependencies = (("readings", "0009_what_senders_say"),)
    operations = (migrations.RunSQL(SERIES_TEXTS, "DROP TABLE IF EXISTS series_texts"),)
