"""The pages of a device's settings, for its owner alone: the device, its metrics, meters, and shares."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast
from urllib.parse import urlencode

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.forms import Form
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from joulebook.telemetry.kinds.settings import MetricSettings
from joulebook.telemetry.kinds.units import comparable_units, is_known_unit
from joulebook.web.devices.first_reading import new_token_command
from joulebook.web.devices.forms import DeviceForm, MetricForm, ReplacementForm, ShareForm
from joulebook.web.devices.last_seen import newest_value
from joulebook.web.devices.meaning import (
    NotACounter,
    add_replacement,
    change_metric,
    remove_replacement,
    share_device,
    withdraw_share,
)
from joulebook.web.devices.metric_settings import metric_settings
from joulebook.web.devices.models import Device, MeterReplacement, Metric
from joulebook.web.devices.queries import owned_device
from joulebook.web.devices.tokens import WritingToken, find_token, tokens_of
from joulebook.web.display import format_instant
from joulebook.web.telemetry import device_series


@login_required
@require_safe
@never_cache
def token_page(request: HttpRequest, device_id: str, prefix: str) -> HttpResponse:
    """Show a token, and ask before it is revoked."""
    device = owned_device(request, device_id)
    context = {"device": device, "writing": _token(device, prefix), "now": timezone.now()}
    return render(request, "devices/token.html", context)


@login_required
@require_POST
def revoke_token(request: HttpRequest, device_id: str, prefix: str) -> HttpResponse:
    """Refuse a token from now on."""
    device = owned_device(request, device_id)
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
class MetricPlace:
    """A metric of a device whose settings are on show."""

    device: Device
    settings: MetricSettings

    @property
    def address(self) -> str:
        """Return where the page of this metric is; a name may hold anything, so it stands in the query."""
        path = reverse("metric-settings", args=[self.device.device_id])
        return f"{path}?{urlencode({'name': self.settings.name})}"


@login_required
@require_http_methods(_FORM_METHODS)
@never_cache
def device_settings(request: HttpRequest, device_id: str) -> HttpResponse:
    """Show and store what the owner says of a device."""
    device = owned_device(request, device_id)
    form = DeviceForm(request.POST or None, instance=device)
    if request.method == "POST" and form.is_valid():
        form.save()
        messages.success(request, "The device's settings are saved.")
        return redirect("device-settings", device_id)
    return _settings_page(request, Device.objects.get(pk=device.pk), form=form)


@login_required
@require_http_methods(_FORM_METHODS)
@never_cache
def metric_page(request: HttpRequest, device_id: str) -> HttpResponse:
    """Show and store what the owner says of the metric `?name=`."""
    place = _metric_place(request, device_id)
    form = MetricForm(request.POST or None, metric=_metric_of(place))
    if request.method == "POST" and form.is_valid():
        try:
            change_metric(place.device, place.settings.name, form.changes())
        except ValidationError as exc:
            form.add_error(None, exc)
        else:
            messages.success(request, "Saved. Charts and answers show it from now on, for old readings too.")
            return redirect(place.address)
    return _metric_page(request, place, form=form)


@login_required
@require_POST
def add_meter_replacement(request: HttpRequest, device_id: str) -> HttpResponse:
    """Note that the meter behind the counter `?name=` was replaced."""
    place = _metric_place(request, device_id)
    form = ReplacementForm(request.POST, tz=place.device.time_zone, unit=place.settings.unit)
    if form.is_valid():
        user = cast("User", request.user)
        try:
            noted = add_replacement(
                place.device, place.settings.name, form.replacement(), by=user, now=timezone.now()
            )
        except ValidationError as exc:
            form.add_error(None, exc)
        except NotACounter as exc:
            form.add_error(None, str(exc))
        else:
            when = format_instant(noted.replaced_at, tz=place.device.time_zone)
            messages.success(request, f"The replacement at {when} is noted.")
            return redirect(f"{place.address}#replacements")
    return _metric_page(request, place, replacement_form=form)


@login_required
@require_POST
def remove_meter_replacement(request: HttpRequest, device_id: str, number: int) -> HttpResponse:
    """Forget a replacement of the meter behind the counter `?name=`."""
    place = _metric_place(request, device_id)
    if not remove_replacement(place.device, place.settings.name, number):
        raise Http404("This replacement is gone already.")
    messages.success(request, "The replacement is removed.")
    return redirect(f"{place.address}#replacements")


@login_required
@require_POST
def add_share(request: HttpRequest, device_id: str) -> HttpResponse:
    """Share the device with another user."""
    device = owned_device(request, device_id)
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
def remove_share(request: HttpRequest, device_id: str, number: int) -> HttpResponse:
    """End a share at once."""
    user = withdraw_share(owned_device(request, device_id), number)
    if user is None:
        raise Http404("This share is gone already.")
    messages.success(request, f"{user.get_username()} no longer sees this device.")
    return redirect("device-settings", device_id)


def _metric_place(request: HttpRequest, device_id: str) -> MetricPlace:
    device = owned_device(request, device_id)
    name = request.GET.get("name", "")
    settings = metric_settings(device)
    if name not in settings and name not in device_series(device.device_id):
        raise Http404("The device has no such metric.")
    return MetricPlace(device, settings[name])


def _metric_of(place: MetricPlace) -> Metric:
    """Return the row of a metric, or one that says nothing."""
    name = place.settings.name
    return Metric.objects.filter(device=place.device, name=name).first() or Metric(
        device=place.device, name=name
    )


def _settings_page(
    request: HttpRequest,
    device: Device,
    *,
    form: DeviceForm | None = None,
    share_form: ShareForm | None = None,
) -> HttpResponse:
    settings = metric_settings(device)
    names = sorted({*device_series(device.device_id), *settings})
    context = {
        "device": device,
        "form": form or DeviceForm(instance=device),
        "share_form": share_form or ShareForm(),
        "tokens": tokens_of(device),
        "token_command": new_token_command(device.device_id),
        "now": timezone.now(),
        "shares": device.shares.select_related("user").order_by("user__username"),
        "places": [MetricPlace(device, settings[name]) for name in names],
    }
    return render(request, "devices/settings.html", context, status=_status(form, share_form))


def _metric_page(
    request: HttpRequest,
    place: MetricPlace,
    *,
    form: MetricForm | None = None,
    replacement_form: ReplacementForm | None = None,
) -> HttpResponse:
    device, settings = place.device, place.settings
    rows = MeterReplacement.objects.select_related("entered_by").filter(
        metric__device=device, metric__name=settings.name
    )
    newest = newest_value(device.device_id, settings.name)
    known = is_known_unit(settings.unit)
    context = {
        "device": device,
        "place": place,
        "settings": settings,
        "form": form or MetricForm(metric=_metric_of(place)),
        "units": comparable_units(settings.unit) if known else _UNITS,
        "unit_is_odd": bool(settings.unit) and not known,
        "newest": newest,
        "newest_shown": None if newest is None else newest * settings.factor,
        "is_counter": settings.kind.is_register,
        "replacements": rows,
        "replacement_form": replacement_form or ReplacementForm(tz=device.time_zone, unit=settings.unit),
        "query": urlencode({"name": settings.name}),
    }
    return render(request, "devices/metric.html", context, status=_status(form, replacement_form))


def _status(*forms: Form | DeviceForm | None) -> int:
    """Return the answer's status for the forms that were sent; the first wrong field gets the focus."""
    wrong = [form for form in forms if form is not None and form.errors]
    for form in wrong:
        for name in list(form.fields):
            if name in form.errors:
                form.fields[name].widget.attrs["autofocus"] = True
                return 400
    return 400 if wrong else 200
