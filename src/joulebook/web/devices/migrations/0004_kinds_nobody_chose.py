from django.apps.registry import Apps
from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor


def forget(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:  # noqa: ARG001
    """Let kinds be guessed that were only the column's default, and so said by nobody."""
    apps.get_model("devices", "Metric").objects.filter(kind="gauge").update(kind="")


def restore(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:  # noqa: ARG001
    apps.get_model("devices", "Metric").objects.filter(kind="").update(kind="gauge")


class Migration(migrations.Migration):
    dependencies = [("devices", "0003_metric_meanings")]

    operations = [migrations.RunPython(forget, restore)]
