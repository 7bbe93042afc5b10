"""The internals of Django and Python: what :mod:`dsn_core._django` says is still so."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import functools
import signal
from typing import Any

import pytest
from asgiref.sync import ThreadSensitiveContext
from django.apps import apps
from django.core import serializers
from django.core.checks.model_checks import _check_lazy_references as check_lazy_references
from django.db import connection, models, transaction
from django.db.migrations.recorder import MigrationRecorder
from django.db.migrations.state import ModelState, StateApps
from django.db.models import signals
from django.test.utils import CaptureQueriesContext
from django.utils import timezone, translation

from dsn_core._django import (
    LazyReferences,
    after_commit_first,
    asgi_request,
    callbacks_on_commit,
    is_being_deserialized,
    is_historical,
    is_interrupt,
    is_to_come,
    open_savepoints,
    raised_by_signal_handler,
    regex_codes,
    regex_parser,
)
from dsn_core._thread_state import ThreadState
from dsn_core.savepoints import LateAtomic
from tests.testapp.models import Country

#: Of code that has nothing to do with Django.
VARIABLE: contextvars.ContextVar[Any] = contextvars.ContextVar("variable", default=None)
VARIABLE.set("before")


class Incomparable:
    def __eq__(self, other: object) -> bool:
        raise ValueError("as arrays of some libraries do")

    __hash__ = None  # type: ignore[assignment]


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
@pytest.mark.parametrize("change", [lambda: translation.activate("de"), lambda: timezone.activate("Asia/Tokyo")])
@pytest.mark.parametrize("beside", [None, Incomparable()], ids=["alone", "beside another variable"])
def test_a_language_or_time_zone_that_was_left_behind_is_seen_at_a_glance(change: Any, beside: Any) -> None:
    connection.ensure_connection()
    # override() activates the language of before, also where none was activated.
    translation.activate("en")
    before = ThreadState()
    held = VARIABLE.set(beside) if beside else None
    assert before.looks_unchanged()
    with translation.override("fr"), timezone.override("Asia/Tokyo"), transaction.atomic():
        assert not before.looks_unchanged()
    assert before.looks_unchanged()
    change()
    assert not before.looks_unchanged()
    before.restore()
    assert before.looks_unchanged()
    if held:
        VARIABLE.reset(held)


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


@pytest.mark.django_db(transaction=True)
def test_a_late_block_sets_its_savepoint_at_the_first_query_and_takes_back_as_atomic_does() -> None:
    called: list[str] = []
    late = functools.partial(LateAtomic, "default", savepoint=True, durable=False)
    with transaction.atomic():
        with CaptureQueriesContext(connection) as captured, late():
            pass
        assert len(captured) == 0
        captured = CaptureQueriesContext(connection)
        with captured, contextlib.suppress(ZeroDivisionError), late():
            Country.objects.create(code="de")
            transaction.on_commit(lambda: called.append("inner"))
            raise ZeroDivisionError
        assert [query["sql"].split()[0] for query in captured.captured_queries][:2] == ["SAVEPOINT", "INSERT"]
        transaction.on_commit(lambda: called.append("outer"))
        assert len(callbacks_on_commit(connection)) == 1
    assert called == ["outer"]
    assert not Country.objects.exists()


@pytest.mark.django_db
def test_what_is_rolled_back_is_gone_from_the_callbacks() -> None:
    before = callbacks_on_commit(connection)
    with contextlib.suppress(ZeroDivisionError), transaction.atomic():
        transaction.on_commit(test_ctrl_c_goes_on)
        assert callbacks_on_commit(connection) == [*before, test_ctrl_c_goes_on]
        raise ZeroDivisionError
    assert callbacks_on_commit(connection) == before


@pytest.mark.django_db
def test_a_fixtures_instance_is_known_while_it_is_saved() -> None:
    seen: list[bool] = []

    def heard(instance: Any, **kwargs: Any) -> None:
        seen.append(is_being_deserialized(instance))

    signals.post_save.connect(heard, sender=Country)
    try:
        Country.objects.create(code="de")
        for loaded in serializers.deserialize("python", [{"model": "testapp.country", "pk": "at", "fields": {}}]):
            loaded.save()
    finally:
        signals.post_save.disconnect(heard, sender=Country)
    assert seen == [False, True]


def test_references_to_models_that_never_come_are_forgotten() -> None:
    assert check_lazy_references(apps) == []
    apps.lazy_model_operation(lambda model: None, ("elsewhere", "earlier"))
    references = LazyReferences()
    for name in ("earlier", "later"):
        apps.lazy_model_operation(lambda model: None, ("elsewhere", name))
    try:
        assert len(check_lazy_references(apps)) == 3
        references.forget_later_ones()
        assert len(check_lazy_references(apps)) == 1
    finally:
        apps._pending_operations.clear()
    assert check_lazy_references(apps) == []


def test_models_of_migrations_are_known_by_their_module() -> None:
    state = ModelState("testapp", "Old", [("id", models.AutoField(primary_key=True))])
    assert is_historical(StateApps([], {("testapp", "old"): state}).get_model("testapp", "Old"))
    assert is_historical(MigrationRecorder(connection).Migration)
    assert not is_historical(Country)


async def _asgi_request_within() -> Any:
    async with ThreadSensitiveContext() as context:
        return asgi_request() is context


def test_the_asgi_request_is_known() -> None:
    assert asgi_request() is None
    assert asyncio.run(_asgi_request_within())


def test_a_pattern_is_parsed_into_known_codes() -> None:
    ((code, argument),) = list(regex_parser.parse("a{2,5}"))
    least, most, body = argument
    assert (code, least, most) == (regex_codes.MAX_REPEAT, 2, 5)
    assert list(body) == [(regex_codes.LITERAL, ord("a"))]


@pytest.mark.django_db(transaction=True)
def test_what_is_to_be_done_on_commit_is_called_in_the_order_in_which_it_stands() -> None:
    """``after_commit_first``: marks fall with their savepoints, the end comes once, both before the others."""
    called: list[str] = []

    class Waiting:
        def one(self) -> None:
            called.append("one")

        def two(self) -> None:
            called.append("two")

        def finish(self) -> None:
            called.append("finish")

    waiting = Waiting()
    with transaction.atomic():
        transaction.on_commit(lambda: called.append("other"))
        after_commit_first(connection, waiting.one, waiting.finish)
        with contextlib.suppress(ZeroDivisionError), transaction.atomic():
            ids = open_savepoints(connection)
            after_commit_first(connection, waiting.two, waiting.finish)
            raise ZeroDivisionError
        with transaction.atomic():
            assert not ids & open_savepoints(connection), "they never come again"
            after_commit_first(connection, waiting.two, waiting.finish)
        assert is_to_come(connection, waiting.finish)
    assert called == ["one", "two", "finish", "other"]
    with contextlib.suppress(ZeroDivisionError), transaction.atomic():
        after_commit_first(connection, waiting.one, waiting.finish)
        raise ZeroDivisionError
    assert not is_to_come(connection, waiting.finish)
