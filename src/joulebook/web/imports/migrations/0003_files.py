from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = (("imports", "0002_queue_and_undo"),)
    operations = (
        migrations.AddField(
            model_name="import",
            name="files",
            field=models.JSONField(blank=True, default=list),
        ),
    )
