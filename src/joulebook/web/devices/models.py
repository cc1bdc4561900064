"""Devices, their owners and shares, the meaning of their metrics, and their tokens."""

from __future__ import annotations

import math
import re

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator, RegexValidator
from django.db import models
from django.utils import timezone

from joulebook.telemetry.kinds.guesses import guess_kind
from joulebook.telemetry.kinds.kinds import KINDS, kind_choices
from joulebook.telemetry.readings import (
    LARGEST_VALUE,
    METRIC_NAME_LENGTH,
    device_id_problem,
    metric_name_problem,
)
from joulebook.web.time_zones import validate_time_zone
from joulebook.web.tokens import Token


def validate_device_id(device_id: str) -> None:
    """Raise Django's ValidationError unless the id is allowed for a device."""
    if problem := device_id_problem(device_id):
        raise ValidationError(problem)


def validate_metric_name(metric: str) -> None:
    """Raise Django's ValidationError unless the name is allowed for a metric."""
    if problem := metric_name_problem(metric):
        raise ValidationError(problem)


def validate_factor(factor: float) -> None:
    """Raise Django's ValidationError unless values can be multiplied by the factor, and divided again."""
    if not math.isfinite(factor) or not 1e-12 <= abs(factor) <= 1e12:
        raise ValidationError(f"factor {factor:g} must not be 0, and its size be from 1e-12 to 1e12")


def validate_register(value: float) -> None:
    """Raise Django's ValidationError unless a meter's register can stand at the value."""
    if not math.isfinite(value) or abs(value) > LARGEST_VALUE:
        raise ValidationError(f"{value:g} is no number that a register can show")


def validate_unit(unit: str) -> None:
    """Raise Django's ValidationError for a unit with unprintable characters."""
    if not unit.isprintable():
        raise ValidationError("a unit must not hold control characters")


def validate_positive(value: float) -> None:
    """Raise Django's ValidationError unless the value is above 0 and a register can show it."""
    if not 0 < value <= LARGEST_VALUE:
        raise ValidationError(f"{value:g} must be above 0, and a register must be able to show it")


_COLOUR = re.compile(r"#[0-9a-f]{6}")
_WORD_TYPES = {"value": (int, float), "word": (str,), "colour": (str,), "text": (str,)}
LONGEST_WORD = 80
LONGEST_TEXT = 1000
MOST_WORDS = 200


def validate_words(words: object) -> None:
    """Raise Django's ValidationError unless these are words and colours of a state's values.

    Each is an object with `value`, `word`, `colour` and `text` (see `StateWord`), for another value or text
    than the others.
    """
    if not isinstance(words, list) or len(words) > MOST_WORDS:
        raise ValidationError(f"words must be a list of at most {MOST_WORDS}")
    seen = set()
    for each in words:
        if not isinstance(each, dict) or each.keys() != _WORD_TYPES.keys():
            raise ValidationError(f"{str(each)[:80]} must have {', '.join(_WORD_TYPES)}")
        for name, types in _WORD_TYPES.items():
            if not isinstance(each[name], types) or isinstance(each[name], bool):
                raise ValidationError(f"{name} {str(each[name])[:80]!r} must be a {types[-1].__name__}")
        value, word, text = each["value"], each["word"], each["text"]
        if not math.isfinite(value) or abs(value) > LARGEST_VALUE:
            raise ValidationError(f"value {value:g} is no number that a reading can have")
        if len(word) > LONGEST_WORD or not word.isprintable():
            raise ValidationError(f"word {word[:40]!r} must be {LONGEST_WORD} printable characters at most")
        if len(text) > LONGEST_TEXT or "\x00" in text:
            raise ValidationError(f"text {text[:40]!r} must be {LONGEST_TEXT} characters at most")
        if each["colour"] and not _COLOUR.fullmatch(each["colour"]):
            raise ValidationError(f"colour {each['colour'][:40]!r} must be written like #1f77b4")
        if (value, text) in seen:
            raise ValidationError(
                f"{text[:40]!r} has two words" if text else f"value {value:g} has two words"
            )
        seen.add((value, text))


