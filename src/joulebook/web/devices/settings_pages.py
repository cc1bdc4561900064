"""The pages of a device's settings, for its owner alone: device, metrics, meters, shares, tokens."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import ValidationError
from django.forms import BaseFormSet, Form
from django.http import Http404, HttpResponse, HttpResponseBadRequest, QueryDict
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from joulebook.telemetry.clocks import offsets_over
from joulebook.telemetry.kinds.kinds import KINDS, STATE
from joulebook.telemetry.kinds.settings import MetricSettings
from joulebook.telemetry.kinds.units import comparable_units, is_known_unit
from joulebook.telemetry.readings import to_microseconds
from joulebook.time_zones import ZoneInfo
from joulebook.web.accounts.authentication import SignedInRequest
from joulebook.web.devices.charts import charted_metric
from joulebook.web.devices.connecting import new_token_command
from joulebook.web.devices.forms import (
    DeviceForm,
    MetricForm,
    ReplacementForm,
    ShareForm,
    WordForm,
    WordForms,
)
from joulebook.web.devices.gate import own_device_of_page
from joulebook.web.devices.models import Device, MeterReplacement, Metric
from joulebook.web.devices.operations import (
    NotACounter,
    add_replacement,
    change_metric,
    decide_suspect,
    remove_replacement,
    share_device,
    withdraw_share,
)
from joulebook.web.devices.queries import WritingToken, find_token, metric_settings, tokens_of
from joulebook.web.devices.status import newest_value, seen_states
from joulebook.web.devices.suspects import suspects_of, traps_of
from joulebook.web.display import format_instant
from joulebook.web.telemetry import device_series


@login_required
@require_safe
@never_cache
def token_page(request: SignedInRequest, device_id: str, prefix: str) -> HttpResponse:
    """Show a token, and ask before it is revoked."""
    device = own_device_of_page(request, device_id)
    context = {"device": device, "writing": _token(device, prefix), "now": timezone.now()}
    return render(request, "devices/token.html", context)


@login_required
@require_POST
def revoke_token(request: SignedInRequest, device_id: str, prefix: str) -> HttpResponse:
    """Revoke a token."""
    device = own_device_of_page(request, device_id)
    _token(device, prefix).token.revoke(now=timezone.now())
    messages.success(request, f"The token {prefix}_… is revoked; ingest refuses it within 10 seconds.")
    return redirect(reverse("device-settings", args=[device_id]) + "#tokens")


def _token(device: Device, prefix: str) -> WritingToken:
    found = find_token(device, prefix)
    if found is None:
        raise Http404("The device has no such token.")
    return found


_UNITS = ("W", "kW", "Wh", "kWh", "V", "A", "Hz", "%", "°C", "m³", "l", "l/min", "bar", "VA", "var", "W/m²")
_FORM_METHODS = ["GET", "HEAD", "POST"]


@dataclass(frozen=True)
class ShownMetric:
    """The metric of a settings page."""

    device: Device
    settings: MetricSettings

    @property
    def address(self) -> str:
        """Return the address of this metric's page; a name may hold any character, so it is in the query."""
        path = reverse("metric-settings", args=[self.device.device_id])
        return f"{path}?{urlencode({'name': self.settings.name})}"


@login_required
@require_http_methods(_FORM_METHODS)
@never_cache
def device_settings(request: SignedInRequest, device_id: str) -> HttpResponse:
    """Show and store the settings of a device."""
    device = own_device_of_page(request, device_id)
    form = DeviceForm(request.POST or None, instance=device)
    if request.method == "POST" and form.is_valid():
        form.save()
        messages.success(request, "The device's settings are saved.")
        return redirect("device-settings", device_id)
    return _settings_page(request, Device.objects.get(pk=device.pk), form=form)


@login_required
@require_http_methods(_FORM_METHODS)
@never_cache
def metric_page(request: SignedInRequest, device_id: str) -> HttpResponse:
    """Show and store the settings of the metric `?name=`."""
    shown = _shown_metric(request, device_id)
    form = _metric_form(request.POST or None, shown)
    words = _word_forms(request.POST if "words-TOTAL_FORMS" in request.POST else None, shown)
    if request.method == "POST" and form.is_valid() and (not words.is_bound or words.is_valid()):
        changes = form.changes()
        if words.is_bound:
            changes["words"] = [word for each in words if (word := each.stored()) is not None]
        try:
            # The form sends every field: only another unit answers the question about it.
            settles = shown.settings.unit_refused if "unit" in form.changed_data else ""
            change_metric(shown.device, shown.settings.name, changes, settles=settles)
        except ValidationError as exc:
            for field, texts in exc.message_dict.items():
                form.add_error(field if field in form.fields else None, texts)
        else:
            messages.success(request, "Saved. Charts and answers show it from now on, for old readings too.")
            return redirect(shown.address)
    return _metric_page(request, shown, form=form, words=words)


