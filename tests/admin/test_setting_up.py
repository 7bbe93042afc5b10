"""Setting everything up through the forms, and seeing it in the lists."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.test import Client

from dsn_core.models import Backend, Event, Subscription, Trigger
from tests.admin.pages import TRIGGER, addresses, errors, options, text, url
from tests.testapp.models import Movie, TestModel1


@pytest.mark.parametrize("verb", ["pre_save", "post_save"])
def test_the_seeds_quick_start_through_forms_only(client: Client, root: User, verb: str) -> None:
    about = {"verb": verb, "action_object_model": "testapp.testmodel1"}
    assert client.post(url(Trigger, "add"), {**TRIGGER, **about}).status_code == 302
    assert client.post(url(Backend, "add"), {"messenger": "console", "message_template": "simple"}).status_code == 302
    data = {
        "trigger": Trigger.objects.get().pk,
        "enabled": "on",
        "backends": [Backend.objects.get().pk],
        "users": [root.pk],
        "priority": "1",
        **addresses(),
    }
    assert client.post(url(Subscription, "add"), data).status_code == 302

    subscription = Subscription.objects.get()
    assert list(subscription.users.all()) == [root]
    assert [str(backend) for backend in subscription.backends.all()] == ["simple by console"]
    TestModel1.objects.create(name="seed")
    assert Event.objects.get().verb == verb


def test_a_subscription_with_all_kinds_of_receivers(client: Client, root: User, plain_backend: Backend) -> None:
    trigger = Trigger.objects.define("post_save", action_object=Movie)
    group = Group.objects.create(name="editors")
    data = {
        "trigger": trigger.pk,
        "name": "all",
        "enabled": "on",
        "backends": [plain_backend.pk],
        "users": [root.pk],
        "groups": [group.pk],
        "resolver": "path",
        "argument": "instance.audiences",
        "priority": "0",
        **addresses(("pager", "110"), ("pager", "112")),
    }
    assert client.post(url(Subscription, "add"), data).status_code == 302
    made = Subscription.objects.get()
    assert [str(row) for row in made.addresses.all()] == ["pager: 110", "pager: 112"]
    assert (made.resolver, made.argument, made.priority) == ("path", "instance.audiences", 0)

    page = text(client.get(url(Subscription, "changelist")))
    assert "users, group editors, path instance.audiences, addresses" in page

    row = made.addresses.get(address="110")
    ids = {"addresses-0-id": row.pk, "addresses-0-subscription": made.pk, "addresses-0-DELETE": "on"}
    other = made.addresses.get(address="112")
    more = {"addresses-1-id": other.pk, "addresses-1-subscription": made.pk}
    data |= addresses(("pager", "110"), ("pager", "113"), stored=2, **ids, **more)
    assert client.post(url(Subscription, "change", made.pk), data).status_code == 302
    assert [str(row) for row in made.addresses.all()] == ["pager: 113"]


def test_the_trigger_form_offers_verbs_and_models_with_help(client: Client, plugin: Any) -> None:
    page = client.get(url(Trigger, "add"))
    verbs = options(page, "verb")
    assert verbs["post_save"] == "post_save: An instance was saved."
    assert "instance, created, raw, using, update_fields" in text(page)
    models = options(page, "action_object_model")
    assert {"testapp.movie", "testapp.famousplace", "auth.user"} <= set(models)
    assert models["testapp.movie"] == "testapp.movie"
    assert not [label for label in models if label.startswith("dsn_core.")]
    assert options(page, "actor_object_model")[""] == "any"


def test_the_backend_form_offers_messengers_accounts_and_templates(client: Client, plugin: Any) -> None:
    page = client.get(url(Backend, "add"))
    messengers = options(page, "messenger")
    assert messengers["pager"] == "pager: Sends to the <pager> on duty."
    assert messengers["night"].startswith("night, an account of pager")
    assert options(page, "message_template")["about_movie"] == "about_movie: A movie is there. (needs movie)"


def test_the_backend_list_says_whether_the_messenger_is_ready(client: Client, plugin: Any, settings: Any) -> None:
    Backend.objects.define("pager", "plain")
    assert "pager ready" in text(client.get(url(Backend, "changelist")))
    settings.DSN = {"MESSENGERS": {"pager": {}}}
    assert "pager not ready TOKEN is missing" in text(client.get(url(Backend, "changelist")))


def test_a_check_that_names_a_secret_is_masked(client: Client, plugin: Any) -> None:
    Backend.objects.define("night", "plain")
    assert "night not ready the token *** has expired" in text(client.get(url(Backend, "changelist")))


def test_the_trigger_page_leads_to_its_subscriptions_and_to_a_new_one(client: Client, plain_backend: Backend) -> None:
    trigger = Trigger.objects.define("post_save", action_object=Movie)
    subscription = trigger.subscribe("first", backends=[plain_backend], enabled=False)
    page = client.get(url(Trigger, "change", trigger.pk)).content.decode()
    assert url(Subscription, "change", subscription.pk) in page
    add = f"{url(Subscription, 'add')}?trigger={trigger.pk}"
    assert add in page
    chosen = client.get(add)
    assert options(chosen, "trigger")[str(trigger.pk)] == "post_save testapp.movie"
    listed = client.get(url(Subscription, "changelist"), {"trigger": trigger.pk})
    assert listed.context["cl"].result_count == 1


def test_many_subscriptions_are_listed_up_to_a_bound(client: Client, plugin: Any) -> None:
    trigger = Trigger.objects.define("post_save", action_object=Movie)
    Subscription.objects.bulk_create(Subscription(trigger=trigger, name=f"nth-{number}") for number in range(40))
    page = text(client.get(url(Trigger, "change", trigger.pk)))
    assert "all 40 subscriptions" in page
    assert page.count("nth-") < 40


@pytest.mark.parametrize("model", [Trigger, Subscription])
def test_actions_switch_rows_on_and_off(client: Client, plugin: Any, model: type[Any]) -> None:
    trigger = Trigger.objects.define("post_save", action_object=Movie)
    row = trigger if model is Trigger else trigger.subscribe("x")
    for action, enabled in (("disable", False), ("enable", True)):
        data = {"action": action, "_selected_action": [row.pk]}
        assert client.post(url(model, "changelist"), data).status_code == 302
        row.refresh_from_db()
        assert row.enabled is enabled


def test_a_verb_that_is_gone_stays_and_can_be_switched_off(client: Client, plugin: Any) -> None:
    trigger = Trigger.objects.create(verb="forgotten", action_object_model="gone.model", target="t")
    page = client.get(url(Trigger, "change", trigger.pk))
    assert options(page, "verb")["forgotten"] == "forgotten (not installed)"
    assert options(page, "action_object_model")["gone.model"] == "gone.model (not installed)"
    assert "forgotten not installed" in text(client.get(url(Trigger, "changelist")))

    data = {**TRIGGER, "verb": "forgotten", "action_object_model": "gone.model", "target": "t", "enabled": ""}
    assert client.post(url(Trigger, "change", trigger.pk), data).status_code == 302
    trigger.refresh_from_db()
    assert (trigger.verb, trigger.action_object_model, trigger.enabled) == ("forgotten", "gone.model", False)

    refused = client.post(url(Trigger, "change", trigger.pk), {**data, "target": "other"})
    assert "There is no verb 'forgotten'" in errors(refused)["verb"]


def test_a_backend_whose_plugin_is_gone_stays(
    client: Client, plain_backend: Backend, uninstall: Callable[[], None]
) -> None:
    uninstall()
    page = client.get(url(Backend, "change", plain_backend.pk))
    assert options(page, "messenger")["pager"] == "pager (not installed)"
    assert options(page, "message_template")["plain"] == "plain (not installed)"
    assert "not installed" in text(client.get(url(Backend, "changelist")))
    data = {"messenger": "pager", "message_template": "plain"}
    assert client.post(url(Backend, "change", plain_backend.pk), data).status_code == 302
    plain_backend.refresh_from_db()
    assert (plain_backend.messenger, plain_backend.message_template) == ("pager", "plain")
    assert "no messenger 'pager'" in errors(client.post(url(Backend, "add"), data))["messenger"]


def test_a_subscription_whose_plugin_is_gone_can_be_renamed(
    client: Client, plain_backend: Backend, uninstall: Callable[[], None]
) -> None:
    trigger = Trigger.objects.define("post_save", action_object=Movie)
    made = trigger.subscribe(
        "old", resolver="duty", argument="8", addresses=[("pager", "110")], backends=[plain_backend]
    )
    uninstall()
    page = client.get(url(Subscription, "change", made.pk))
    assert options(page, "resolver")["duty"] == "duty (not installed)"
    assert options(page, "addresses-0-messenger")["pager"] == "pager (not installed)"
    row = made.addresses.get()
    data = {
        "trigger": trigger.pk,
        "name": "new",
        "backends": [plain_backend.pk],
        "resolver": "duty",
        "argument": "8",
        "priority": "1",
        **addresses(("pager", "110"), stored=1, **{"addresses-0-id": row.pk, "addresses-0-subscription": made.pk}),
    }
    assert client.post(url(Subscription, "change", made.pk), data).status_code == 302
    made.refresh_from_db()
    assert (made.name, made.resolver, made.enabled) == ("new", "duty", False)
    refused = client.post(url(Subscription, "change", made.pk), {**data, "argument": "9"})
    assert "no receiver resolver 'duty'" in errors(refused)["resolver"]
