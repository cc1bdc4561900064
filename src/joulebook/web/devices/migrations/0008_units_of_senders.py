"""Keep which conflict of units an owner has settled, and where a token's lines name their unit."""

from django.core.validators import RegexValidator
from django.db import migrations, models

LINE_UNIT = models.CharField(
    blank=True,
    default="",
    max_length=200,
    validators=[RegexValidator("\\A(auto|none|measurement|tag:.+)\\Z")],
)


class Migration(migrations.Migration):
    dependencies = (("devices", "0007_fields_of_packets"),)
    operations = (
        migrations.AddField(
            "metric",
            "settled_unit",
            models.CharField(
                blank=True,
                default="",
                editable=False,
                help_text="The unit of a conflict that the owner has settled by setting `unit`.",
                max_length=32,
            ),
        ),
        migrations.AddField("devicetoken", "line_unit", LINE_UNIT),
        migrations.AddField("gatewaytoken", "line_unit", LINE_UNIT),
    )
