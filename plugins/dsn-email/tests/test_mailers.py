"""Which of Django's mail settings are used, and with which time-out."""

from __future__ import annotations

import warnings
from typing import Any

import django
import pytest
from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings

from dsn_core.contracts.receipts import Outcome
from dsn_email.mailers import connect

HAS_MAILERS = django.VERSION >= (6, 1)
needs_mailers = pytest.mark.skipif(not HAS_MAILERS, reason="the setting MAILERS came with Django 6.1")
before_mailers = pytest.mark.skipif(HAS_MAILERS, reason="Django 6.1 knows the setting MAILERS")


def test_the_time_out_of_the_options_counts_where_the_project_sets_none(use_smtp: Any) -> None:
    use_smtp(25)
    assert connect("", 7.5).timeout == 7.5


def test_the_project_s_own_time_out_goes_before(use_smtp: Any) -> None:
    use_smtp(25, timeout=3)
    assert connect("", 7.5).timeout == 3


def test_a_time_out_of_zero_is_none(use_smtp: Any) -> None:
    use_smtp(25, timeout=0)
    assert connect("", 7.5).timeout == 7.5


@needs_mailers
def test_fail_silently_is_switched_off(server: Any, use_smtp: Any, send: Any, message_to: Any) -> None:
    use_smtp(server.port, fail_silently=True)
    server.answers["RCPT"] = lambda about: "550 5.1.1 No such user"
    (receipt,) = send(message_to("ann"))
    assert receipt.outcome is Outcome.INVALID_ADDRESS


@needs_mailers
def test_the_option_mailer_chooses_one_of_mailers(server: Any, send: Any, message_to: Any, settings: Any) -> None:
    settings.MAILERS = {
        "default": {"BACKEND": "django.core.mail.backends.locmem.EmailBackend"},
        "bulk": {"OPTIONS": {"host": "127.0.0.1", "port": server.port}},
    }
    (receipt,) = send(message_to("ann"), MAILER="bulk")
    assert receipt.outcome is Outcome.SENT
    assert server.receivers == ["ann@example.org"]


@needs_mailers
def test_a_mailer_that_is_not_there_pauses(server: Any, use_smtp: Any, send: Any, message_to: Any) -> None:
    use_smtp(server.port)
    (receipt,) = send(message_to("ann"), MAILER="bulk")
    assert receipt.outcome is Outcome.PAUSE
    assert "bulk" in receipt.reason
    assert server.connections == 0


@needs_mailers
def test_a_backend_that_cannot_be_imported_pauses(send: Any, message_to: Any, settings: Any) -> None:
    settings.MAILERS = {"default": {"BACKEND": "no.such.Backend"}}
    (receipt,) = send(message_to("ann"))
    assert receipt.outcome is Outcome.PAUSE
    assert "no.such.Backend" in receipt.reason


@needs_mailers
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::PendingDeprecationWarning")
def test_a_project_that_still_uses_the_old_settings_sends_without_a_warning_of_ours(
    server: Any, send: Any, message_to: Any, settings: Any
) -> None:
    # Setting them warns already; what follows must not.
    del settings.MAILERS
    old = override_settings(
        EMAIL_BACKEND="django.core.mail.backends.smtp.EmailBackend", EMAIL_HOST="127.0.0.1", EMAIL_PORT=server.port
    )
    with old, warnings.catch_warnings():
        warnings.simplefilter("error")
        (receipt,) = send(message_to("ann"))
    assert receipt.outcome is Outcome.SENT
    assert server.receivers == ["ann@example.org"]


@before_mailers
def test_the_option_mailer_is_refused_before_django_6_1(server: Any, use_smtp: Any, send: Any, message_to: Any) -> None:
    use_smtp(server.port)
    (receipt,) = send(message_to("ann"), MAILER="bulk")
    assert receipt.outcome is Outcome.PAUSE
    assert server.connections == 0
    with pytest.raises(ImproperlyConfigured, match=r"needs Django 6\.1"):
        connect("bulk", 10)
