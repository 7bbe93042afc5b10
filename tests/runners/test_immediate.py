"""The default runner: after the commit; within a request, after the response."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from asgiref.testing import ApplicationCommunicator
from django.core.handlers.asgi import ASGIHandler
from django.core.handlers.wsgi import WSGIHandler
from django.db import OperationalError, connections, transaction
from django.http import HttpResponse
from django.test import Client, RequestFactory
from django.urls import path

from dsn_core import Receipt, emit
from dsn_core.fanout.expander import Expander
from dsn_core.intake.record import outbox
from dsn_core.models import Delivery, Event
from dsn_core.plugins.registry import registry
from dsn_core.runners import driver
from dsn_core.testing import MemoryMessenger

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.urls(__name__)]

order: list[str] = []


def view(request: Any) -> HttpResponse:
    emit("happened")
    order.append(f"in the view: {len(MemoryMessenger.outbox)} sent")
    return HttpResponse("done")


async def async_view(request: Any) -> HttpResponse:
    await sync_to_async(emit)("happened")
    order.append(f"in the view: {len(MemoryMessenger.outbox)} sent")
    return HttpResponse("done")


def failing_view(request: Any) -> HttpResponse:
    with transaction.atomic():
        emit("happened")
        raise ValueError("rolled back")


urlpatterns = [path("sync", view), path("async", async_view), path("fails", failing_view)]


@pytest.fixture(autouse=True)
def _immediate(settings: Any) -> None:
    order.clear()
    settings.DSN = {"RUNNER": "immediate"}
    # As at the start of a process: from then on it hears of requests.
    registry.runner("immediate")


def test_outside_of_a_request_it_sends_at_once(signals, subscribe) -> None:
    subscribe()
    emit("happened")
    assert len(signals.sent) == 1
    assert signals.deliveries[0].status == "sent"


def test_inside_a_transaction_it_sends_after_the_commit_and_never_after_a_rollback(signals, subscribe) -> None:
    subscribe()
    with transaction.atomic():
        emit("happened")
        emit("happened")
        assert signals.sent == []
    assert len(signals.sent) == 2
    with transaction.atomic():
        emit("happened")
        transaction.set_rollback(True)
    assert (len(signals.sent), Event.objects.count()) == (2, 2)


def wsgi_call(url: str) -> None:
    """What a WSGI server does: call, send the body, close."""
    environ = RequestFactory().get(url).environ
    body = WSGIHandler()(environ, lambda status, headers: order.append(status))
    order.append(b"".join(body).decode())
    order.append(f"response out: {len(MemoryMessenger.outbox)} sent")
    body.close()
    order.append(f"closed: {len(MemoryMessenger.outbox)} sent")


def test_within_a_request_it_sends_after_the_response(signals, subscribe) -> None:
    subscribe()
    wsgi_call("/sync")
    assert order == ["in the view: 0 sent", "200 OK", "done", "response out: 0 sent", "closed: 1 sent"]
    emit("happened")
    assert len(signals.sent) == 2, "the request is over"


def test_a_response_that_was_never_closed_delays_only_until_the_next(signals, subscribe) -> None:
    subscribe()
    WSGIHandler()(RequestFactory().get("/sync").environ, lambda status, headers: None)
    assert signals.sent == []
    wsgi_call("/fails")
    assert len(signals.sent) == 1


def test_the_test_client_counts_as_a_request(signals, subscribe) -> None:
    subscribe()
    assert Client().get("/sync").content == b"done"
    assert order == ["in the view: 0 sent"]
    assert len(signals.sent) == 1


@pytest.mark.parametrize("url", ["/sync", "/async"])
def test_asgi_sends_after_the_response(url: str, signals, subscribe) -> None:
    subscribe()

    async def call() -> None:
        scope = {
            "type": "http", "method": "GET", "path": url, "raw_path": url.encode(), "query_string": b"", "headers": [],
            "server": ("testserver", 80), "http_version": "1.1", "asgi": {"version": "3.0"}, "root_path": "",
        }  # fmt: skip
        application = ApplicationCommunicator(ASGIHandler(), scope)
        await application.send_input({"type": "http.request", "body": b""})
        start = await application.receive_output(5)
        assert start["status"] == 200
        body = await application.receive_output(5)
        order.append(body["body"].decode())
        await application.wait(10)

    asyncio.run(call())
    assert order == ["in the view: 0 sent", "done"]
    assert len(signals.sent) == 1
    assert [row.status for row in signals.deliveries] == ["sent"]


def test_an_error_of_the_sending_never_reaches_the_caller(signals, subscribe, monkeypatch, caplog) -> None:
    subscribe()
    monkeypatch.setattr(Expander, "work", lambda self: (_ for _ in ()).throw(OperationalError("gone")))
    with transaction.atomic():
        assert emit("happened") is not None
    assert "a worker will find the work" in caplog.text
    wsgi_call("/sync")
    assert order[0] == "in the view: 0 sent"
    monkeypatch.undo()
    assert driver.drain(outbox()).deliveries == 2


def test_a_messenger_that_raises_never_reaches_the_caller(signals, subscribe) -> None:
    MemoryMessenger.answer = staticmethod(lambda message: 1 / 0)
    subscribe()
    emit("happened")
    assert signals.deliveries[0].status == "retry"


def test_a_messenger_that_fires_signals_is_bounded_and_not_nested(signals, subscribe) -> None:
    nesting: list[int] = []
    inside: list[int] = []

    def answer(message: Any) -> Receipt:
        inside.append(1)
        nesting.append(len(inside))
        emit("happened")
        inside.pop()
        return Receipt.sent()

    MemoryMessenger.answer = staticmethod(answer)
    subscribe()
    emit("happened")
    assert sorted(Event.objects.values_list("depth", flat=True)) == [0, 1, 2, 3]
    assert set(nesting) == {1}, "the loop finds it, no loop runs within the loop"
    assert len(signals.sent) == 4


def test_a_worker_in_the_same_process_is_not_interrupted_by_wake_ups(signals, subscribe, settings) -> None:
    nesting: list[bool] = []
    MemoryMessenger.answer = staticmethod(lambda message: nesting.append(driver.is_draining()) or Receipt.sent())
    subscribe()
    settings.DSN = {"RUNNER": "worker"}
    emit("happened")
    driver.drain(outbox())
    assert nesting == [True]
    assert not driver.is_draining()


def test_it_works_for_a_bounded_time_and_leaves_the_rest_to_a_worker(signals, subscribe, settings) -> None:
    settings.DSN = {"RUNNER": "worker", "IMMEDIATE_SECONDS": 0.2}

    def answer(message: Any) -> Receipt:
        time.sleep(0.7)
        return Receipt.sent()

    class Slow(MemoryMessenger):
        name = "slow"
        batch_size = 1

    Slow.answer = staticmethod(answer)
    signals.add(Slow)
    subscribe("slow")
    for _ in range(10):
        emit("happened")
    settings.DSN = {"RUNNER": "immediate", "IMMEDIATE_SECONDS": 2}
    emit("happened")
    counted = Counter(row.status for row in signals.deliveries)
    assert 1 <= counted["sent"] <= 4
    assert counted["pending"] == 11 - counted["sent"]
    settings.DSN = {"RUNNER": "worker"}
    Slow.answer = None
    driver.drain(outbox())
    assert Delivery.objects.filter(status="sent").count() == 11


def test_another_threads_request_is_its_own(signals, subscribe) -> None:
    subscribe()
    body = WSGIHandler()(RequestFactory().get("/sync").environ, lambda status, headers: None)

    def elsewhere() -> None:
        try:
            emit("happened")
            order.append(f"elsewhere: {len(MemoryMessenger.outbox)} sent")
        finally:
            connections.close_all()

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join(20)
    assert order[-1] == "elsewhere: 2 sent"
    body.close()
    assert len(signals.sent) == 2
