"""Every address of the web."""

from __future__ import annotations

from django.contrib import admin
from django.urls import path

from joulebook.web import probes
from joulebook.web.accounts import views as accounts
from joulebook.web.devices import api as devices_api
from joulebook.web.devices import settings_pages, token_pages
from joulebook.web.devices import views as devices
from joulebook.web.history import energy_api, energy_page, export_api, export_page
from joulebook.web.history.api import api
from joulebook.web.imports import api as imports_api
from joulebook.web.imports import draft_pages, run_pages, upload_pages

handler500 = "joulebook.web.problems.server_error"

admin.site.site_header = admin.site.site_title = "Joulebook administration"

devices_api.install(api)
export_api.install(api)
energy_api.install(api)
imports_api.install(api)

urlpatterns = [
    path("", devices.device_list, name="devices"),
    path("devices/<str:device_id>/", devices.device_page, name="device"),
    path("devices/<str:device_id>/export/", export_page.export_page, name="device-export"),
    path("devices/<str:device_id>/energy/", energy_page.energy_page, name="device-energy"),
    path("devices/<str:device_id>/settings/", settings_pages.device_settings, name="device-settings"),
    path("devices/<str:device_id>/settings/metric/", settings_pages.metric_page, name="metric-settings"),
    path(
        "devices/<str:device_id>/settings/replacements/",
        settings_pages.add_meter_replacement,
        name="replacements",
    ),
    path(
        "devices/<str:device_id>/settings/replacements/<int:number>/remove/",
        settings_pages.remove_meter_replacement,
        name="replacement-remove",
    ),
    path("devices/<str:device_id>/settings/shares/", settings_pages.add_share, name="shares"),
    path(
        "devices/<str:device_id>/settings/shares/<int:number>/remove/",
        settings_pages.remove_share,
        name="share-remove",
    ),
    path("devices/<str:device_id>/tokens/<str:prefix>/", token_pages.token_page, name="token"),
    path(
        "devices/<str:device_id>/tokens/<str:prefix>/revoke/", token_pages.revoke_token, name="token-revoke"
    ),
    path("imports/", upload_pages.imports_page, name="imports"),
    path("imports/<int:number>/", run_pages.import_page, name="import"),
    path("imports/<int:number>/preview/", draft_pages.preview, name="import-preview"),
    path("imports/<int:number>/queue/", draft_pages.queue, name="import-queue"),
    path("imports/<int:number>/discard/", draft_pages.discard, name="import-discard"),
    path("imports/<int:number>/progress/", run_pages.progress, name="import-progress"),
    path("imports/<int:number>/cancel/", run_pages.cancel, name="import-cancel"),
    path("imports/<int:number>/undo/", run_pages.undo, name="import-undo"),
    path("imports/<int:number>/rejected.csv", run_pages.rejected, name="import-rejected"),
    path("sign-in/", accounts.SignInView.as_view(), name="sign-in"),
    path("sign-out/", accounts.SignOutView.as_view(), name="sign-out"),
    path("profile/", accounts.profile, name="profile"),
    path("profile/password/", accounts.PasswordView.as_view(), name="password"),
    path("api/", api.urls),
    path("admin/login/", accounts.admin_sign_in),
    path("admin/password_change/", accounts.admin_password),
    path("admin/", admin.site.urls),
    path("livez", probes.livez, name="livez"),
    path("readyz", probes.readyz, name="readyz"),
]
