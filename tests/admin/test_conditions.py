"""The conditions of triggers: rows that people fill in, and what code stored."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.test import Client

from dsn_core.admin.conditions import EXTRA_ROWS
from dsn_core.conditions.validation import MAX_CONDITIONS
from dsn_core.models import Trigger
from tests.admin.pages import TRIGGER, conditions, errors, refused_conditions, shown_conditions, text, url
from tests.testapp.models import Ticket

SAVED = {**TRIGGER, "verb": "post_save", "action_object_model": "testapp.ticket"}
NEW = ("created", "is true", "")
DEAR = ("instance.price", "greater", "100")


@pytest.fixture
def trigger(db: None) -> Trigger:
    rows = [("created", "is true"), ("instance.price", "greater", 100), ("instance.movie.name", "in", ["M", "a, b"])]
    return Trigger.objects.define("post_save", action_object=Ticket, conditions=rows)


def stored(trigger: Trigger) -> Any:
    trigger.refresh_from_db()
    return trigger.conditions


def test_conditions_are_set_row_by_row(client: Client, db: None) -> None:
    rows = conditions(NEW, DEAR, ("", "", ""), ("instance.movie.name", "in", "Metropolis, Nosferatu"))
    assert client.post(url(Trigger, "add"), {**SAVED, **rows}).status_code == 302
    made = Trigger.objects.get()
    defined = Trigger.objects.define(
        "post_save",
        action_object=Ticket,
        conditions=[
            ("created", "is true"),
            ("instance.price", "greater", 100),
            ("instance.movie.name", "in", ["Metropolis", "Nosferatu"]),
        ],
    )
    assert made == defined


def test_a_page_has_the_rows_and_some_empty_ones(client: Client, trigger: Trigger) -> None:
    page = client.get(url(Trigger, "change", trigger.pk))
    assert shown_conditions(page) == conditions(
        ("created", "is true", "yes"),
        ("instance.price", "greater", "100"),
        ("instance.movie.name", "in", '["M", "a, b"]'),
    )
    assert page.content.decode().count('role="group"') == 3 + EXTRA_ROWS
    assert "instance.price greater 100" in text(page)
    for path in ("created", "instance.price", "instance.movie"):
        assert f'<option value="{path}"></option>' in page.content.decode()
    assert "dsn_core/conditions.js" in page.content.decode()


def test_what_is_saved_untouched_stays(client: Client, trigger: Trigger) -> None:
    before, digest = trigger.conditions, trigger.digest
    page = url(Trigger, "change", trigger.pk)
    assert client.post(page, {**SAVED, **shown_conditions(client.get(page)), "target": ""}).status_code == 302
    assert stored(trigger) == before
    assert trigger.digest == digest
    assert "conditions" not in LogEntry.objects.get().change_message


def test_a_row_is_removed_by_emptying_it_and_another_is_changed(client: Client, trigger: Trigger) -> None:
    page = url(Trigger, "change", trigger.pk)
    rows = conditions(("", "is true", ""), ("instance.price", "at least", "100"))
    assert client.post(page, {**SAVED, **rows}).status_code == 302
    assert stored(trigger) == [{"path": "instance.price", "operator": "at least", "value": "100"}]
    assert client.post(page, {**SAVED, **conditions(("", "", ""))}).status_code == 302
    assert stored(trigger) == []


def test_a_form_without_the_rows_leaves_them(client: Client, trigger: Trigger) -> None:
    before = trigger.conditions
    assert client.post(url(Trigger, "change", trigger.pk), {**SAVED, "target": "other"}).status_code == 302
    assert stored(trigger) == before
    assert trigger.target == "other"


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (("instance.prize", "greater", "5"), "has no field or attribute 'prize' (did you mean 'price'?)"),
        (("instance.price", "greater", "much"), "cannot be 'much'"),
        (("instance.price", "matches", "a"), "does not suit"),
        (("instance.price", "", "5"), "Choose an operator"),
        (("", "greater", "5"), "The path is missing"),
        (("instance.price", "sounds like", "5"), "There is no operator 'sounds like'"),
        (("instance.price", "in", " , "), "could never hold"),
        (("instance.movie.name", "matches", "(a+)+$"), ""),
        (("instance.movie.name", "equals", "a\x00b"), "cannot store"),
        (("instance._state", "equals", "5"), "private"),
    ],
)
def test_what_cannot_work_is_said_at_its_row_and_kept(
    client: Client, db: None, row: tuple[str, str, str], said: str
) -> None:
    rows = conditions(NEW, row, DEAR)
    page = client.post(url(Trigger, "add"), {**SAVED, **rows})
    assert list(errors(page)) == ["conditions"]
    refused = refused_conditions(page)
    assert list(refused) == [1]
    assert said in refused[1]
    assert refused[1]
    kept = {name: given for name, given in rows.items() if given and given != "sounds like"}
    assert shown_conditions(page) == kept
    assert not Trigger.objects.exists()


def test_before_and_after_are_refused_where_there_are_none(client: Client, db: None) -> None:
    given = {**TRIGGER, "verb": "user_logged_in", **conditions(("user", "changed", ""))}
    page = client.post(url(Trigger, "add"), given)
    assert "has no before and after" in refused_conditions(page)[0]
    # The paths on offer are those of what was chosen just now.
    assert '<option value="request"></option>' in page.content.decode()


def test_too_many_rows_are_refused_and_kept(client: Client, db: None) -> None:
    rows = conditions(*[("instance.price", "not", str(number)) for number in range(MAX_CONDITIONS + 1)])
    page = client.post(url(Trigger, "add"), {**SAVED, **rows})
    assert f"at most {MAX_CONDITIONS} conditions" in errors(page)["conditions"]
    assert shown_conditions(page) == rows


def test_markup_is_harmless_and_exact(client: Client, db: None) -> None:
    markup = "<script>alert('x')</script>\"><b>&amp;"
    rows = conditions(("instance.movie.name", "equals", markup))
    assert client.post(url(Trigger, "add"), {**SAVED, **rows}).status_code == 302
    trigger = Trigger.objects.get()
    assert trigger.conditions[0]["value"] == markup
    refused = client.post(url(Trigger, "add"), {**SAVED, **conditions((markup, "equals", markup))})
    for page in (
        client.get(url(Trigger, "change", trigger.pk)),
        client.get(url(Trigger, "changelist")),
        refused,
    ):
        assert "<script>alert('x')" not in page.content.decode()
        assert '"><b>' not in page.content.decode()
    assert shown_conditions(client.get(url(Trigger, "change", trigger.pk))) == rows


def test_the_list_says_the_conditions_with_what_a_trigger_is_about(client: Client, trigger: Trigger) -> None:
    page = text(client.get(url(Trigger, "changelist")))
    assert "testapp.ticket if created is true, instance.price greater '100', instance.movie.name in" in page


def test_line_breaks_survive_the_page(client: Client, db: None) -> None:
    rows = [("instance.movie.name", "equals", "\nfirst\r\nsecond"), ("created", "is true")]
    trigger = Trigger.objects.define("post_save", action_object=Ticket, conditions=rows)
    page = url(Trigger, "change", trigger.pk)
    sent = {name: given.replace("\n", "\r\n") for name, given in shown_conditions(client.get(page)).items()}
    assert "first\r\nsecond" in sent["conditions-0-value"]
    assert client.post(page, {**SAVED, **sent, "target": "other"}).status_code == 302
    assert stored(trigger)[0]["value"] == "\nfirst\r\nsecond"


def test_a_row_that_stands_as_it_did_keeps_the_kind_of_its_value(client: Client, db: None) -> None:
    """Nobody knows what request.x holds: a text and a number look alike, and are not taken for each other."""
    kept = [("request.a", "equals", "5"), ("request.b", "equals", 5), ("request.c", "equals", True)]
    trigger = Trigger.objects.define("user_logged_in", conditions=kept)
    page = url(Trigger, "change", trigger.pk)
    shown = shown_conditions(client.get(page))
    assert [shown[f"conditions-{n}-value"] for n in range(3)] == ['"5"', "5", "true"]
    rows = shown | {"conditions-3-path": "request.d", "conditions-3-operator": "equals", "conditions-3-value": "6"}
    given = {**TRIGGER, "verb": "user_logged_in", **rows}
    assert client.post(page, given).status_code == 302
    assert [row["value"] for row in stored(trigger)] == ["5", 5, True, 6]


STRANGE = [{"path": "instance.price", "op": ">"}, {"path": "created", "operator": "sounds like", "value": "<b>"}, 7]


def test_conditions_that_the_rows_cannot_show_are_shown_as_json_and_stay(client: Client, db: None) -> None:
    trigger = Trigger.objects.create(verb="post_save", action_object_model="testapp.ticket", conditions=STRANGE)
    page = url(Trigger, "change", trigger.pk)
    shown = shown_conditions(client.get(page))
    # PostgreSQL has an order of its own for the names.
    assert json.loads(shown["conditions-0-stored"]) == STRANGE[0]
    assert "Code stored this condition." in text(client.get(page))
    # Switched off, with all else as it is.
    assert client.post(page, {**SAVED, **shown, "enabled": ""}).status_code == 302
    assert stored(trigger) == STRANGE
    assert trigger.enabled is False

    refused = client.post(page, {**SAVED, **shown, "target": "other"})
    assert set(refused_conditions(refused)) == {0, 1, 2}
    assert shown_conditions(refused) == shown

    mended = shown | {"conditions-0-stored": '["instance.price", "greater", 5]', "conditions-1-stored": "{"}
    refused = client.post(page, {**SAVED, **mended, "conditions-2-stored": ""})
    assert list(refused_conditions(refused)) == [1]
    assert "no JSON" in refused_conditions(refused)[1]
    mended |= {"conditions-1-stored": "", "conditions-2-stored": ""}
    assert client.post(page, {**SAVED, **mended}).status_code == 302
    assert stored(trigger) == [{"path": "instance.price", "operator": "greater", "value": "5"}]


@pytest.mark.parametrize("strange", [{"path": "a"}, "a is true", [[]], [None], [{"path": 1, "operator": 2}]])
def test_any_stored_conditions_open_and_can_be_emptied(client: Client, db: None, strange: Any) -> None:
    trigger = Trigger.objects.create(verb="post_save", action_object_model="testapp.ticket", conditions=strange)
    page = url(Trigger, "change", trigger.pk)
    assert client.get(url(Trigger, "changelist")).status_code == 200
    shown = shown_conditions(client.get(page))
    assert list(shown) == ["conditions-0-stored"]
    assert client.post(page, {**SAVED, **shown, "enabled": ""}).status_code == 302
    assert stored(trigger) == strange
    assert client.post(page, {**SAVED, "conditions-0-stored": ""}).status_code == 302
    assert stored(trigger) == []


def test_conditions_of_a_verb_that_is_gone_stay_untouched(client: Client, db: None) -> None:
    rows = [{"path": "instance.x", "operator": "equals", "value": "5"}, {"path": "y", "operator": "is null"}]
    trigger = Trigger.objects.create(verb="forgotten", action_object_model="gone.model", conditions=rows)
    page = url(Trigger, "change", trigger.pk)
    shown = shown_conditions(client.get(page))
    given = {**TRIGGER, "verb": "forgotten", "action_object_model": "gone.model", "enabled": ""}
    assert client.post(page, {**given, **shown}).status_code == 302
    assert stored(trigger) == rows
    assert trigger.enabled is False
    refused = client.post(page, {**given, **shown, "conditions-0-value": "6"})
    assert list(errors(refused)) == ["verb"]
    assert shown_conditions(refused)["conditions-0-value"] == "6"


def test_they_are_shown_to_users_with_the_view_permission(db: None, trigger: Trigger) -> None:
    user = User.objects.create_user("looker", is_staff=True)
    user.user_permissions.add(Permission.objects.get(codename="view_trigger", content_type__app_label="dsn_core"))
    client = Client()
    client.force_login(user)
    page = client.get(url(Trigger, "change", trigger.pk))
    assert "created is true" in text(page)
    assert "conditions-0-path" not in page.content.decode()
    assert client.post(url(Trigger, "change", trigger.pk), {**SAVED, **conditions(DEAR)}).status_code == 403
    assert len(stored(trigger)) == 3
