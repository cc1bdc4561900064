"""Every address of the web."""

from __future__ import annotations

from django.contrib import admin
from django.urls import path

from joulebook.web import proxy
from joulebook.web.accounts import pages as accounts
from joulebook.web.accounts.authentication import authentication
from joulebook.web.api.root import create_api
from joulebook.web.corrections import api as corrections_api
from joulebook.web.corrections import pages as corrections
from joulebook.web.devices import api as devices_api
from joulebook.web.devices import pages as devices
from joulebook.web.devices import settings_pages
from joulebook.web.history import api as history_api
from joulebook.web.history import pages as history
from joulebook.web.history.energy import api as energy_api
from joulebook.web.history.energy import page as energy_page
from joulebook.web.history.export import api as export_api
from joulebook.web.history.export import page as export_page
from joulebook.web.imports.api import routes as imports_api
from joulebook.web.imports.pages import draft as draft_pages
from joulebook.web.imports.pages import run as run_pages
from joulebook.web.imports.pages import upload as upload_pages

handler500 = "joulebook.web.api.problems.server_error"

admin.site.site_header = admin.site.site_title = "Joulebook administration"

api = create_api(authentication())
api.add_router("", history_api.router)
api.add_router("/devices", devices_api.router)
api.add_router("/corrections", corrections_api.router)
api.add_router("/export", export_api.router)
api.add_router("/energy", energy_api.router)
imports_api.install(api)

urlpatterns = [
    path("", devices.device_list, name="devices"),
    path("devices/<str:device_id>/", history.device_page, name="device"),
    path("devices/<str:device_id>/export/", export_page.export_page, name="device-export"),
    path("devices/<str:device_id>/energy/", energy_page.energy_page, name="device-energy"),
    path("devices/<str:device_id>/corrections/", corrections.corrections_page, name="device-corrections"),
    path("devices/<str:device_id>/corrections/<int:number>/undo/", corrections.undo, name="correction-undo"),
    path("devices/<str:device_id>/settings/", settings_pages.device_settings, name="device-settings"),
    path("devices/<str:device_id>/settings/metric/", settings_pages.metric_page, name="metric-settings"),
    path("devices/<str:device_id>/settings/take/", settings_pages.take_metric, name="metric-take"),
    path(
        "devices/<str:device_id>/settings/suspect/",
        settings_pages.decide_about_suspect,
        name="metric-suspect",
    ),
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
    path("devices/<str:device_id>/tokens/<str:prefix>/", settings_pages.token_page, name="token"),
    path(
        "devices/<str:device_id>/tokens/<str:prefix>/revoke/",
        settings_pages.revoke_token,
        name="token-revoke",
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
    path("livez", proxy.livez, name="livez"),
    path("readyz", proxy.readyz, name="readyz"),
]
