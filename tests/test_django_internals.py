"""The internals that calls of plugins lean on: what :mod:`dsn_core._django` says is still so."""

from __future__ import annotations

import functools
import signal
from typing import Any

import pytest
from django.db import connection, transaction
from django.utils import timezone, translation

from dsn_core._django import ThreadState, is_interrupt, raised_by_signal_handler


class Server:
    """As gunicorn's workers: its handler is a bound method."""

    def abort(self, number: int, frame: Any) -> None:
        raise SystemExit(1)

    def __call__(self, number: int, frame: Any) -> None:
        raise SystemExit(1)


def _abort(reason: str, number: int, frame: Any) -> None:
    raise TimeoutError(reason)


def caught(function: Any) -> BaseException:
    try:
        function()
    except BaseException as error:
        return error
    raise AssertionError("nothing was raised")


@pytest.mark.parametrize(
    "handler",
    [Server().abort, Server(), functools.partial(_abort, "soft time limit"), lambda *args: _abort("late", *args)],
    ids=["method", "object", "partial", "function"],
)
def test_what_a_signal_handler_raises_is_known_by_its_code(handler: Any) -> None:
    before = signal.signal(signal.SIGUSR1, handler)
    try:
        error = caught(lambda: signal.raise_signal(signal.SIGUSR1))
        assert raised_by_signal_handler(error)
        assert is_interrupt(error)
        assert not is_interrupt(caught(lambda: (_ for _ in ()).throw(SystemExit(1)))), "raised by other code"
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_ctrl_c_goes_on() -> None:
    assert is_interrupt(KeyboardInterrupt())


@pytest.mark.parametrize("module", ["gevent.timeout", "eventlet.timeout", "greenlet"])
def test_what_ends_green_threads_is_known_by_its_module(module: str) -> None:
    ends = type("Ends", (BaseException,), {"__module__": module})
    own = type("Own", (ends,), {})
    fails = type("Fails", (Exception,), {"__module__": module})
    assert is_interrupt(ends())
    assert is_interrupt(own())
    assert not is_interrupt(fails()), "an error like any other"
    assert not is_interrupt(SystemExit())


@pytest.mark.django_db(transaction=True)
def test_a_state_that_did_not_change_is_left_alone() -> None:
    connection.ensure_connection()
    before = ThreadState()
    with translation.override("de"), timezone.override("Asia/Tokyo"), transaction.atomic(), transaction.atomic():
        pass
    assert before.restore() == []
    assert not before.rolled_back


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("depth", [0, 1, 2])
def test_blocks_that_were_left_open_end_and_others_stay(depth: int) -> None:
    outer = [transaction.atomic() for _ in range(depth)]
    for block in outer:
        block.__enter__()
    before = ThreadState()
    for _ in range(3):
        transaction.atomic().__enter__()
    assert before.restore() == ["an open transaction on 'default', which was rolled back"]
    assert before.rolled_back
    assert len(connection.atomic_blocks) == depth
    assert connection.in_atomic_block is bool(depth)
    assert len(connection.savepoint_ids) == max(depth - 1, 0)
    for block in reversed(outer):
        block.__exit__(None, None, None)
    assert connection.get_autocommit()


@pytest.mark.django_db(transaction=True)
def test_language_and_time_zone_are_where_django_keeps_them() -> None:
    before = ThreadState()
    translation.activate("de")
    timezone.activate("Asia/Tokyo")
    assert before.restore() == ["another language", "another time zone"]
    assert translation.get_language() == "en"
    assert timezone.get_current_timezone() is timezone.get_default_timezone()


@pytest.mark.django_db(transaction=True)
def test_a_driver_says_that_its_connection_is_closed() -> None:
    connection.ensure_connection()
    before = ThreadState()
    connection.connection.close()
    assert before.restore() == ["a closed connection to 'default'"]
    assert connection.connection is None
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")


@pytest.mark.django_db(transaction=True)
def test_autocommit_is_switched_back_and_what_was_not_committed_is_rolled_back() -> None:
    from dsn_core.models import MessengerState

    before = ThreadState()
    transaction.set_autocommit(False)
    MessengerState.objects.create(messenger="x")
    assert before.restore() == ["autocommit switched off on 'default'"]
    assert connection.get_autocommit()
    assert not MessengerState.objects.exists()
