"""Imports wait for a worker, are leased, cancelled and undone; import profiles are saved by name."""

import django.db.models.deletion
import django.utils.timezone
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("devices", "0004_kinds_nobody_chose"),
        ("imports", "0001_initial"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.AlterModelOptions(
            name="import",
            options={"ordering": ("-created_at", "-id")},
        ),
        migrations.AddField(
            model_name="import",
            name="attempts",
            field=models.PositiveSmallIntegerField(default=0),
        ),
        migrations.AddField(
            model_name="import",
            name="cells_replaced",
            field=models.BigIntegerField(default=0),
        ),
        migrations.AddField(
            model_name="import",
            name="columns",
            field=models.JSONField(default=list),
        ),
        migrations.AddField(
            model_name="import",
            name="devices",
            field=models.ManyToManyField(blank=True, related_name="all_imports", to="devices.device"),
        ),
        migrations.AddField(
            model_name="import",
            name="file_size",
            field=models.BigIntegerField(default=0, verbose_name="bytes of the file"),
        ),
        migrations.AddField(
            model_name="import",
            name="heartbeat_at",
            field=models.DateTimeField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name="import",
            name="is_cancelling",
            field=models.BooleanField(default=False),
        ),
        migrations.AddField(
            model_name="import",
            name="is_strict",
            field=models.BooleanField(default=False),
        ),
        migrations.AddField(
            model_name="import",
            name="lease",
            field=models.PositiveIntegerField(default=0),
        ),
        migrations.AddField(
            model_name="import",
            name="leased_by",
            field=models.CharField(blank=True, max_length=100),
        ),
        migrations.AddField(
            model_name="import",
            name="on_conflict",
            field=models.CharField(
                choices=[("keep", "Keep"), ("replace", "Replace")], default="keep", max_length=7
            ),
        ),
        migrations.AddField(
            model_name="import",
            name="queued_at",
            field=models.DateTimeField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name="import",
            name="report",
            field=models.JSONField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name="import",
            name="started_at",
            field=models.DateTimeField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name="import",
            name="undone_at",
            field=models.DateTimeField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name="import",
            name="undone_by",
            field=models.ForeignKey(
                blank=True,
                null=True,
                on_delete=django.db.models.deletion.SET_NULL,
                related_name="+",
                to=settings.AUTH_USER_MODEL,
            ),
        ),
        migrations.AddField(
            model_name="import",
            name="upload",
            field=models.CharField(blank=True, max_length=36),
        ),
        migrations.AlterField(
            model_name="import",
            name="device",
            field=models.ForeignKey(
                blank=True,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="imports",
                to="devices.device",
            ),
        ),
        migrations.AlterField(
            model_name="import",
            name="file_sha256",
            field=models.CharField(
                blank=True, db_index=True, max_length=64, verbose_name="SHA-256 of the file"
            ),
        ),
        migrations.AlterField(
            model_name="import",
            name="state",
            field=models.CharField(
                choices=[
                    ("draft", "Draft"),
                    ("queued", "Queued"),
                    ("running", "Running"),
                    ("done", "Done"),
                    ("refused", "Refused"),
                    ("failed", "Failed"),
                    ("cancelled", "Cancelled"),
                    ("undoing", "Undoing"),
                    ("undone", "Undone"),
                ],
                db_index=True,
                default="draft",
                max_length=9,
            ),
        ),
        migrations.CreateModel(
            name="SavedProfile",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("name", models.CharField(max_length=100)),
                ("profile", models.JSONField()),
                ("created_at", models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                (
                    "owner",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="import_profiles",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "ordering": ("name",),
                "constraints": [
                    models.UniqueConstraint(
                        fields=("owner", "name"), name="one_profile_of_a_name_for_each_owner"
                    )
                ],
            },
        ),
    ]
