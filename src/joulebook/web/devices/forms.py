"""The forms of a device's settings: the device itself, a metric, a meter's replacement, a share."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Any

from django import forms
from django.core.exceptions import ValidationError

from joulebook.telemetry.kinds.guesses import guess_kind, guess_unit
from joulebook.telemetry.kinds.kinds import kind_choices
from joulebook.telemetry.kinds.settings import DIP_TOLERANCE, metric_label
from joulebook.time_zones import ZoneInfo
from joulebook.web.accounts.forms import time_zone_choices
from joulebook.web.devices.models import (
    LARGEST_DIP,
    LONGEST_SILENCE,
    SHORTEST_SILENCE,
    Device,
    MeterReplacement,
    Metric,
    validate_factor,
)
from joulebook.web.display import format_duration, read_duration

_PERCENT = 100


class _Numbers(forms.FloatField):
    """A number of any size with a point or a comma: browsers use their user's language."""

    widget = forms.TextInput(attrs={"inputmode": "decimal", "autocomplete": "off"})

    def to_python(self, value: Any) -> float | None:  # type: ignore[override]
        """Return the number. Raises Django's ValidationError."""
        text = str(value or "").strip().replace("\u202f", "").replace("\u2212", "-")
        if text.count(",") == 1 and "." not in text:
            text = text.replace(",", ".")
        try:
            number = super().to_python(text)
        except ValidationError:
            number = math.nan
        if number is not None and not math.isfinite(number):
            raise ValidationError(f"{text[:40]!r} is no number; write it like 18342.5")
        return number


