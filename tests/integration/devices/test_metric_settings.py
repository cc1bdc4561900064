"""What the metrics of a device mean, read from `default` alone: any statement to telemetry is an error."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from django.core.exceptions import ValidationError
from django.db import connections
from django.db.migrations.executor import MigrationExecutor
from django.db.utils import load_backend

from joulebook.telemetry.kinds.kinds import COUNTER
from joulebook.telemetry.kinds.settings import MetricSettings, Replacement
from joulebook.web.databases import database_from_url
from joulebook.web.devices.models import MeterReplacement, Metric
from joulebook.web.devices.operations import create_device, set_first_meaning
from joulebook.web.devices.queries import metric_settings, settings_by_device

SPRING = datetime(2026, 3, 1, 12, tzinfo=UTC)


def test_a_metric_that_nobody_configured_is_guessed_by_its_name(device):
    settings = metric_settings(device, {})
    assert settings["grid.energy"] == MetricSettings(
        name="grid.energy", kind=COUNTER, unit="kWh", display_name="Grid energy"
    )
    assert settings["grid.energy"].kind_guessed
    assert settings["grid.energy"].unit_guessed
    assert (settings["grid.energy"].factor, settings["grid.energy"].dip_tolerance) == (1.0, 0.1)
    assert list(settings) == []


def test_what_the_owner_said_holds_and_the_rest_is_guessed(device):
    Metric.objects.create(device=device, name="energy", unit="Wh", factor=0.5, dip_tolerance=0.02)
    settings = metric_settings(device, {})["energy"]
    assert (settings.unit, settings.unit_guessed) == ("Wh", False)
    assert (settings.kind, settings.kind_guessed) == (COUNTER, True)
    assert (settings.factor, settings.dip_tolerance, settings.dip_tolerance_guessed) == (0.5, 0.02, False)
    assert (settings.display_name, settings.display_name_guessed) == ("Energy", True)


def test_naming_a_unit_does_not_settle_the_kind(device):
    set_first_meaning(device, "import_register", unit="kWh", kind="")
    settings = metric_settings(device, {})["import_register"]
    assert (settings.kind, settings.kind_guessed, settings.unit) == (COUNTER, True, "kWh")


def test_replacements_come_in_the_order_of_time(device):
    metric = Metric.objects.create(device=device, name="energy")
    for days, final, start in ((9, None, 3.5), (1, 900.0, 0.0)):
        MeterReplacement.objects.create(
            metric=metric,
            replaced_at=SPRING + timedelta(days=days),
            final_register=final,
            start_register=start,
        )
    assert metric_settings(device, {})["energy"].replacements == (
        Replacement(SPRING + timedelta(days=1), 900.0, 0.0),
        Replacement(SPRING + timedelta(days=9), None, 3.5),
    )


def test_many_devices_cost_the_same_two_statements(device, alice, django_assert_num_queries):
    others = [create_device(f"{device.device_id}-{number}", owner=alice) for number in range(5)]
    for owned in (device, *others):
        metric = Metric.objects.create(device=owned, name="energy", display_name=owned.device_id)
        MeterReplacement.objects.create(metric=metric, replaced_at=SPRING)
    ids = [owned.device_id for owned in (device, *others)]
    with django_assert_num_queries(2):
        found = settings_by_device([device, *others])
    assert [found[device_id]["energy"].display_name for device_id in ids] == ids
    assert all(len(found[device_id]["energy"].replacements) == 1 for device_id in ids)


def test_settings_can_stand_for_what_an_answer_depends_on(device):
    before = metric_settings(device, {})["energy"]
    assert hash(before) == hash(metric_settings(device, {})["energy"])
    Metric.objects.create(device=device, name="energy", factor=2)
    assert metric_settings(device, {})["energy"] != before


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("factor", 0.0),
        ("factor", float("nan")),
        ("factor", float("inf")),
        ("factor", 1e-300),
        ("dip_tolerance", -0.1),
        ("dip_tolerance", 1.0),
        ("kind", "meter"),
        ("unit", "W\x00"),
    ],
)
def test_what_cannot_be_computed_with_is_not_stored(device, field, value):
    with pytest.raises(ValidationError):
        Metric(device=device, name="energy", **{field: value}).full_clean()


@pytest.fixture
def accounts_of_its_own(tmp_path, django_db_blocker):
    """Another accounts database in place of the usual one, which going back to old tables would empty."""
    usual = connections["default"]
    settings = usual.settings_dict | database_from_url(f"sqlite:///{tmp_path}/old.sqlite3")
    connections["default"] = load_backend(settings["ENGINE"]).DatabaseWrapper(settings, "default")
    with django_db_blocker.unblock():
        yield connections["default"]
        connections["default"].close()
    connections["default"] = usual


def test_the_migration_forgets_kinds_that_nobody_chose_and_is_reversible(accounts_of_its_own):
    def migrate(name):
        executor = MigrationExecutor(accounts_of_its_own)
        executor.migrate([("devices", name)])
        return executor.loader.project_state([("devices", name)]).apps

    old = migrate("0002_gateway_tokens")
    owner = old.get_model("auth", "User").objects.create(username="alice")
    device = old.get_model("devices", "Device").objects.create(device_id="old_one", owner=owner)
    metrics = old.get_model("devices", "Metric").objects
    metrics.create(device=device, name="energy", unit="kWh")
    metrics.create(device=device, name="power", kind="state")
    new = migrate("0004_kinds_nobody_chose").get_model("devices", "Metric").objects
    assert dict(new.values_list("name", "kind")) == {"energy": "", "power": "state"}
    assert set(new.values_list("factor", flat=True)) == {1.0}
    old = migrate("0002_gateway_tokens").get_model("devices", "Metric").objects
    assert dict(old.values_list("name", "kind")) == {"energy": "gauge", "power": "state"}
