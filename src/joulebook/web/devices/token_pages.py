"""A token that writes for a device, for the owner: when it was last used, and its end."""

from __future__ import annotations

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from joulebook.web.devices.models import Device
from joulebook.web.devices.owners import owned_device
from joulebook.web.devices.tokens import WritingToken, find_token


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