class _PlainForm(forms.Form):
    """A form with labels without a colon."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.label_suffix = ""


class DeviceForm(forms.ModelForm[Device]):
    """The owner's settings of a device."""

    time_zone = forms.ChoiceField(
        help_text="Where the device stands: its days begin at this zone's midnight."
    )
    silence_limit = forms.CharField(
        label="Silent after",
        required=False,
        max_length=40,
        widget=forms.TextInput(attrs={"placeholder": "by default", "autocomplete": "off"}),
        help_text="Without a reading for longer than this, such as 90 s, 15 min or 2 h, the device counts as "
        "silent, and a counter's increase is not spread over the gap. By default: 5 min, or three of the "
        "readings' usual distances where that is longer.",
    )

    class Meta:
        model = Device
        fields = ("name", "time_zone", "time_without_offset", "silence_limit")
        labels = {"time_without_offset": "A time without an offset is"}
        help_texts = {
            "name": "Shown in place of the id.",
            "time_without_offset": "What 2026-11-21T09:30:00 means in the device's packets, without Z or "
            "+01:00. In autumn's doubled hour, the time nearer to the packet's arrival counts.",
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.label_suffix = ""
        field = self.fields["time_zone"]
        assert isinstance(field, forms.ChoiceField)  # noqa: S101 - declared above
        field.choices = time_zone_choices(self.instance.time_zone)
        seconds = self.instance.silence_limit
        self.initial["silence_limit"] = "" if seconds is None else format_duration(seconds)

    def clean_silence_limit(self) -> int | None:
        """Return whole seconds, or None for the default."""
        text = self.cleaned_data["silence_limit"]
        if not text:
            return None
        try:
            seconds = read_duration(text)
        except ValueError as exc:
            raise ValidationError(str(exc)) from None
        if not SHORTEST_SILENCE <= seconds <= LONGEST_SILENCE:
            longest = format_duration(LONGEST_SILENCE)
            raise ValidationError(f"{text.strip()} is not from {SHORTEST_SILENCE} s to {longest}")
        return seconds


class MetricForm(_PlainForm):
    """The owner's settings of a metric. An empty field is guessed; the form shows the guess and why."""

    display_name = forms.CharField(label="Name", required=False, max_length=150)
    unit = forms.CharField(
        required=False,
        max_length=32,
        widget=forms.TextInput(attrs={"list": "units", "autocomplete": "off", "spellcheck": "false"}),
    )
    kind = forms.ChoiceField(required=False, widget=forms.RadioSelect)
    factor = _Numbers(
        validators=[validate_factor],
        help_text="What the device sends, times this, is shown: 0.001 for one that sends Wh if you want kWh, "
        "−1 for a sensor that was mounted the wrong way round. Stored readings stay as they are.",
    )
    dip_tolerance = _Numbers(
        label="Dip that is no reset, in %",
        required=False,
        min_value=0,
        max_value=LARGEST_DIP * _PERCENT,
        help_text="For counters: a register that goes back by less than this has only been read wrongly; "
        f"by more, it began anew. By default {DIP_TOLERANCE * _PERCENT:.0f} %.",
    )

    def __init__(self, *args: Any, metric: Metric, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        dip = metric.dip_tolerance
        self.initial = {
            "display_name": metric.display_name,
            "unit": metric.unit,
            "kind": metric.kind,
            "factor": f"{metric.factor:.12g}",
            "dip_tolerance": "" if dip is None else f"{dip * _PERCENT:.12g}",
        }
        # Empty fields show the guess as their placeholder.
        self.fields["display_name"].widget.attrs["placeholder"] = metric_label(metric.name)
        self.fields["dip_tolerance"].widget.attrs["placeholder"] = f"{DIP_TOLERANCE * _PERCENT:.0f}"
        unit, guess = guess_unit(metric.name), guess_kind(metric.name)
        self.fields["unit"].widget.attrs["placeholder"] = unit
        said = (
            f"Empty: {unit}, guessed from the name." if unit else "Empty: none, for the name does not tell."
        )
        self.fields["unit"].help_text = f"Of values as they are shown. {said}"
        field = self.fields["kind"]
        assert isinstance(field, forms.ChoiceField)  # noqa: S101 - declared above
        field.choices = [("", f"guessed: {guess.kind} ({guess.why})"), *kind_choices()]

    def changes(self) -> dict[str, Any]:
        """Return the entered settings with the table's values."""
        dip = self.cleaned_data["dip_tolerance"]
        return {**self.cleaned_data, "dip_tolerance": None if dip is None else dip / _PERCENT}


class ReplacementForm(_PlainForm):
    """A replacement of a counter's meter, by the clock in the device's zone."""

    replaced_at = forms.CharField(
        label="Replaced at",
        max_length=40,
        widget=forms.DateTimeInput(attrs={"type": "datetime-local", "step": "1"}),
    )
    final_register = _Numbers(
        label="Old meter's last register",
        required=False,
        help_text="Empty: where its last reading stood.",
    )
    start_register = _Numbers(
        label="New meter's first register",
        required=False,
        help_text="Empty: where its first reading stood.",
    )
    note = forms.CharField(required=False, max_length=200)

    def __init__(self, *args: Any, tz: str, unit: str = "", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._tz = tz
        self.fields["replaced_at"].help_text = f"By the clock in {tz}."
        for name in ("final_register", "start_register"):
            if unit:
                self.fields[name].label = f"{self.fields[name].label}, in {unit}"

    def clean_replaced_at(self) -> datetime:
        """Return the instant; in a doubled hour its first pass."""
        text = self.cleaned_data["replaced_at"]
        try:
            local = datetime.fromisoformat(text)
        except ValueError:
            raise ValidationError(f"{text!r} is no date and time such as 2026-03-01 14:30") from None
        tz = local.tzinfo or ZoneInfo(self._tz)
        try:
            instant = local.replace(tzinfo=tz).astimezone(UTC)
            is_skipped = instant.astimezone(tz).replace(tzinfo=None) != local.replace(tzinfo=None)
        except OverflowError:
            raise ValidationError(f"{text!r} is out of reach") from None
        if is_skipped:
            raise ValidationError(f"{local:%d %b %Y, %H:%M} was skipped in {self._tz}: clocks went forward")
        return instant

    def replacement(self) -> MeterReplacement:
        """Return the entered replacement, not stored yet."""
        return MeterReplacement(**self.cleaned_data)


class ShareForm(_PlainForm):
    """A new share of the device."""

    user_name = forms.CharField(
        label="User name",
        max_length=150,
        widget=forms.TextInput(
            attrs={"autocomplete": "off", "autocapitalize": "none", "spellcheck": "false"}
        ),
        help_text="They see its readings and change nothing.",
    )
