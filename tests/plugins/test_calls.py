"""What plugins raise, whatever it is, ends their own call; what they leave behind is put back."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import connection, connections, transaction
from django.utils import timezone, translation

from dsn_core import BaseMessageTemplate, BaseMessenger, BaseReceiverFilter, BaseReceiverResolver, Receipt, emit
from dsn_core.models import Delivery, Event
from dsn_core.plugins import calls
from dsn_core.runners import driver
from dsn_core.runners.worker import Worker
from dsn_core.signals import delivery_finished
from dsn_core.testing import MemoryMessenger

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("workers_runner"),
    pytest.mark.timeout(300),
]


class Misbehaving:
    """Does ``act()`` in the part of a plugin that ``part`` names."""

    def __init__(self) -> None:
        self.part = ""
        self.act: Callable[[], Any] = lambda: None

    def __call__(self, part: str) -> None:
        if part == self.part:
            self.act()


PARTS = (
    "messenger", "between receipts", "addresses", "making", "seed", "template", "filter", "resolver",
    "resolver's generator", "listener",
)  # fmt: skip


@pytest.fixture
def plugin(signals: Any) -> Iterator[Misbehaving]:
    """The messengers ``ill`` and ``ill_seed``, a template, a filter and a resolver that misbehave as it says."""
    made = Misbehaving()

    class Ill(MemoryMessenger):
        name = "ill"

        def __init__(self, *given):
            super().__init__(*given)
            made("making")

        @property
        def needs_address(self):
            return True

        def addresses(self, users):
            made("addresses")
            return {user.pk: user.email for user in users}

        def send_messages(self, messages):
            made("messenger")
            for message in messages:
                self.outbox.append(message)
                yield Receipt.sent(message=message)
                made("between receipts")

    class IllSeed(BaseMessenger):
        name = "ill_seed"

        def send(self, template, users):
            for user in users:
                template.render(user)
                made("seed")

    class IllTemplate(BaseMessageTemplate):
        name = "ill_template"
        text = "x"

        def get_template_context(self, context):
            made("template")
            return context

    class IllFilter(BaseReceiverFilter):
        name = "ill_filter"

        def exclude(self, deliveries):
            made("filter")
            return {}

    class IllResolver(BaseReceiverResolver):
        name = "ill_resolver"

        def resolve(self, event, argument):
            from django.contrib.auth.models import User

            made("resolver")

            def generate():
                yield from list(User.objects.order_by("pk"))
                made("resolver's generator")

            return generate()

    def listen(**kwargs: Any) -> None:
        made("listener")

    signals.add(Ill, IllSeed, IllTemplate, IllFilter, IllResolver)
    calls._logged.clear()
    delivery_finished.connect(listen)
    yield made
    delivery_finished.disconnect(listen)


def subscribe(plugin: Misbehaving) -> None:
    from dsn_core.models import Trigger

    messenger = "ill_seed" if plugin.part == "seed" else "ill"
    Trigger.objects.define("happened").subscribe("x", backends=[(messenger, "ill_template")], resolver="ill_resolver")


def statuses() -> list[str]:
    return list(Delivery.objects.order_by("id").values_list("status", flat=True))


class OwnEnd(BaseException):
    """What some libraries raise to unwind their own."""


#: After an error that is no ``Exception``. What may have been sent is unknown.
OUTCOMES = {
    "messenger": ["unknown"] * 3,
    "between receipts": ["sent", "unknown", "unknown"],
    "addresses": ["retry"] * 3,
    "making": ["pending"] * 3,
    "seed": ["unknown", "retry", "retry"],
    "template": ["failed"] * 3,
    "filter": ["retry"] * 3,
    "resolver": [],
    # Its last chunk of receivers was not full.
    "resolver's generator": [],
    "listener": ["sent"] * 3,
}


@pytest.mark.parametrize(
    "error", [SystemExit(3), asyncio.CancelledError(), OwnEnd("bye")], ids=lambda e: type(e).__name__
)
@pytest.mark.parametrize("part", PARTS)
def test_what_is_no_exception_ends_its_own_call_and_leaves_nothing_claimed(part, error, plugin, people, settings):
    def act() -> None:
        raise error

    settings.DSN = {"RUNNER": "immediate"}
    plugin.part, plugin.act = part, act
    subscribe(plugin)
    assert emit("happened") is not None, "it does not reach the caller"
    assert statuses() == OUTCOMES[part]
    assert set(Delivery.objects.values_list("lease_token", flat=True)) <= {None}
    event = Event.objects.get()
    assert (event.status, event.lease_token) == ("pending" if "resolver" in part else "expanded", None)


def test_the_rest_of_a_claim_is_given_back_by_a_messenger_that_exits(signals, people, settings):
    exits = [SystemExit(1)]

    class Exits(MemoryMessenger):
        name = "exits"
        batch_size = 1
        retry_unknown = True

        def send_messages(self, messages):
            if exits:
                raise exits.pop()
            yield from super().send_messages(messages)

    from dsn_core.fanout import expander
    from dsn_core.models import Trigger
    from dsn_core.sending import sender

    signals.add(Exits)
    Trigger.objects.define("happened").subscribe("x", backends=[("exits", "plain")], users=people)
    emit("happened")
    expander.expand_due("default")
    sender = sender.Sender("exits", "default")
    sender._batches = 3
    assert sender.work().done == 1
    assert list(Delivery.objects.order_by("id").values_list("status", "attempts")) == [
        ("retry", 1), ("pending", 0), ("pending", 0),
    ]  # fmt: skip
    assert sender.work().done == 2


# Interrupts


class Timeout(BaseException):
    """Stands for gevent's, which is known by the name of its module."""

    __module__ = "gevent.timeout"


