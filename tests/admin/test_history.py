"""Events, deliveries and messengers: much of it, and much of what it refers to gone."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from dsn_core.admin.history import MessengerFilter
from dsn_core.contracts.activities import Activity
from dsn_core.models import Address, Backend, Delivery, Event, MessengerState, Subscription, Trigger
from dsn_core.models.clock import DatabaseNow
from dsn_core.payload import dump
from tests.admin.pages import answer, text, url
from tests.testapp.models import Movie


@pytest.fixture
def fill(plain_backend: Backend, root: User) -> Callable[..., Event]:
    """Make an event with ``number`` deliveries, each to a user of its own."""
    trigger = Trigger.objects.define("post_save", action_object=Movie)

    def make(number: int = 1, payload: str = "{}") -> Event:
        event = Event.objects.create(trigger=trigger, verb="post_save", payload=payload)
        first = User.objects.count()
        users = User.objects.bulk_create(User(username=f"user{first + n}") for n in range(number))
        Delivery.objects.bulk_create(
            Delivery(
                event=event,
                backend=plain_backend,
                user=user,
                occurrence=event.occurrence,
                messenger="pager",
                status=list(Delivery.Status)[place % len(Delivery.Status)],
                address=f"{user.username}@example.org",
                provider_id=f"provider-{event.pk}-{place}",
                last_error="it <failed>",
            )
            for place, user in enumerate(users)
        )
        return event

    return make


def queries(client: Client, address: str) -> int:
    client.get(address)
    with CaptureQueriesContext(
        connection,
    ) as captured:
        assert client.get(address).status_code == 200
    return len(captured)


@pytest.mark.parametrize("model", [Event, Delivery, Trigger, Backend, Subscription, Address, MessengerState])
def test_a_list_of_many_rows_asks_no_more_than_a_list_of_few(
    client: Client, fill: Callable[..., Event], model: type[Any]
) -> None:
    def more(number: int) -> None:
        for n in range(number):
            fill(2)
            trigger = Trigger.objects.define("post_save", action_object=Movie, target=f"{Trigger.objects.count()}.{n}")
            backend = Backend.objects.create(messenger="pager", message_template=f"plain{Backend.objects.count()}")
            MessengerState.objects.create(messenger=f"pager{MessengerState.objects.count()}")
            Address.objects.create(user=User.objects.latest("pk"), messenger=f"pager{Address.objects.count()}")
            trigger.subscribe("x", users=[User.objects.first()], backends=[backend])

    more(2)
    few = queries(client, url(model, "changelist"))
    more(30)
    assert queries(client, url(model, "changelist")) == few
    assert few <= 12


def test_the_page_of_an_event_with_many_deliveries_is_bounded(client: Client, fill: Callable[..., Event]) -> None:
    small, large = fill(3), fill(300)
    few = queries(client, url(Event, "change", small.pk))
    assert queries(client, url(Event, "change", large.pk)) == few
    page = client.get(url(Event, "change", large.pk))
    content = page.content.decode()
    assert content.count("/delivery/") <= 30
    sent = Delivery.objects.filter(event=large, status="sent").count()
    assert f"sent {sent}" in text(page)
    assert f"{url(Delivery, 'changelist')}?event={large.pk}" in content
    listed = client.get(url(Delivery, "changelist"), {"event": large.pk})
    assert listed.context["cl"].result_count == 300


def test_the_lists_do_not_count_what_they_do_not_show(client: Client, fill: Callable[..., Event]) -> None:
    fill(3)
    with CaptureQueriesContext(connection) as captured:
        client.get(url(Delivery, "changelist"), {"status__exact": "sent"})
    counts = [query["sql"] for query in captured if "COUNT(" in query["sql"] and "dsn_core_delivery" in query["sql"]]
    assert len(counts) == 1


def test_lists_never_read_payloads(client: Client, fill: Callable[..., Event]) -> None:
    fill(2, payload=json.dumps({"kwargs": {"x": "long" * 1000}}))
    for model in (Event, Delivery):
        with CaptureQueriesContext(connection) as captured:
            client.get(url(model, "changelist"))
        assert not [query for query in captured if "payload" in query["sql"]]


def test_what_an_event_lacks_is_shown_with_the_reason(client: Client, fill: Callable[..., Event]) -> None:
    said = {"orders": ["<b>"] * 300_000, "token": "s3cret", "owner": User(pk=1, password="s3cret"), "odd": object()}
    page = client.get(url(Event, "change", fill(1, dump(Activity("v", signal_kwargs=said))).pk))
    shown = text(page)
    assert "orders : list of 300000: too large to store, more than 524288 bytes" in shown
    assert "An event holds up to DSN['MAX_PAYLOAD_BYTES'], which is 524288." in shown
    assert "token : It counts as a secret; DSN['PLAIN_FIELDS'] allows a name." in shown
    assert "auth.user.password : It counts as a secret" in shown
    assert "odd : object: cannot be stored" in shown
    assert "A message that uses one of these fails" in shown
    assert "s3cret" not in page.content.decode()
    complete = client.get(url(Event, "change", fill(1, dump(Activity("v", signal_kwargs={"x": 1}))).pk))
    assert "A message that uses one of these fails" not in text(complete)


def test_a_payload_is_shown_with_line_breaks_and_escaped(client: Client, fill: Callable[..., Event]) -> None:
    payload = json.dumps({"kwargs": {"name": "<script>alert(1)</script>", "title": "Amélie \ud83d\ude00"}})
    page = client.get(url(Event, "change", fill(1, payload).pk))
    content = page.content.decode()
    assert "<script>alert(1)" not in content
    assert "  &quot;kwargs&quot;: {\n" in content
    assert '"name": "<script>alert(1)</script>"' in page.content.decode().replace("&quot;", '"').replace(
        "&lt;", "<"
    ).replace("&gt;", ">")
    assert "Amélie 😀" in text(page)


@pytest.mark.parametrize(
    "payload",
    [
        "",
        "no json <b>at all</b>",
        '{"kwargs": ',
        "[" * 50_000,
        "1" * 6_000,
        '{"half": "\\ud800"}',
        '{"$": "instance", "model": "gone.model", "v": {}}',
        '"' + "x" * 2_000_000 + '"',
    ],
)
def test_any_payload_is_shown_somehow_and_bounded(client: Client, fill: Callable[..., Event], payload: str) -> None:
    page = client.get(url(Event, "change", fill(1, payload).pk))
    assert page.status_code == 200
    assert "<b>at all" not in page.content.decode()
    assert len(page.content) < 100_000
    assert ("more characters" in text(page)) == (len(payload) > 20_000)


def test_what_is_deleted_is_named_and_breaks_nothing(client: Client, fill: Callable[..., Event]) -> None:
    event = fill(1)
    delivery = event.deliveries.get()
    user_id, backend_id = delivery.user_id, delivery.backend_id
    User.objects.exclude(username="root").delete()
    Backend.objects.all().delete()
    Trigger.objects.all().delete()
    for address in (url(Delivery, "changelist"), url(Delivery, "change", delivery.pk), url(Event, "change", event.pk)):
        page = text(client.get(address))
        assert f"user {user_id} (deleted)" in page
        assert f"backend {backend_id} (deleted)" in page
    for address in (url(Event, "changelist"), url(Event, "change", event.pk)):
        assert f"trigger {event.trigger_id} (deleted)" in text(client.get(address))
    # Not through the admin: another process.
    Event.objects.filter(pk=event.pk)._raw_delete(using="default")
    assert f"event {event.pk} (deleted)" in text(client.get(url(Delivery, "changelist")))
    assert client.get(url(Delivery, "changelist")).context["cl"].result_count == 1


@pytest.mark.parametrize("find", ["pk", "address", "provider_id", "message_id", "occurrence"])
def test_a_delivery_is_found_by_any_of_its_ids(client: Client, fill: Callable[..., Event], find: str) -> None:
    fill(3)
    wanted = fill(1).deliveries.get()
    found = client.get(url(Delivery, "changelist"), {"q": str(getattr(wanted, find))}).context["cl"].queryset
    assert wanted in found
    # A number may be a part of an address as well.
    assert find == "pk" or list(found) == [wanted]


@pytest.mark.parametrize("find", ["pk", "occurrence", "verb"])
def test_an_event_is_found(client: Client, fill: Callable[..., Event], find: str) -> None:
    wanted = fill(1)
    other = Event.objects.create(trigger=wanted.trigger, verb="other", payload="{}", occurrence=uuid.uuid4())
    found = client.get(url(Event, "changelist"), {"q": str(getattr(wanted, find))}).context["cl"].queryset
    assert list(found) == [wanted]
    assert other not in found


def test_lists_are_filtered(client: Client, fill: Callable[..., Event]) -> None:
    event = fill(8)
    MessengerState.objects.create(messenger="fax")
    page = client.get(url(Delivery, "changelist"))
    (filter_,) = [spec for spec in page.context["cl"].filter_specs if isinstance(spec, MessengerFilter)]
    assert {"fax", "pager", "night"} <= {name for name, _label in filter_.lookup_choices}
    for given, number in (({"messenger": "pager"}, 8), ({"messenger": "fax"}, 0), ({"status__exact": "failed"}, 1)):
        assert client.get(url(Delivery, "changelist"), given).context["cl"].result_count == number
    for verb, number in (("post_save", 1), ("other", 0)):
        assert client.get(url(Event, "changelist"), {"verb": verb}).context["cl"].result_count == number
    assert client.get(url(Event, "changelist"), {"trigger": event.trigger_id}).context["cl"].result_count == 1


def test_every_status_has_its_badge(client: Client, fill: Callable[..., Event]) -> None:
    fill(len(Delivery.Status))
    content = client.get(url(Delivery, "changelist")).content.decode()
    looks = {"pending": "busy", "sending": "busy", "sent": "good", "retry": "warning", "failed": "bad"}
    looks |= {"skipped": "quiet", "unknown": "doubt", "cancelled": "quiet"}
    for status, tone in looks.items():
        assert f'<span class="dsn-badge dsn-badge-{tone}">{status}</span>' in content


def test_a_pause_can_be_ended(client: Client, plugin: Any) -> None:
    later = timezone.now() + timedelta(hours=1)
    paused = MessengerState.objects.create(messenger="pager", paused_until=later, pause_reason="429 <slow down>")
    other = MessengerState.objects.create(messenger="night", paused_until=later)
    assert "paused" in text(client.get(url(MessengerState, "changelist")))
    data = {"action": "end_pause", "_selected_action": [paused.pk]}
    response = client.post(url(MessengerState, "changelist"), data, follow=True)
    assert "1 pause was ended" in text(response)
    paused.refresh_from_db()
    other.refresh_from_db()
    assert (paused.paused_until, paused.pause_reason, other.paused_until) == (None, "", later)


def test_a_pause_says_how_long_it_lasts_by_the_databases_clock(client: Client, plugin: Any) -> None:
    now = MessengerState.objects.create(messenger="pager")
    clock = MessengerState.objects.annotate(now=DatabaseNow()).get(pk=now.pk).now
    for seconds, said in ((90, r"paused until .*, (90|89|8\d) seconds from now"), (3_600, "(59|60|1) (minutes|hour)")):
        MessengerState.objects.update(paused_until=clock + timedelta(seconds=seconds))
        for address in (url(MessengerState, "changelist"), url(MessengerState, "change", now.pk)):
            assert re.search(said, text(client.get(address)).replace("\xa0", " "))
    MessengerState.objects.update(paused_until=clock - timedelta(seconds=1))
    assert "pager none" in text(client.get(url(MessengerState, "changelist")))


def test_the_rate_says_whether_messages_wait_for_it(client: Client, plugin: Any, settings: Any) -> None:
    state = MessengerState.objects.create(messenger="pager")
    page = url(MessengerState, "changelist")
    assert "no limit" in text(client.get(page))
    settings.DSN = {"MESSENGERS": {"pager": {"TOKEN": "right", "RATE": "20/h"}}}
    assert "20/h below its limit" in text(client.get(page))
    MessengerState.objects.update(rate_next_at=timezone.now() + timedelta(seconds=100))
    for address in (page, url(MessengerState, "change", state.pk)):
        assert re.search(r"20/h at its limit: the next in (100|\d\d) seconds", text(client.get(address)))
    settings.DSN = {"MESSENGERS": {"pager": {"TOKEN": "right", "RATE": "often"}}}
    assert "no limit" in text(client.get(page))


def test_deliveries_are_sent_again_and_cancelled_by_actions(client: Client, fill: Callable[..., Event]) -> None:
    fill(3)
    failed, waiting, sent = Delivery.objects.order_by("pk")
    for row, status in ((failed, "failed"), (waiting, "pending"), (sent, "sent")):
        Delivery.objects.filter(pk=row.pk).update(status=status, not_before=None)
    chosen = {"_selected_action": [failed.pk, waiting.pk, sent.pk]}

    page = answer(client, url(Delivery, "changelist"), {"action": "retry", **chosen})
    assert "1 delivery is sent again" in text(page)
    page = answer(client, url(Delivery, "changelist"), {"action": "cancel", "_selected_action": [waiting.pk]})
    assert "1 delivery was cancelled" in text(page)

    assert [row.status for row in Delivery.objects.order_by("pk")] == ["retry", "cancelled", "sent"]
    failed.refresh_from_db()
    assert failed.not_before is not None


def test_failed_events_are_expanded_again_by_an_action(client: Client, fill: Callable[..., Event]) -> None:
    event = fill(1)
    Event.objects.update(status="failed", not_before=None)
    page = answer(client, url(Event, "changelist"), {"action": "retry", "_selected_action": [event.pk]})
    assert "1 event is expanded again" in text(page)
    event.refresh_from_db()
    assert (event.status, event.not_before is not None) == ("pending", True)


def test_deleting_much_is_confirmed_with_numbers(client: Client, fill: Callable[..., Event]) -> None:
    event = fill(300)
    page = url(Event, "delete", event.pk)
    few = queries(client, page)
    assert few <= 10
    assert "Deliveries: 300" in text(client.get(page)).replace("deliveries", "Deliveries")
    deliveries = Delivery.objects.values_list("pk", flat=True)
    selected = {"action": "delete_selected", "_selected_action": list(deliveries[:100])}
    assert "… and 75 more" in text(client.post(url(Delivery, "changelist"), selected))
    client.post(url(Delivery, "changelist"), {**selected, "post": "yes"})
    assert Delivery.objects.count() == 200
