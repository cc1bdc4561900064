"""Series and readings as unmanaged models: Django reads them, and never writes them."""

from __future__ import annotations

from django.db import models


class Series(models.Model):
    """One metric of one device over time."""

    id = models.IntegerField(primary_key=True)
    device_id = models.TextField()
    metric = models.TextField()
    created_at = models.DateTimeField()
    form = models.SmallIntegerField(default=0)
    unit = models.TextField(default="")
    refused_unit = models.TextField(default="")

    class Meta:
        managed = False
        db_table = "series"
        verbose_name_plural = "series"

    def __str__(self) -> str:
        return f"{self.device_id} {self.metric}"


class _Readings(models.Manager["Reading"]):
    """The readings without the deleted ones, whose rows have the value NaN."""

    def get_queryset(self) -> models.QuerySet[Reading]:
        return super().get_queryset().exclude(value=float("nan"))


class Reading(models.Model):
    """One value of one series at one instant; `import_id` is below zero if it was corrected."""

    pk = models.CompositePrimaryKey("series_id", "time")
    time = models.DateTimeField()
    value = models.FloatField()
    series = models.ForeignKey(Series, on_delete=models.DO_NOTHING, related_name="readings")
    import_id = models.IntegerField()

    objects = _Readings()

    class Meta:
        managed = False
        db_table = "readings"

    def __str__(self) -> str:
        return f"{self.series_id} {self.time:%Y-%m-%d %H:%M:%S} {self.value}"