def _handle(number: int, frame: Any) -> None:
    raise SystemExit(1)


def _time_out() -> None:
    signal.raise_signal(signal.SIGUSR1)


def _press_ctrl_c() -> None:
    raise KeyboardInterrupt


def _green() -> None:
    raise Timeout


@pytest.mark.parametrize(
    ("interrupt", "raised"),
    [(_press_ctrl_c, KeyboardInterrupt), (_time_out, SystemExit), (_green, Timeout)],
    ids=["ctrl-c", "signal handler", "gevent"],
)
@pytest.mark.parametrize(
    ("part", "left"),
    [
        ("messenger", [("unknown", 1)] * 3),
        ("between receipts", [("sent", 1), ("unknown", 1), ("unknown", 1)]),
        ("seed", [("unknown", 1), ("pending", 0), ("pending", 0)]),
        # It may be what took so long.
        ("template", [("retry", 1), ("pending", 0), ("pending", 0)]),
        ("filter", [("retry", 1)] * 3),
        ("resolver", []),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_an_interrupt_goes_on_and_leaves_nothing_claimed(part, left, interrupt, raised, plugin, people, settings):
    settings.DSN = {"RUNNER": "worker"}
    plugin.part, plugin.act = part, interrupt
    subscribe(plugin)
    emit("happened")
    before = signal.signal(signal.SIGUSR1, _handle)
    try:
        with pytest.raises(raised):
            driver.drain("default")
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert list(Delivery.objects.order_by("id").values_list("status", "attempts")) == left
    assert set(Delivery.objects.values_list("lease_token", flat=True)) <= {None}
    event = Event.objects.get()
    assert (event.status, event.lease_token) == ("pending" if part == "resolver" else "expanded", None)


# What is left behind


def _leave_language() -> None:
    translation.activate("de")


def _leave_time_zone() -> None:
    timezone.activate("Asia/Tokyo")


def _leave_autocommit() -> None:
    if not connection.in_atomic_block:
        transaction.set_autocommit(False)


def _leave_transaction() -> None:
    transaction.atomic().__enter__()


def _leave_transaction_and_use_it() -> None:
    transaction.atomic().__enter__()
    Event.objects.update(verb="never committed")


def _leave_closed() -> None:
    connection.ensure_connection()
    assert connection.connection is not None
    connection.connection.close()


def _close() -> None:
    connections.close_all()


LEFT = {
    "another language": _leave_language,
    "another time zone": _leave_time_zone,
    "autocommit switched off": _leave_autocommit,
    "an open transaction": _leave_transaction,
    "an open transaction ": _leave_transaction_and_use_it,
    "a closed connection": _leave_closed,
    "": _close,
}


@contextlib.contextmanager
def as_it_was() -> Iterator[None]:
    """Within, this thread's state stays, and what is written is committed."""
    assert not connection.in_atomic_block
    with translation.override("fr"), timezone.override("Europe/Paris"):
        yield
        assert translation.get_language() == "fr"
        assert timezone.get_current_timezone_name() == "Europe/Paris"
        assert not connection.in_atomic_block
        connection.ensure_connection()
        assert connection.get_autocommit()


#: Where it is one call for each delivery, or its error is another matter.
LEAVING = ("messenger", "addresses", "making", "seed", "template", "filter", "resolver", "listener")


@pytest.mark.parametrize("what", LEFT)
@pytest.mark.parametrize(
    ("part", "runner"),
    # One lane that sends, and the one that expands.
    [*((part, "immediate") for part in LEAVING), ("messenger", "worker"), ("resolver", "worker")],
)
def test_what_a_plugin_leaves_behind_is_put_back(part, what, runner, plugin, people, settings, caplog):
    settings.DSN = {"RUNNER": runner}
    plugin.part, plugin.act = part, LEFT[what]
    subscribe(plugin)
    caplog.set_level(logging.ERROR, "dsn_core.plugins")
    with as_it_was():
        for _ in range(2):
            emit("happened")
            if runner == "worker":
                Worker("default").drain()
    # Asked by a connection of its own: committed is committed.
    found: list[Any] = []

    def ask() -> None:
        found.extend(statuses())
        found.extend(Event.objects.values_list("status", "verb"))
        connections.close_all()

    thread = threading.Thread(target=ask)
    thread.start()
    thread.join(30)
    assert found == ["sent"] * 6 + [("expanded", "happened")] * 2
    said = [record.getMessage() for record in caplog.records if record.name == "dsn_core.plugins"]
    if what.strip():
        assert len(said) == 1
        assert f"left this behind: {what.strip()}" in said[0]
    else:
        assert said == []


def test_a_resolver_that_leaves_the_transaction_of_its_deliveries_open_fails_its_event(plugin, people, settings):
    settings.DSN = {"RUNNER": "worker"}
    plugin.part, plugin.act = "resolver's generator", _leave_transaction
    subscribe(plugin)
    emit("happened")
    with as_it_was():
        driver.drain("default")
    assert statuses() == []
    event = Event.objects.get()
    assert event.status == "failed"
    assert "The receiver resolver 'ill_resolver' left a transaction open" in event.last_error


def test_one_receivers_template_does_not_speak_the_language_that_the_one_before_left(signals, people, settings):
    class Leaves(BaseMessageTemplate):
        name = "leaves"
        text = "{{ _('Yes') }}"

        def get_template_context(self, context):
            if context["user"].username == "ann":
                translation.activate("de")
            return context

    from dsn_core.models import Trigger

    settings.DSN = {"RUNNER": "worker"}
    signals.add(Leaves)
    Trigger.objects.define("happened").subscribe("x", backends=[("memory", "leaves")], users=people)
    emit("happened")
    signals.run()
    assert [message.text for message in signals.sent] == ["Ja", "Yes", "Yes"]


def test_a_transaction_that_was_open_before_stays_open(plugin, people, settings):
    settings.DSN = {"RUNNER": "worker"}
    plugin.part, plugin.act = "messenger", _leave_transaction
    subscribe(plugin)
    emit("happened")
    with transaction.atomic():
        driver.drain("default")
        assert connection.in_atomic_block
        assert len(connection.atomic_blocks) == 1
    assert statuses() == ["sent"] * 3
