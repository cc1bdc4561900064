"""The forms of a device's settings: the device itself, a metric, a meter's replacement, a share."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Any

from django import forms
from django.core.exceptions import ValidationError

from joulebook.telemetry.kinds.guesses import guess_kind, guess_unit
from joulebook.telemetry.kinds.kinds import Kind, kind_choices
from joulebook.telemetry.kinds.settings import DIP_TOLERANCE, metric_label
from joulebook.time_zones import ZoneInfo
from joulebook.web.accounts.forms import time_zone_choices
from joulebook.web.devices.models import (
    LARGEST_DIP,
    LONGEST_SILENCE,
    LONGEST_TEXT,
    LONGEST_WORD,
    MOST_WORDS,
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


class _Duration(forms.CharField):
    """Whole seconds, entered as 90 s, 15 min or 2 h; None if empty."""

    def __init__(self, **kwargs: Any) -> None:
        attrs = {"placeholder": kwargs.pop("placeholder"), "autocomplete": "off"}
        super().__init__(required=False, max_length=40, widget=forms.TextInput(attrs=attrs), **kwargs)

    def clean(self, value: Any) -> int | None:
        """Return the seconds. Raises Django's ValidationError."""
        text = super().clean(value)
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


class _OneOfTwo(forms.ChoiceField):
    """A choice between two sentences: the usual one, False, and the other one, True."""

    def __init__(self, usual: str, other: str, **kwargs: Any) -> None:
        super().__init__(choices=[("False", usual), ("True", other)], required=False, **kwargs)

    def clean(self, value: Any) -> bool:
        """Return whether it is the other one. Raises Django's ValidationError."""
        return bool(super().clean(value) == "True")