@login_required
@require_POST
def take_metric(request: SignedInRequest, device_id: str) -> HttpResponse:
    """Store one answer about the metric `?name=`: which of its sender's units is right, or its kind."""
    shown = _shown_metric(request, device_id)
    unit, kind = request.POST.get("unit", ""), request.POST.get("kind", "")
    if unit and unit in {shown.settings.unit, shown.settings.unit_refused}:
        settles = shown.settings.unit_refused
        change_metric(shown.device, shown.settings.name, {"unit": unit}, settles=settles)
        messages.success(request, f"The unit is {unit} from now on, for old readings too.")
    elif kind in KINDS:
        change_metric(shown.device, shown.settings.name, {"kind": kind})
        messages.success(
            request, f"It is shown as a metric of the kind {kind} from now on, for old readings too."
        )
    return redirect(shown.address)


_DECISIONS = {"ignore": True, "confirm": False, "none": None}


@login_required
@require_POST
def decide_about_suspect(request: SignedInRequest, device_id: str) -> HttpResponse:
    """Store the owner's answer to a suspicious reading of the metric `?name=`."""
    shown = _shown_metric(request, device_id)
    try:
        time = datetime.fromisoformat(request.POST.get("time", ""))
        is_ignored = _DECISIONS[request.POST.get("decision", "")]
    except (ValueError, KeyError):
        return HttpResponseBadRequest("time and decision are needed")
    if time.tzinfo is None:
        return HttpResponseBadRequest("the time has no offset")
    try:
        decide_suspect(
            shown.device,
            shown.settings.name,
            time,
            is_ignored=is_ignored,
            by=request.user,
            now=timezone.now(),
        )
    except ValidationError as exc:
        messages.error(request, " ".join(exc.messages))
    return redirect(f"{shown.address}#findings")


@login_required
@require_POST
def add_meter_replacement(request: SignedInRequest, device_id: str) -> HttpResponse:
    """Store a replacement of the meter behind the counter `?name=`."""
    shown = _shown_metric(request, device_id)
    form = ReplacementForm(request.POST, tz=shown.device.time_zone, unit=shown.settings.unit)
    if form.is_valid():
        try:
            noted = add_replacement(
                shown.device, shown.settings.name, form.replacement(), by=request.user, now=timezone.now()
            )
        except ValidationError as exc:
            form.add_error(None, exc)
        except NotACounter as exc:
            form.add_error(None, str(exc))
        else:
            when = format_instant(noted.replaced_at, tz=shown.device.time_zone)
            messages.success(request, f"The replacement at {when} is noted.")
            return redirect(f"{shown.address}#replacements")
    return _metric_page(request, shown, replacement_form=form)


@login_required
@require_POST
def remove_meter_replacement(request: SignedInRequest, device_id: str, number: int) -> HttpResponse:
    """Delete a replacement of the meter behind the counter `?name=`."""
    shown = _shown_metric(request, device_id)
    if not remove_replacement(shown.device, shown.settings.name, number):
        raise Http404("This replacement is gone already.")
    messages.success(request, "The replacement is removed.")
    return redirect(f"{shown.address}#replacements")


@login_required
@require_POST
def add_share(request: SignedInRequest, device_id: str) -> HttpResponse:
    """Share the device with another user."""
    device = own_device_of_page(request, device_id)
    form = ShareForm(request.POST)
    if form.is_valid():
        try:
            user = share_device(device, form.cleaned_data["user_name"])
        except ValidationError as exc:
            form.add_error("user_name", exc)
        else:
            messages.success(request, f"{user.get_username()} sees this device from now on.")
            return redirect("device-settings", device_id)
    return _settings_page(request, device, share_form=form)


@login_required
@require_POST
def remove_share(request: SignedInRequest, device_id: str, number: int) -> HttpResponse:
    """End a share at once."""
    user = withdraw_share(own_device_of_page(request, device_id), number)
    if user is None:
        raise Http404("This share is gone already.")
    messages.success(request, f"{user.get_username()} no longer sees this device.")
    return redirect("device-settings", device_id)


def _shown_metric(request: SignedInRequest, device_id: str) -> ShownMetric:
    device = own_device_of_page(request, device_id)
    name = request.GET.get("name", "")
    series = device_series(device.device_id)
    settings = metric_settings(device, series)
    if name not in settings and name not in series:
        raise Http404("The device has no such metric.")
    return ShownMetric(device, settings[name])


