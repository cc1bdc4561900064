"""The form on a device's page that exports readings: from what people enter to the address of the file."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import cast
from urllib.parse import urlencode

from django.contrib.auth.decorators import login_required
from django.contrib.auth.models import User
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect, QueryDict
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from joulebook.telemetry.export.formats import FORMATS
from joulebook.telemetry.history.points import ALL
from joulebook.web.api.parameters import BadParameter
from joulebook.web.devices.models import Device
from joulebook.web.devices.queries import find_visible_device
from joulebook.web.history.export.parameters import read_export
from joulebook.web.history.parameters import DEFAULT_RANGE, read_zone

_SHOWN, _OWN = "shown", "own"


@dataclass(frozen=True)
class ExportForm:
    """What the form shows: entered before, or what a device's page begins with."""

    which: str = _SHOWN
    range: str = DEFAULT_RANGE
    start: str = ""
    end: str = ""
    begin: str = ""
    until: str = ""
    format: str = "csv"
    layout: str = "wide"
    tz: str = "UTC"
    formats = tuple((name, each.label) for name, each in FORMATS.items())
    layouts = (("wide", "A column for each metric"), ("long", "A row for each reading"))

    @classmethod
    def of(cls, query: QueryDict, device: Device) -> ExportForm:
        """Return the form of a query: its own fields, or the range that a device's page shows."""
        names = ("which", "range", "start", "end", "begin", "until", "format", "layout", "tz")
        entered = {name: str(query[name]) for name in names if query.get(name)}
        return cls(**{"tz": device.time_zone, **entered})

    def address(self, device: Device) -> str:
        """Return the address of the file. Raises `BadParameter` that says what cannot be done."""
        query = {"format": self.format, "layout": self.layout, **self._range()}
        read_export(QueryDict(urlencode(query)), now=timezone.now())
        return f"{reverse('api:export', args=[device.device_id])}?{urlencode(query)}"

    def _range(self) -> dict[str, str]:
        if self.which == ALL:
            return {"range": ALL}
        if self.which == _OWN:
            return {"start": self._instant("From", self.begin), "end": self._instant("To", self.until)}
        return {"start": self.start, "end": self.end} if self.start else {"range": self.range}

    def _instant(self, label: str, text: str) -> str:
        """Return what a field for date and time says, by the clock of the zone, as RFC 3339."""
        try:
            local = datetime.fromisoformat(text)
            instant = local if local.tzinfo else local.replace(tzinfo=read_zone(self.tz))
            return instant.astimezone(UTC).isoformat()
        except (ValueError, OverflowError):
            raise BadParameter(label, f"{label}: enter a date and a time") from None


@login_required
@require_safe
@never_cache
def export_page(request: HttpRequest, device_id: str) -> HttpResponse:
    """Send the browser to the file, or show the form. Another's device and none at all are the same 404."""
    device = find_visible_device(cast("User", request.user), device_id)
    if device is None:
        raise Http404("There is no such device, or it is not yours to see.")
    form = ExportForm.of(request.GET, device)
    problem = ""
    if "format" in request.GET:
        try:
            return HttpResponseRedirect(form.address(device))
        except BadParameter as exc:
            problem = str(exc)
    context = {"device": device, "form": form, "problem": problem}
    return render(request, "devices/export.html", context, status=400 if problem else 200)