class DeviceForm(forms.ModelForm[Device]):
    """The owner's settings of a device."""

    time_zone = forms.ChoiceField(
        help_text="Where the device stands: its days begin at this zone's midnight."
    )
    silence_limit = _Duration(
        label="Silent after",
        placeholder="by default",
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
    silence_limit = _Duration(
        label="Unknown after",
        placeholder="as the device",
        help_text="If the next reading comes later than this, such as 90 s, 15 min or 2 h, nothing is known "
        "of the time between. Empty: as in the device's settings.",
    )
    holds_until_next = _OneOfTwo(
        "each reading counts the same",
        "a reading holds until the next one",
        label="Mean",
        help_text="The second is right for a sensor that reports only changes: its mean is over time.",
    )
    covers_before = _OneOfTwo(
        "after its time",
        "before its time",
        label="The interval of a reading lies",
        help_text="Is the reading of 00:00 the first quarter of an hour of the new day, or the last one of "
        "the day before?",
    )
    dip_tolerance = _Numbers(
        label="Dip that is no reset, in %",
        required=False,
        min_value=0,
        max_value=LARGEST_DIP * _PERCENT,
        help_text="A register that goes back by less than this has only been read wrongly; "
        f"by more, it began anew. By default {DIP_TOLERANCE * _PERCENT:.0f} %.",
    )
    resets_daily = _OneOfTwo(
        "goes on",
        "begins anew at zero",
        label="At midnight the register",
        help_text="Midnight is that of the device's zone.",
    )
    rolls_over_at = _Numbers(
        label="Rolls over at",
        required=False,
        help_text="The number for which the register has no digits: there it continues at zero, such as "
        "100000. Empty: it never does.",
    )
    runs_both_ways = _OneOfTwo(
        "only rises",
        "rises and falls",
        label="The register",
        help_text="The second is right for a net meter, which runs back while you feed in.",
    )
    greatest_rise = _Numbers(
        label="Greatest rise in an hour",
        required=False,
        help_text="A steeper rise counts for nothing until you confirm it. Empty: every rise is believed.",
    )
    spreads = _OneOfTwo(
        "in none of them",
        "spread evenly over its time",
        label="A rise over several days without readings is",
        help_text="The second is right for a meter that you read once a week.",
    )

    def __init__(self, *args: Any, metric: Metric, kind: Kind, unit: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        dip = metric.dip_tolerance
        numbers = {name: getattr(metric, name) for name in ("rolls_over_at", "greatest_rise")}
        self.initial = {
            **{name: getattr(metric, name) for name in _SAME},
            **{name: "" if number is None else f"{number:.12g}" for name, number in numbers.items()},
            "silence_limit": "" if metric.silence_limit is None else format_duration(metric.silence_limit),
            "factor": f"{metric.factor:.12g}",
            "dip_tolerance": "" if dip is None else f"{dip * _PERCENT:.12g}",
        }
        self._kind = kind
        # Empty fields show the guess as their placeholder.
        self.fields["display_name"].widget.attrs["placeholder"] = metric_label(metric.name)
        self.fields["dip_tolerance"].widget.attrs["placeholder"] = f"{DIP_TOLERANCE * _PERCENT:.0f}"
        guessed, guess = guess_unit(metric.name), guess_kind(metric.name)
        self.fields["unit"].widget.attrs["placeholder"] = guessed
        said = (
            f"Empty: {guessed}, guessed from the name."
            if guessed
            else "Empty: none, for the name does not tell."
        )
        self.fields["unit"].help_text = f"Of values as they are shown. {said}"
        for name, per in (("rolls_over_at", ""), ("greatest_rise", " an hour")):
            if unit:
                self.fields[name].label = f"{self.fields[name].label}, in {unit}{per and '/h'}"
        field = self.fields["kind"]
        assert isinstance(field, forms.ChoiceField)  # noqa: S101 - declared above
        field.choices = [("", f"guessed: {guess.kind} ({guess.why})"), *kind_choices()]

    def fields_of_kind(self) -> list[forms.BoundField]:
        """Return the fields that the metric's kind alone has, as the page shows them."""
        return [self[name] for name in self._kind.settings if name in self.fields]

    def changes(self) -> dict[str, Any]:
        """Return the entered settings with the table's values; a field not sent is none of them."""
        found = {name: value for name, value in self.cleaned_data.items() if name in self.data}
        if (dip := found.get("dip_tolerance")) is not None:
            found["dip_tolerance"] = dip / _PERCENT
        return found


# Fields that the form shows as the table has them.
_SAME = (
    "display_name",
    "unit",
    "kind",
    "holds_until_next",
    "covers_before",
    "resets_daily",
    "runs_both_ways",
    "spreads",
)

_COLOURS = {
    "": "the usual one",
    "#2e9e5b": "green",
    "#2f7ed8": "blue",
    "#e08a00": "orange",
    "#d43d3d": "red",
    "#8a5fd0": "violet",
    "#13a0a8": "teal",
    "#8c8c8c": "grey",
}


class WordForm(_PlainForm):
    """The word and the colour of one value of a state."""

    value = _Numbers(required=False)
    text = forms.CharField(required=False, max_length=LONGEST_TEXT, widget=forms.HiddenInput)
    word = forms.CharField(required=False, max_length=LONGEST_WORD)
    colour = forms.ChoiceField(required=False)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        colour = self.initial.get("colour", "")
        field = self.fields["colour"]
        assert isinstance(field, forms.ChoiceField)  # noqa: S101 - declared above
        field.choices = list({**_COLOURS, colour: _COLOURS.get(colour, colour)}.items())

    def stored(self) -> dict[str, Any] | None:
        """Return the entered word as it is stored; None for a line left empty."""
        text, value = self.cleaned_data.get("text", ""), self.cleaned_data.get("value")
        said = {name: self.cleaned_data.get(name, "") for name in ("word", "colour")}
        if (value is None and not text) or not any(said.values()):
            return None
        return {"value": 0.0 if text else value, "text": text, **said}


WordForms = forms.formset_factory(WordForm, extra=2, max_num=MOST_WORDS, absolute_max=MOST_WORDS)
"""The words of a state: a line for each value that it has had, and some for others."""


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
