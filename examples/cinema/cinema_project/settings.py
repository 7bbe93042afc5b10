"""The settings of the example. What concerns dsn-core: ``INSTALLED_APPS``, ``DSN``, and Django's mail settings.

Environment: ``CINEMA_DATABASE`` (a SQLite file), ``CINEMA_SMTP_PORT`` (a mail server on this machine; without one
e-mails are printed), ``CINEMA_URL`` (what e-mails link to).
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import django

BASE_DIR = Path(__file__).resolve().parent.parent

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "dsn_core",
    "cinema",
]

# dsn-email is not named anywhere: it is installed, and that is enough. This only says who its e-mails are from.
DSN = {
    "MESSENGERS": {"email": {"FROM": "Electric Cinema <cinema@example.org>"}},
    # It is installed here, too, and would ask for its app and for a bot.
    "DISABLED_PLUGINS": ["telegram"],
}

_SMTP_PORT = os.environ.get("CINEMA_SMTP_PORT")
_BACKEND = f"django.core.mail.backends.{'smtp' if _SMTP_PORT else 'console'}.EmailBackend"
_OPTIONS: dict[str, Any] = {"host": "127.0.0.1", "port": int(_SMTP_PORT), "timeout": 5} if _SMTP_PORT else {}
if django.VERSION >= (6, 1):
    MAILERS = {"default": {"BACKEND": _BACKEND, "OPTIONS": _OPTIONS}}
else:
    EMAIL_BACKEND = _BACKEND
    if _SMTP_PORT:
        EMAIL_HOST, EMAIL_PORT, EMAIL_TIMEOUT = "127.0.0.1", int(_SMTP_PORT), 5

DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": os.environ.get("CINEMA_DATABASE", BASE_DIR / "cinema.sqlite3"),
        # SQLite has one writer: it is waited for at the beginning of a transaction, instead of failing in its middle.
        "OPTIONS": {"transaction_mode": "IMMEDIATE", "timeout": 20},
    }
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

CINEMA_NAME = "Electric Cinema"
CINEMA_URL = os.environ.get("CINEMA_URL", "http://127.0.0.1:8000")

# It is an example: never use the rest of this file for a site that others can reach.
DEBUG = True
SECRET_KEY = "no-secret-at-all"
ALLOWED_HOSTS = ["localhost", "127.0.0.1"]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]
ROOT_URLCONF = "cinema_project.urls"
LOGIN_URL = "admin:login"
STATIC_URL = "static/"
# Requests are not logged, so that the messages can be seen between them.
LOGGING = {"version": 1, "incremental": True, "loggers": {"django.server": {"level": "WARNING"}}}
USE_TZ = True
TIME_ZONE = "UTC"
LANGUAGE_CODE = "en"
