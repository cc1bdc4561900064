"""The export form of a device's page: from its fields to the address of the file."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import urlencode

from django.contrib.auth.decorators import login_required
from django.http import HttpResponse, HttpResponseRedirect, QueryDict
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from joulebook.telemetry.export.formats import FORMATS
from joulebook.telemetry.history.points import ALL
from joulebook.web.accounts.authentication import SignedInRequest
from joulebook.web.api.parameters import BadParameter
from joulebook.web.devices.gate import device_of_page
from joulebook.web.devices.models import Device
from joulebook.web.history.export.parameters import ExportQuery
from joulebook.web.history.parameters import DEFAULT_RANGE, read_zone

_SHOWN, _OWN = "shown", "own"


@dataclass(frozen=True)
class ExportForm:
    """The form's fields: entered ones, or those of a device's page."""

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
        """Return the form of a query: its own fields, or the range shown by a device's page."""
        names = ("which", "range", "start", "end", "begin", "until", "format", "layout", "tz")
        entered = {name: str(query[name]) for name in names if query.get(name)}
        return cls(**{"tz": device.time_zone, **entered})

    def address(self, device: Device) -> str:
        """Return the address of the file. Raises `BadParameter` with the reason for people."""
        query = {"format": self.format, "layout": self.layout}
        if self.which == ALL:
            query["range"] = ALL
        elif self.which == _OWN:
            query |= {"start": self._instant("From", self.begin), "end": self._instant("To", self.until)}
        elif self.start:
            query |= {"start": self.start, "end": self.end}
        else:
            query["range"] = self.range
        ExportQuery.model_validate(query).window(now=timezone.now())
        return f"{reverse('api:export', args=[device.device_id])}?{urlencode(query)}"

    def _instant(self, label: str, text: str) -> str:
        """Return the text of a field for date and time, in the form's zone, as RFC 3339."""
        try:
            local = datetime.fromisoformat(text)
            instant = local if local.tzinfo else local.replace(tzinfo=read_zone(self.tz))
            return instant.astimezone(UTC).isoformat()
        except (ValueError, OverflowError):
            raise BadParameter(label, f"{label}: enter a date and a time") from None


@login_required
@require_safe
@never_cache
def export_page(request: SignedInRequest, device_id: str) -> HttpResponse:
    """Send the browser to the file, or show the form."""
    device = device_of_page(request, device_id)
    form = ExportForm.of(request.GET, device)
    problem = ""
    if "format" in request.GET:
        try:
            return HttpResponseRedirect(form.address(device))
        except BadParameter as exc:
            problem = str(exc)
    context = {"device": device, "form": form, "problem": problem}
    return render(request, "devices/export.html", context, status=400 if problem else 200)
