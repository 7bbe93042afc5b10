"""Actions that send, cancel or expand: they ask first, take what was chosen by name, and leave one entry in the log."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from dsn_core.models import Backend, Delivery, Event, Trigger
from dsn_core.models.delivery import NO_ADDRESS, address_key
from tests.admin.pages import answer, asked, text, url
from tests.testapp.models import Movie

LIST = "/admin/dsn_core/delivery/"


@pytest.fixture
def make(plain_backend: Backend) -> Callable[..., Event]:
    """Make an event with so many deliveries of each status."""
    trigger = Trigger.objects.define("post_save", action_object=Movie)

    def make(payload: str = "{}", messenger: str = "pager", status: str = "expanded", **numbers: int) -> Event:
        event = Event.objects.create(trigger=trigger, verb="post_save", payload=payload, status=status)
        Delivery.objects.bulk_create(
            Delivery(
                event=event,
                backend=plain_backend,
                occurrence=event.occurrence,
                messenger=messenger,
                status=one,
                address=f"{event.pk}-{one}-{n}",
            )
            for one, number in numbers.items()
            for n in range(number)
        )
        return event

    return make


def by_status() -> dict[str, int]:
    return {status: number for status in Delivery.Status if (number := Delivery.objects.filter(status=status).count())}


#: All rows of the list, as Django sends it after "select all".
ALL = {"select_across": "1", "index": "0", "_selected_action": ["1"]}


def test_sending_again_shows_numbers_by_status_and_changes_nothing_before_it_was_asked(
    client: Client, make: Callable[..., Event]
) -> None:
    make(failed=3, unknown=2, cancelled=4, skipped=1, sent=5, pending=2)
    before = by_status()
    page = client.post(LIST, {"action": "retry", **ALL})
    said = text(page)
    for line in ("pending 2 0", "sent 5 0", "failed 3 3", "skipped 1 1", "unknown 2 2", "cancelled 4 4"):
        assert line in said
    assert "17 deliveries All rows: no filter is set." in said
    assert by_status() == before
    assert not LogEntry.objects.exists()
    assert asked(page)["status"] == ["failed"], "the others only when chosen by name"


def test_failed_alone_is_sent_again_unless_others_are_chosen(client: Client, make: Callable[..., Event]) -> None:
    make(failed=3, unknown=2, cancelled=4, skipped=1, sent=5)
    page = answer(client, LIST, {"action": "retry", **ALL})
    assert "3 deliveries are sent again." in text(page)
    assert by_status() == {"retry": 3, "unknown": 2, "cancelled": 4, "skipped": 1, "sent": 5}
    page = answer(client, LIST, {"action": "retry", **ALL}, status=["unknown", "skipped", "sent", "nonsense"])
    assert "3 deliveries are sent again." in text(page)
    assert by_status() == {"retry": 6, "cancelled": 4, "sent": 5}


def test_one_entry_in_the_log_with_filter_and_number(client: Client, make: Callable[..., Event], root: User) -> None:
    make(failed=3, unknown=2)
    make(failed=2, messenger="night")
    answer(client, f"{LIST}?messenger=night&q=-failed-&p=1&o=1", {"action": "retry", **ALL})
    (entry,) = LogEntry.objects.all()
    assert (entry.user, entry.content_type.model_class(), entry.object_id) == (root, Delivery, None)
    assert entry.object_repr == "2 deliveries are sent again. Filter: messenger=night, q=-failed-."
    said = entry.get_change_message()
    assert said == "2 deliveries are sent again. Statuses: failed. Filter: messenger=night, q=-failed-."
    assert Delivery.objects.filter(status="failed").count() == 3
    assert entry.object_repr in text(client.get("/admin/"))


def test_rows_that_were_ticked_are_named_in_the_log(client: Client, make: Callable[..., Event]) -> None:
    make(failed=3)
    ticked = list(Delivery.objects.order_by("pk").values_list("pk", flat=True)[:2])
    answer(client, LIST, {"action": "retry", "_selected_action": ticked})
    assert by_status() == {"retry": 2, "failed": 1}
    assert f"Selected: #{ticked[0]}, #{ticked[1]}." in LogEntry.objects.get().get_change_message()


def test_nothing_chosen_changes_nothing_and_asks_again(client: Client, make: Callable[..., Event]) -> None:
    make(failed=3)
    page = answer(client, LIST, {"action": "retry", **ALL}, status=[])
    assert "Nothing was changed: choose at least one status." in text(page)
    assert "status" not in asked(page), "nothing is ticked automatically"
    assert by_status() == {"failed": 3}


def test_what_came_after_the_question_is_left_out_of_the_answer(client: Client, make: Callable[..., Event]) -> None:
    make(failed=2)
    data = asked(client.post(LIST, {"action": "retry", **ALL}))
    make(failed=5)
    client.post(LIST, data)
    assert by_status() == {"retry": 2, "failed": 5}


@pytest.mark.parametrize("up_to", ["", "x", "-1", "9" * 40, "\u0663"])
def test_an_invalid_bound_is_computed_again(client: Client, make: Callable[..., Event], up_to: str) -> None:
    make(failed=2)
    assert client.post(LIST, {"action": "retry", **ALL, "up_to": up_to}).status_code == 200
    assert by_status() == {"failed": 2}


@pytest.mark.parametrize("statuses", [["failed"], ["failed", "unknown"]])
def test_purged_payloads_are_refused_before_anything_is_changed(
    client: Client, make: Callable[..., Event], statuses: list[str]
) -> None:
    make(payload="", failed=2, unknown=1)
    gone = make(failed=1)
    Event.objects.filter(pk=gone.pk)._raw_delete(using="default")
    before = list(Delivery.objects.order_by("pk").values())
    page = client.post(LIST, {"action": "retry", **ALL})
    assert "failed 3 0 3 are refused: their payload was purged" in text(page)
    assert "None of them can be changed by this action." in text(page)
    refused = client.post(LIST, {"action": "retry", **ALL, "post": "yes", "status": statuses}, follow=True)
    assert "0 deliveries are sent again." in text(refused)
    assert f"{2 + len(statuses)} are refused" in text(refused)
    assert list(Delivery.objects.order_by("pk").values()) == before
    assert not LogEntry.objects.exists()


def test_purged_ones_among_others_stay_and_the_others_are_sent(client: Client, make: Callable[..., Event]) -> None:
    purged = make(payload="", failed=2)
    make(failed=3)
    page = answer(client, LIST, {"action": "retry", **ALL})
    assert "3 deliveries are sent again. 2 are refused" in text(page)
    assert set(purged.deliveries.values_list("status", "not_before")) == {("failed", None)}
    assert by_status() == {"retry": 3, "failed": 2}


def test_one_that_carried_a_call_is_not_counted_as_possible(client: Client, make: Callable[..., Event]) -> None:
    make(skipped=2)
    carrier = Delivery.objects.order_by("pk")[0]
    Delivery.objects.filter(pk=carrier.pk).update(address=NO_ADDRESS, address_key=address_key(NO_ADDRESS))
    page = client.post(LIST, {"action": "retry", **ALL})
    assert "skipped 2 1" in text(page)
    assert "1 stays as it is." in text(page)


def test_cancelling_asks_too(client: Client, make: Callable[..., Event]) -> None:
    make(pending=3, retry=2, sending=1, failed=1)
    page = client.post(LIST, {"action": "cancel", **ALL})
    assert "sending 1 0" in text(page)
    assert asked(page)["status"] == ["pending", "retry"]
    assert by_status() == {"pending": 3, "retry": 2, "sending": 1, "failed": 1}
    page = answer(client, LIST, {"action": "cancel", **ALL}, status=["retry", "sending"])
    assert "2 deliveries were cancelled." in text(page)
    assert by_status() == {"pending": 3, "sending": 1, "failed": 1, "cancelled": 2}
    assert "Statuses: retry." in LogEntry.objects.get().get_change_message()


def test_expanding_asks_too(client: Client, make: Callable[..., Event]) -> None:
    make(status="failed")
    purged = make(status="failed", payload="")
    make()
    page = client.post(url(Event, "changelist"), {"action": "retry", **ALL})
    assert "expanded 1 0" in text(page)
    assert "failed 2 1" in text(page)
    page = answer(client, url(Event, "changelist"), {"action": "retry", **ALL})
    assert "1 event is expanded again. 1 is refused: its payload was purged" in text(page)
    assert [event.pk for event in Event.objects.filter(status="failed")] == [purged.pk]
    (entry,) = LogEntry.objects.all()
    assert (entry.content_type.model_class(), entry.object_id) == (Event, None)


def test_the_answer_needs_the_permission_as_the_question_does(client: Client, make: Callable[..., Event]) -> None:
    make(failed=2)
    data = asked(client.post(LIST, {"action": "retry", **ALL}))
    looker = User.objects.create_user("looker", is_staff=True)
    looker.user_permissions.set(Permission.objects.filter(codename="view_delivery"))
    client.force_login(looker)
    client.post(LIST, data)
    assert by_status() == {"failed": 2}


def test_the_answer_needs_a_csrf_token(root: User, make: Callable[..., Event]) -> None:
    make(failed=2)
    guarded = Client(enforce_csrf_checks=True)
    guarded.force_login(root)
    assert guarded.post(LIST, {"action": "retry", **ALL, "post": "yes", "status": "failed"}).status_code == 403
    assert by_status() == {"failed": 2}


def test_much_is_asked_and_done_with_few_queries_and_small_pages(client: Client, make: Callable[..., Event]) -> None:
    def work() -> tuple[int, int]:
        with CaptureQueriesContext(connection) as captured:
            page = client.post(LIST, {"action": "retry", **ALL})
            client.post(LIST, asked(page))
        return len(captured), len(page.content)

    make(failed=2, cancelled=1)
    work()
    make(failed=2, cancelled=1)
    few, small = work()
    make(failed=3_000, cancelled=1)
    many, large = work()
    assert many == few
    assert large < small + 100
    assert by_status() == {"retry": 3_004, "cancelled": 3}