LINE_UNIT = "auto|none|measurement|tag:.+"
"""The rules of a token for the units of lines, as a pattern."""

LONGEST_SILENCE = 400 * 86_400
SHORTEST_SILENCE = 1
LARGEST_DIP = 0.99


class TimeWithoutOffset(models.TextChoices):
    """What a sent time without an offset means."""

    REFUSE = "refuse", "refused"
    UTC = "utc", "a time in UTC"
    DEVICE_ZONE = "device_zone", "a time in the device's zone"


class Device(models.Model):
    """A sender of readings: a meter, an inverter, a battery, a sensor."""

    device_id = models.CharField(
        "device id",
        max_length=64,
        unique=True,
        validators=[validate_device_id],
        help_text="As it stands in addresses: letters, digits and . _ : - (cannot be changed later).",
    )
    name = models.CharField(max_length=150, blank=True, help_text="Shown to people; the id where empty.")
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="devices")
    time_zone = models.CharField(
        max_length=64,
        default="UTC",
        validators=[validate_time_zone],
        help_text="Where the device stands: its days begin at this zone's midnight.",
    )
    silence_limit = models.PositiveIntegerField(
        null=True,
        blank=True,
        validators=[MinValueValidator(SHORTEST_SILENCE), MaxValueValidator(LONGEST_SILENCE)],
        help_text="Seconds without a reading after which the device counts as silent; "
        "empty: five minutes, or three of its usual distances where that is longer.",
    )
    time_without_offset = models.CharField(
        max_length=16,
        choices=TimeWithoutOffset.choices,
        default=TimeWithoutOffset.REFUSE,
        help_text="What a sent time without Z or an offset from UTC means.",
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        ordering = ("name", "device_id")

    def __str__(self) -> str:
        return self.name or self.device_id


class DeviceShare(models.Model):
    """Lets another user than its owner see a device."""

    device = models.ForeignKey(Device, on_delete=models.CASCADE, related_name="shares")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="device_shares")
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=("device", "user"), name="one_share_a_device_and_user"),
        )

    def __str__(self) -> str:
        return f"{self.device} to {self.user}"


class Metric(models.Model):
    """The owner's settings of a metric; stored readings do not depend on them.

    An empty unit, kind or display name is guessed from the metric's name: see `metric_settings`.
    """

    device = models.ForeignKey(Device, on_delete=models.CASCADE, related_name="metrics")
    name = models.CharField(max_length=METRIC_NAME_LENGTH, validators=[validate_metric_name])
    display_name = models.CharField(max_length=150, blank=True)
    unit = models.CharField(
        max_length=32, blank=True, validators=[validate_unit], help_text="Of values as they are shown."
    )
    settled_unit = models.CharField(
        max_length=32,
        blank=True,
        default="",
        editable=False,
        help_text="The unit of a conflict that the owner has settled by setting `unit`.",
    )
    kind = models.CharField(max_length=8, choices=kind_choices, blank=True, default="")
    factor = models.FloatField(
        default=1.0,
        validators=[validate_factor],
        help_text="What the device sends, times this, is shown: 0.001 for Wh shown as kWh.",
    )
    dip_tolerance = models.FloatField(
        null=True,
        blank=True,
        validators=[MinValueValidator(0.0), MaxValueValidator(LARGEST_DIP)],
        help_text="Share by which a counter may go back without that being a reset; empty: a tenth.",
    )
    silence_limit = models.PositiveIntegerField(
        null=True,
        blank=True,
        validators=[MinValueValidator(SHORTEST_SILENCE), MaxValueValidator(LONGEST_SILENCE)],
        help_text="Seconds between two readings up to which the time between them is known; "
        "empty: as the device.",
    )
    holds_until_next = models.BooleanField(
        default=False, help_text="A gauge's reading holds until the next one: means are over time."
    )
    covers_before = models.BooleanField(
        default=False, help_text="An amount belongs to the interval before its time, not after it."
    )
    resets_daily = models.BooleanField(
        default=False, help_text="A counter begins anew at midnight in the device's zone."
    )
    rolls_over_at = models.FloatField(
        null=True,
        blank=True,
        validators=[validate_positive],
        help_text="The number at which a counter continues at zero, in the shown unit.",
    )
    runs_both_ways = models.BooleanField(default=False, help_text="A counter falls too: a net register.")
    greatest_rise = models.FloatField(
        null=True,
        blank=True,
        validators=[validate_positive],
        help_text="The greatest believed rise of a counter in an hour, in the shown unit.",
    )
    spreads = models.BooleanField(
        default=False, help_text="A counter's rise over several days is spread evenly over its time."
    )
    words = models.JSONField(
        default=list,
        blank=True,
        validators=[validate_words],
        help_text="Words and colours of a state's values.",
    )

    class Meta:
        ordering = ("name",)
        constraints = (models.UniqueConstraint(fields=("device", "name"), name="one_metric_a_name"),)

    def __str__(self) -> str:
        return self.display_name or self.name

    def clean(self) -> None:
        """Refuse a negative factor of a counter: its growing register would fall. A net register may."""
        kind = KINDS.get(self.kind) if self.kind else guess_kind(self.name).kind
        if kind is not None and kind.is_register and self.factor < 0 and not self.runs_both_ways:
            raise ValidationError({"factor": f"a {kind}'s factor must be above 0, for a {kind} only grows"})


