"""Django's settings, derived from the JOULEBOOK_* environment alone.

Databases: `default` holds accounts, devices and ownership; `telemetry` is TimescaleDB with the
reader's rights. `telemetry_owner` exists only with the owner's address in the environment: in commands for
migrations, never in the web process.
"""

from __future__ import annotations

from urllib.parse import urlsplit

import django_stubs_ext
from django.http.request import split_domain_port

from joulebook.config import Config
from joulebook.logs import log_settings
from joulebook.secret_key import load_secret_key
from joulebook.web.databases import database_from_url, telemetry_databases

# Makes `ModelAdmin[Device]` and the like valid at run time.
django_stubs_ext.monkeypatch()

CONFIG = Config.from_environ()

IS_PUBLIC_OVER_TLS = CONFIG.web_url is not None and CONFIG.web_url.startswith("https:")

SECRET_KEY = load_secret_key(CONFIG)
DEBUG = False
ALLOWED_HOSTS = ["localhost", "127.0.0.1", "[::1]", *CONFIG.allowed_hosts]
if CONFIG.web_url is not None:
    ALLOWED_HOSTS.append(split_domain_port(urlsplit(CONFIG.web_url).netloc)[0])

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.humanize",
    "django.contrib.messages",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
    "ninja",
    "joulebook.web.accounts",
    "joulebook.web.corrections",
    "joulebook.web.devices",
    "joulebook.web.history",
    "joulebook.web.imports",
    "joulebook.web.readings",
]
MIDDLEWARE = [
    "joulebook.web.metrics.RequestMetricsMiddleware",
    "joulebook.web.metrics.MetricsMiddleware",
    "joulebook.web.middleware.PrivateAnswersMiddleware",
    "joulebook.web.proxy.ProxyMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.middleware.gzip.GZipMiddleware",
    "csp.middleware.CSPMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "joulebook.web.middleware.DatabaseUnavailableMiddleware",
]
ROOT_URLCONF = "joulebook.web.urls"
WSGI_APPLICATION = "joulebook.web.wsgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [CONFIG.package / "web" / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    }
]

DATABASES = {
    "default": database_from_url(CONFIG.database_url),
    **telemetry_databases(CONFIG),
}
DATABASE_ROUTERS = ["joulebook.web.databases.TelemetryRouter"]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {
        "NAME": "django.contrib.auth.password_validation.MinimumLengthValidator",
        "OPTIONS": {"min_length": 10},
    },
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
PASSWORD_HASHERS = [
    "django.contrib.auth.hashers.Argon2PasswordHasher",
    "django.contrib.auth.hashers.PBKDF2PasswordHasher",
]
LOGIN_URL = "sign-in"
LOGIN_REDIRECT_URL = "devices"
LOGOUT_REDIRECT_URL = "sign-in"

SESSION_ENGINE = "joulebook.web.accounts.sessions"
# Cookies of several homes on one host must not overwrite each other: ports do not separate cookies.
SESSION_COOKIE_NAME = f"joulebook_session_{CONFIG.web_port}"
CSRF_COOKIE_NAME = f"joulebook_csrf_{CONFIG.web_port}"
SESSION_COOKIE_SAMESITE = "Lax"
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = CONFIG.secure or IS_PUBLIC_OVER_TLS
CSRF_COOKIE_HTTPONLY = True
CSRF_TRUSTED_ORIGINS = [CONFIG.web_url] if CONFIG.web_url is not None else []
CSRF_FAILURE_VIEW = "joulebook.web.origins.csrf_failure"
# `ProxyMiddleware` removes the header of an untrusted sender.
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
SECURE_SSL_REDIRECT = CONFIG.secure
SECURE_SSL_HOST = urlsplit(CONFIG.web_url).netloc if CONFIG.web_url is not None else None
SECURE_HSTS_SECONDS = 31_536_000 if CONFIG.secure else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = CONFIG.secure
SECURE_HSTS_PRELOAD = CONFIG.secure
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": ["'none'"],
        "script-src": ["'self'"],
        "style-src": ["'self'"],
        "img-src": ["'self'", "data:"],
        "font-src": ["'self'"],
        "connect-src": ["'self'"],
        "form-action": ["'self'"],
        "frame-ancestors": ["'none'"],
        "base-uri": ["'none'"],
    }
}
DATA_UPLOAD_MAX_MEMORY_SIZE = 2_621_440
# The draft of an import has six fields for each listed column, 1,000 columns at most.
DATA_UPLOAD_MAX_NUMBER_FIELDS = 8_000
# A form may have hundreds of daily files of one logger.
DATA_UPLOAD_MAX_NUMBER_FILES = 1_000
# A view for uploads sets a handler of its own, after the check of the sender.
FILE_UPLOAD_HANDLERS = ["joulebook.web.imports.uploads.receiving.SkipFiles"]

STATIC_URL = "/static/"
STATICFILES_DIRS = [CONFIG.package / "web" / "static", CONFIG.package / "web" / "assets"]
# Served from their folders: no `collectstatic` before the first start.
WHITENOISE_USE_FINDERS = True
WHITENOISE_AUTOREFRESH = False

LANGUAGE_CODE = "en-gb"
TIME_ZONE = "UTC"
USE_I18N = False
USE_TZ = True

LOGGING = log_settings(CONFIG.log_format)
