"""Deliveries on hold, as operators see them."""

from __future__ import annotations

from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command
from django.test import Client
from django.urls import reverse

from dsn_core.fanout import expander
from dsn_core.intake.record import outbox
from dsn_core.models import Backend, MessengerState, Subscription
from dsn_core.queue import held

pytestmark = pytest.mark.django_db


def checked() -> str:
    """What ``dsn_plugins --check`` says, in one line."""
    out = StringIO()
    with pytest.raises(SystemExit):
        call_command("dsn_plugins", "--check", stdout=out, no_color=True)
    return " ".join(out.getvalue().split())


def test_nothing_waits_where_all_is_installed(signals, subscribe, fire, people) -> None:
    subscribe(users=people)
    fire()
    expander.expand_due(outbox())
    assert list(held.problems(outbox())) == []


def test_deliveries_without_their_template_are_counted_with_the_reason(
    signals, subscribe, fire, people, admin_client: Client
) -> None:
    subscribe(users=people)
    fire()
    Backend.objects.update(message_template="lost")
    signals.run()
    assert "3 deliveries by 'memory' could not be sent, and will be looked at again: There is no message" in checked()
    state = MessengerState.objects.get(messenger="memory")
    page = admin_client.get(reverse("admin:dsn_core_messengerstate_change", args=[state.pk])).content.decode()
    assert "3 deliveries" in page
    assert "There is no message template &#x27;lost&#x27;" in page


def test_deliveries_of_a_messenger_that_is_not_there_are_counted(signals, subscribe, fire, people) -> None:
    Backend.objects.create(messenger="gone", message_template="plain")
    subscribe(users=people[:1])
    Backend.objects.filter(messenger="memory").update(messenger="gone2")
    fire()
    signals.run()
    assert "1 delivery waits for the messenger 'gone2', which cannot be made here: There is no messenger" in checked()


def test_events_without_their_resolver_are_counted(signals, subscribe, fire, people) -> None:
    subscribe(users=people)
    Subscription.objects.update(resolver="lost")
    fire()
    signals.run()
    said: Any = checked()
    assert "The receivers of 1 event could not be found, and will be looked for again:" in said
    assert "There is no receiver resolver 'lost'" in said
