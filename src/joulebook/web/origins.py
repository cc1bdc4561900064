"""The pages' origin for a browser, and the answer to a form from another origin."""

from __future__ import annotations

from urllib.parse import urlsplit

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.http.request import split_domain_port
from django.middleware import csrf
from django.shortcuts import render

_LONGEST_ORIGIN = 200


def page_origin(request: HttpRequest) -> str:
    """Return the scheme, host and port of the pages for the request's browser.

    Without `JOULEBOOK_WEB_URL` these are the request's own. With it they are the public origin's for its
    host, and for pages with that `Origin`: a proxy may pass on a host without its port, or none.
    """
    own = f"{request.scheme}://{request.get_host()}"
    public: str | None = settings.CONFIG.web_url
    if public is None:
        return own
    asked = request.headers.get("Origin")
    if asked in {own, public}:
        return asked
    host = split_domain_port(request.get_host())[0].strip("[]")
    return public if host == urlsplit(public).hostname else own


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    """Answer a refused form with the cause, and a remedy if there is one."""
    return render(request, "403_csrf.html", {"problem": csrf_problem(request, reason)}, status=403)


def csrf_problem(request: HttpRequest, reason: str = "") -> str:
    """Return the cause for people, empty if it is unknown; `reason` is Django's."""
    origin = request.headers.get("Origin")
    if origin is not None:
        own = f"{request.scheme}://{request.get_host()}"
        if origin not in {own, settings.CONFIG.web_url}:
            return _wrong_origin(request, origin)
    if reason == csrf.REASON_NO_REFERER:
        return "Your browser does not say which page sent it. Over HTTPS a Referer or an Origin is needed."
    if origin is None and reason.startswith(csrf.REASON_BAD_REFERER.partition("%")[0]):
        parts = urlsplit(request.headers.get("Referer", ""))
        return _wrong_origin(request, f"{parts.scheme}://{parts.netloc}")
    if reason == csrf.REASON_NO_CSRF_COOKIE and settings.CSRF_COOKIE_SECURE and not request.is_secure():
        return "The page was opened over http://, and cookies are sent over https:// only. Open it over https://."
    return ""


def _wrong_origin(request: HttpRequest, origin: str) -> str:
    return (
        f"It was sent by a page of {origin[:_LONGEST_ORIGIN]}, "
        f"and Joulebook is reached as {page_origin(request)}. "
        "If your browser shows the first as the address of Joulebook, its administrator has to set "
        "JOULEBOOK_WEB_URL to that. Otherwise another site has sent the form, and it is refused on purpose."
    )
