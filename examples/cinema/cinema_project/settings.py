"""The settings of the example. What concerns dsn-core: ``INSTALLED_APPS``, ``DSN``, and Django's mail settings.

Environment: ``CINEMA_DATABASE`` (a SQLite file), ``CINEMA_URL`` (where the site is), and the stand-ins on this machine:
``CINEMA_SMTP_PORT`` (without it e-mails are printed), ``CINEMA_SMS_API`` (without it SMS are printed) and
``CINEMA_BOT_API`` (without it the bot cannot be reached).
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import django

from cinema_project import credentials

BASE_DIR = Path(__file__).resolve().parent.parent

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "dsn_core",
    # Before dsn_telegram, whose pages it dresses up.
    "cinema",
    # It has models and pages. dsn-email and dsn-sms have none, and are not named here.
    "dsn_telegram",
]

CINEMA_NAME = "Electric Cinema"
CINEMA_URL = os.environ.get("CINEMA_URL", "http://127.0.0.1:8000")
_BOT_API = os.environ.get("CINEMA_BOT_API")
_SMS_API = os.environ.get("CINEMA_SMS_API")
#: The stand-in for a telephone with Telegram.
CINEMA_TELEPHONE = f"{_BOT_API}/telephone" if _BOT_API else ""

# The plugins are registered nowhere: they are installed, and that is enough. This is only what they cannot know.
DSN: dict[str, Any] = {
    "MESSENGERS": {
        "email": {"FROM": "Electric Cinema <cinema@example.org>"},
        "telegram": {
            "BOT_TOKEN": credentials.BOT_TOKEN,
            "API_BASE": _BOT_API or "http://127.0.0.1:8081",
            "WEBHOOK_SECRET": credentials.WEBHOOK_SECRET,
        },
        "sms": {"PROVIDER": "console", "FROM": "+4930901820", "REGION": "DE"},
    },
}
if _SMS_API:
    DSN["MESSENGERS"]["sms"] |= {
        "PROVIDER": "twilio",
        "API_BASE": _SMS_API,
        "ACCOUNT_SID": credentials.SMS_ACCOUNT,
        "AUTH_TOKEN": credentials.SMS_KEY,
        "PUBLIC_URL": CINEMA_URL,
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
                "cinema.views.everywhere",
            ],
        },
    },
]
ROOT_URLCONF = "cinema_project.urls"
LOGIN_URL = "login"
LOGIN_REDIRECT_URL = LOGOUT_REDIRECT_URL = "cinema:programme"
STATIC_URL = "static/"
# Requests are not logged, so that the messages can be seen between them.
LOGGING = {"version": 1, "incremental": True, "loggers": {"django.server": {"level": "WARNING"}}}
USE_TZ = True
TIME_ZONE = "UTC"
LANGUAGE_CODE = "en"
