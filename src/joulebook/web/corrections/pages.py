"""The list of a device's corrections, with who made each and why, and its undo by a form."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from joulebook.telemetry.corrections.edits import EditKind
from joulebook.telemetry.kinds.settings import SettingsByMetric
from joulebook.web.accounts.authentication import SignedInRequest
from joulebook.web.corrections.models import Correction
from joulebook.web.corrections.operations import UnableToCorrect, undo_correction
from joulebook.web.devices.gate import device_of_page, own_device_of_page
from joulebook.web.devices.models import Device
from joulebook.web.devices.queries import metric_settings
from joulebook.web.display import format_quantity
from joulebook.web.telemetry import device_series

State = Correction.State

LISTED = 200
"""The newest corrections on the page; the API and `joulebook corrections list` have all."""

_STATES = {
    State.QUEUED: "waits for a worker",
    State.RUNNING: "at work",
    State.UNDOING: "is being undone",
    State.UNDONE: "undone",
    State.FAILED: "failed",
}


@dataclass(frozen=True)
class ShownCorrection:
    """A correction in words."""

    correction: Correction
    metrics: str
    words: str

    @property
    def state(self) -> str:
        """Its state; empty if it is done."""
        return _STATES.get(State(self.correction.state), "")

    @property
    def can_be_undone(self) -> bool:
        """Whether an undo can be requested now."""
        return self.correction.state in {State.QUEUED, State.DONE, State.FAILED}


def shown_corrections(device: Device, settings: SettingsByMetric, *, most: int) -> Sequence[ShownCorrection]:
    """Return the newest corrections of a device in words."""
    found = Correction.objects.filter(device=device).select_related("user", "undone_by")[:most]
    return [_shown(each, settings) for each in found]


def _shown(correction: Correction, settings: SettingsByMetric) -> ShownCorrection:
    names = list(correction.metrics)
    units = {settings[name].unit for name in names}
    unit = units.pop() if len(units) == 1 else ""
    return ShownCorrection(
        correction,
        metrics=", ".join(settings[name].display_name for name in names),
        words=_words(correction, unit),
    )


def _words(correction: Correction, unit: str) -> str:
    """Return what it does: “set to 5 W”, “value × 2 + 1 kWh”, “moved by 3600 s”."""
    match EditKind(correction.kind):
        case EditKind.DELETE:
            return "deleted"
        case EditKind.SET:
            return f"set to {format_quantity(correction.value, unit)}"
        case EditKind.SCALE:
            return f"value × {correction.factor:.12g} + {correction.offset:.12g} {unit}".rstrip()
        case EditKind.SHIFT:
            return f"moved by {correction.by / 1_000_000:.12g} s"
        case EditKind.FILL:
            way = "a straight line" if correction.value is None else format_quantity(correction.value, unit)
            return f"filled with {way} every {correction.step / 1_000_000:.12g} s"


@login_required
@require_safe
@never_cache
def corrections_page(request: SignedInRequest, device_id: str) -> HttpResponse:
    """Show the corrections of a device."""
    device = device_of_page(request, device_id)
    settings = metric_settings(device, device_series(device.device_id))
    context = {"device": device, "corrections": shown_corrections(device, settings, most=LISTED)}
    return render(request, "corrections/list.html", context)


@login_required
@require_POST
def undo(request: SignedInRequest, device_id: str, number: int) -> HttpResponse:
    """Request the undo of a correction."""
    device = own_device_of_page(request, device_id)
    correction = Correction.objects.filter(device=device, pk=number).first()
    if correction is None:
        raise Http404("The device has no such correction.")
    try:
        undo_correction(correction, by=request.user)
    except UnableToCorrect as exc:
        messages.error(request, str(exc))
    else:
        messages.success(request, f"Correction {number} is being undone.")
    return redirect("device-corrections", device_id)
