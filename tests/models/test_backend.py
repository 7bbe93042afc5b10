"""Backend: one messenger and one message template, by name."""

from __future__ import annotations

import pytest
from django.core.exceptions import ValidationError

from dsn_core import BaseMessageTemplate
from dsn_core.models import Backend

pytestmark = pytest.mark.django_db


def test_the_same_names_are_the_same_row(dsn) -> None:
    backend = Backend.objects.define("memory", "simple")
    assert Backend.objects.define("memory", "simple") == backend
    assert str(backend) == "simple by memory"
    assert Backend.objects.count() == 1


def test_both_names_must_be_installed(dsn) -> None:
    with pytest.raises(ValidationError) as caught:
        Backend.objects.define("memry", "simpel")
    said = caught.value.message_dict
    assert said["messenger"][0].startswith("There is no messenger 'memry' (did you mean 'memory'?).")
    assert said["message_template"][0].startswith("There is no message template 'simpel' (did you mean 'simple'?).")
    assert Backend.objects.count() == 0


def test_an_account_is_a_messenger_too(dsn, settings) -> None:
    settings.DSN = {"MESSENGERS": {"support": {"MESSENGER": "memory"}, "odd": {"MESSENGER": "gone"}}}
    backend = Backend.objects.define("support", "simple")
    assert [backend.accepts(name) for name in ("", "support", "memory", "email")] == [True, True, True, False]
    assert not Backend.objects.define("memory", "simple").accepts("support")
    with pytest.raises(ValidationError, match="There is no messenger 'gone'"):
        Backend.objects.define("odd", "simple")


def test_what_is_not_installed_any_more_is_said_and_breaks_nothing(dsn) -> None:
    backend = Backend(messenger="gone", message_template="lost")
    assert set(backend.not_installed()) == {"messenger", "message_template"}
    assert backend.required_signal_args() == ()
    assert not backend.accepts("email")
    assert backend.accepts("gone")


def test_required_arguments_are_the_templates(dsn) -> None:
    dsn.add(type("Needs", (BaseMessageTemplate,), {"text": "x", "required_signal_args": ["movie"]}))
    assert Backend.objects.define("memory", "Needs").required_signal_args() == ("movie",)
