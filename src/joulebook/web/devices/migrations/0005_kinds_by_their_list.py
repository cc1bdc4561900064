from django.db import migrations, models

import joulebook.telemetry.kinds.kinds


class Migration(migrations.Migration):
    dependencies = [("devices", "0004_kinds_nobody_chose")]

    operations = [
        migrations.AlterField(
            model_name="metric",
            name="kind",
            field=models.CharField(
                blank=True, choices=joulebook.telemetry.kinds.kinds.kind_choices, default="", max_length=8
            ),
        ),
    ]
