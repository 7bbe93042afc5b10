"""How far events are: on their page, and in the list by one query."""

from __future__ import annotations

import html
import re
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from dsn_core.admin.events import MAX_COUNTED
from dsn_core.models import Backend, Delivery, Event, Trigger
from tests.admin.pages import text, url
from tests.testapp.models import Movie


def make(backend: Backend, found: int = 0, status: str = "expanded", **numbers: int) -> Event:
    """An event with so many deliveries of each status."""
    trigger = Trigger.objects.define("post_save", action_object=Movie)
    event = Event.objects.create(trigger=trigger, verb="post_save", payload="{}", found=found, status=status)
    statuses = [name for name, number in numbers.items() for _ in range(number)]
    Delivery.objects.bulk_create(
        Delivery(event=event, backend=backend, occurrence=event.occurrence, messenger="pager", status=name, address="1")
        for name in statuses
    )
    return event


def pieces(page: Any) -> list[tuple[str, int, int]]:
    """The pieces of the bar: tone, begin, width."""
    found = re.findall(r'<rect class="dsn-bar-(\w+)" x="(\d+)" y="0" width="(\d+)"', page.content.decode())
    return [(tone, int(begin), int(width)) for tone, begin, width in found]


def test_the_page_says_found_made_and_what_became_of_them(client: Client, plain_backend: Backend) -> None:
    event = make(plain_backend, 7, sent=4, failed=1, pending=3)
    page = client.get(url(Event, "change", event.pk))
    assert "Its subscriptions found 7 receivers. 8 deliveries were made." in text(page)
    assert "pending 3 sent 4 failed 1" in text(page)
    assert 'viewBox="0 0 8 1"' in page.content.decode()
    assert pieces(page) == [("busy", 0, 3), ("good", 3, 4), ("bad", 7, 1)]


def test_the_page_of_an_event_whose_receivers_are_still_looked_for(client: Client, plain_backend: Backend) -> None:
    new = text(client.get(url(Event, "change", make(plain_backend, status="pending").pk)))
    assert "Its receivers are still being looked for. 0 deliveries were made." in new
    none = text(client.get(url(Event, "change", make(plain_backend).pk)))
    assert "Its subscriptions found 0 receivers. 0 deliveries were made." in none


def test_the_list_says_it_in_a_line(client: Client, plain_backend: Backend) -> None:
    done = make(plain_backend, 3, sent=3)
    trouble = make(plain_backend, 4, sent=1, failed=1, retry=1, unknown=1, skipped=1)
    make(plain_backend)
    page = client.get(url(Event, "changelist"))
    for event, said in ((done, "3 of 3 sent"), (trouble, "1 of 5 sent")):
        assert f'<a href="{url(Delivery, "changelist")}?event={event.pk}">{said}</a>' in page.content.decode()
    assert "1 of 5 sent retry 1 failed 1 unknown 1" in text(page)
    assert "skipped 1</span>" not in page.content.decode()
    assert ("good", 0, 3) in pieces(page)


def test_the_list_counts_by_one_query_and_never_a_crowd(client: Client, plain_backend: Backend) -> None:
    for _ in range(3):
        make(plain_backend, 1, sent=1)
    make(plain_backend, MAX_COUNTED + 1, sent=2)
    with CaptureQueriesContext(connection) as captured:
        page = client.get(url(Event, "changelist"))
    counts = [query["sql"] for query in captured if re.search(r"COUNT\(.*dsn_core_delivery", query["sql"])]
    assert len(counts) == 1
    assert "10,001 receivers" in text(page)
    assert "of 2 sent" not in text(page)


@pytest.mark.parametrize(("report", "tone"), [("delivered", "good"), ("undelivered", "bad")])
def test_a_report_stands_beside_the_status(client: Client, plain_backend: Backend, report: str, tone: str) -> None:
    event = make(plain_backend, 2, sent=2)
    delivery = event.deliveries.latest("pk")
    Delivery.objects.filter(pk=delivery.pk).update(report=report, report_reason="30005 <b>unknown</b>")
    badges = (
        f'<span class="dsn-badge dsn-badge-good">sent</span> <span class="dsn-badge dsn-badge-{tone}">{report}</span>'
    )
    for address in (url(Delivery, "changelist"), url(Event, "change", event.pk)):
        assert client.get(address).content.decode().count(badges) == 1
    page = client.get(url(Delivery, "change", delivery.pk))
    assert badges in page.content.decode()
    assert "30005 <b>unknown</b>" in html.unescape(page.content.decode())
    assert "<b>unknown" not in page.content.decode()
    assert "none yet" in text(client.get(url(Delivery, "change", event.deliveries.earliest("pk").pk)))
    listed = client.get(url(Delivery, "changelist"), {"report__exact": report})
    assert listed.context["cl"].result_count == 1