def _metric_of(shown: ShownMetric) -> Metric:
    """Return the row of a metric, or an empty one."""
    name = shown.settings.name
    return Metric.objects.filter(device=shown.device, name=name).first() or Metric(
        device=shown.device, name=name
    )


def _metric_form(data: QueryDict | None, shown: ShownMetric) -> MetricForm:
    settings = shown.settings
    return MetricForm(data, metric=_metric_of(shown), kind=settings.kind, unit=settings.unit)


def _word_forms(data: QueryDict | None, shown: ShownMetric) -> BaseFormSet[WordForm]:
    """Return a line for each value with a word or seen lately, and some for others."""
    settings = shown.settings
    lines: dict[float | str, dict[str, object]] = {}
    if settings.kind is STATE:
        for value, text in seen_states(shown.device.device_id, settings):
            lines[text or value] = {"value": None if text else value, "text": text}
    for word in settings.words:
        value_or_none = None if word.text else word.value
        lines[word.text or word.value] = {
            "value": value_or_none,
            "text": word.text,
            "word": word.word,
            "colour": word.colour,
        }
    return WordForms(data, prefix="words", initial=list(lines.values()))


def _settings_page(
    request: SignedInRequest,
    device: Device,
    *,
    form: DeviceForm | None = None,
    share_form: ShareForm | None = None,
) -> HttpResponse:
    series = device_series(device.device_id)
    settings = metric_settings(device, series)
    names = sorted({*series, *settings})
    context = {
        "device": device,
        "form": form or DeviceForm(instance=device),
        "share_form": share_form or ShareForm(),
        "tokens": tokens_of(device),
        "token_command": new_token_command(device.device_id),
        "now": timezone.now(),
        "shares": device.shares.select_related("user").order_by("user__username"),
        "metrics": [ShownMetric(device, settings[name]) for name in names],
    }
    return render(request, "devices/settings.html", context, status=_status(form, share_form))


def _metric_page(
    request: SignedInRequest,
    shown: ShownMetric,
    *,
    form: MetricForm | None = None,
    words: BaseFormSet[WordForm] | None = None,
    replacement_form: ReplacementForm | None = None,
) -> HttpResponse:
    device, settings = shown.device, shown.settings
    rows = MeterReplacement.objects.select_related("entered_by").filter(
        metric__device=device, metric__name=settings.name
    )
    newest = newest_value(device.device_id, settings.name)
    known = is_known_unit(settings.unit)
    context = {
        "device": device,
        "shown": shown,
        "settings": settings,
        "form": form or _metric_form(None, shown),
        "words": words or _word_forms(None, shown),
        "has_words": "words" in settings.kind.settings,
        "units": comparable_units(settings.unit) if known else _UNITS,
        "unit_is_odd": bool(settings.unit) and not known,
        "newest": newest,
        "newest_shown": None if newest is None else newest * settings.factor,
        "is_counter": settings.kind.is_register,
        "replacements": rows,
        "replacement_form": replacement_form or ReplacementForm(tz=device.time_zone, unit=settings.unit),
        "query": urlencode({"name": settings.name}),
        **_findings(shown),
        "unit_conflict": bool(settings.unit_refused),
        "page_data": None if newest is None else _curve_data(shown),
    }
    return render(
        request, "devices/metric.html", context, status=_status(form, *(words or ()), replacement_form)
    )


_LOOKED_BACK = timedelta(days=366)


def _findings(shown: ShownMetric) -> dict[str, Any]:
    """Return what is suspicious about a counter in its last year."""
    if not shown.settings.kind.is_register:
        return {}
    device, name, now = shown.device, shown.settings.name, timezone.now()
    return {
        "found": suspects_of(device, name, now - _LOOKED_BACK, now + timedelta(days=1)),
        "traps": traps_of(device, name),
    }


def _curve_data(shown: ShownMetric) -> dict[str, Any]:
    """Return the data for the script that draws the metric's curve."""
    device = shown.device
    zone = ZoneInfo(device.time_zone)
    until = to_microseconds(timezone.now() + timedelta(days=366))
    return {
        "history": reverse("api:history", args=[device.device_id]),
        "zone": zone.key,
        "offsets": {zone.key: offsets_over(zone, 0, until)},
        "metric": charted_metric(shown.settings, device),
    }


def _status(*forms: Form | DeviceForm | None) -> int:
    """Return the answer's status for the sent forms; the first wrong field gets the focus."""
    wrong = [form for form in forms if form is not None and form.errors]
    for form in wrong:
        for name in list(form.fields):
            if name in form.errors:
                form.fields[name].widget.attrs["autofocus"] = True
                return 400
    return 400 if wrong else 200