class MeterReplacement(models.Model):
    """A replacement of the meter behind a counter, with both registers at that instant.

    Registers are in the metric's shown unit: after the factor.
    """

    metric = models.ForeignKey(Metric, on_delete=models.CASCADE, related_name="replacements")
    replaced_at = models.DateTimeField()
    final_register = models.FloatField(
        null=True,
        blank=True,
        validators=[validate_register],
        help_text="Where the old meter stood; empty: at its last reading.",
    )
    start_register = models.FloatField(
        null=True,
        blank=True,
        validators=[validate_register],
        help_text="Where the new meter began; empty: at its first reading.",
    )
    note = models.CharField(max_length=200, blank=True)
    entered_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, editable=False, related_name="+"
    )
    entered_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        ordering = ("replaced_at",)
        constraints = (
            models.UniqueConstraint(fields=("metric", "replaced_at"), name="one_replacement_an_instant"),
        )

    def __str__(self) -> str:
        return f"{self.metric} at {self.replaced_at.isoformat()}"


class MetricDecision(models.Model):
    """The owner's answer to a suspicious reading of a counter at `time`: ignore it, or it is real."""

    metric = models.ForeignKey(Metric, on_delete=models.CASCADE, related_name="decisions")
    time = models.DateTimeField()
    is_ignored = models.BooleanField()
    by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, editable=False, related_name="+"
    )
    at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        ordering = ("time",)
        constraints = (models.UniqueConstraint(fields=("metric", "time"), name="one_decision_an_instant"),)

    def __str__(self) -> str:
        return f"{self.metric} at {self.time.isoformat()}: {'ignored' if self.is_ignored else 'real'}"


class SenderToken(Token):
    """A token for writing, with the places of time, device and readings in the packets sent with it.

    The places are names of fields, joined by dots; empty ones leave them to the packet. `line_unit` is where
    lines of the line protocol name their unit; empty: the installation's rule.
    """

    time_field = models.CharField(max_length=200, blank=True, default="")
    device_field = models.CharField(max_length=200, blank=True, default="")
    values_field = models.CharField(max_length=200, blank=True, default="")
    line_unit = models.CharField(
        max_length=200, blank=True, default="", validators=[RegexValidator(rf"\A({LINE_UNIT})\Z")]
    )

    class Meta:
        abstract = True


class DeviceToken(SenderToken):
    """Lets a device write its own readings, and nothing else."""

    device = models.ForeignKey(Device, on_delete=models.CASCADE, related_name="tokens")


class GatewayToken(SenderToken):
    """Lets a gateway write for several devices of one owner; each packet has its device's id."""

    name = models.CharField(max_length=150, blank=True)
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="gateway_tokens"
    )
    devices = models.ManyToManyField(Device, related_name="gateway_tokens", blank=True)
