"""Outside of production, messages go to listed receivers only."""

from __future__ import annotations

from io import StringIO
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command

from dsn_core import BaseMessenger, conf
from dsn_core.models import Delivery
from dsn_core.sending import only_to
from dsn_core.testing import MemoryMessenger

pytestmark = pytest.mark.django_db

UNLISTED = "DSN['ONLY_TO'] does not list this receiver."


def only(settings: Any, *patterns: str, **more: Any) -> None:
    settings.DSN = {"RUNNER": "worker", "ONLY_TO": list(patterns), **more}


@pytest.mark.parametrize(
    ("address", "listed"),
    [
        ("ann@example.org", True),
        ("ANN@Example.ORG", True),
        (" ann@example.org ", True),
        ("ann@example.org.evil.com", False),
        ("ann@notexample.org", False),
        ("ann@example.com", False),
        # Of these, another part may say where it goes.
        ("victim@real.com,ann@example.org", False),
        ("victim@real.com;ann@example.org", False),
        ("victim@real.com ann@example.org", False),
        ("victim@real.com\nann@example.org", False),
        ("victim@real.com\x00@example.org", False),
        ("<victim@real.com>@example.org", False),
        ('"victim"@example.org', False),
        ("victim@real.com@example.org", False),
        ("+49151234", True),
        ("+49 (151) 23-4", True),
        ("+49301234", False),
        ("00491512", False),
        ("+49151234 +15551234", False),
        ("+49151234,+15551234", False),
        ("", False),
        ("   ", False),
    ],
)
def test_what_fits(address: str, listed: bool, settings: Any) -> None:
    only(settings, "*@example.org", "+49 15*")
    assert only_to.is_listed(address) is listed


@pytest.mark.parametrize(
    ("given", "listed"),
    [
        ({}, True),
        ({"ONLY_TO": None}, True),
        ({"ONLY_TO": ["*"]}, True),
        ({"ONLY_TO": []}, False),
        # What cannot be read lets nothing out.
        ({"ONLY_TO": "*"}, False),
        ({"ONLY_TO": [7]}, False),
        ({"ONLY_TO": 7}, False),
    ],
)
def test_what_the_setting_lets_out(given: Any, listed: bool, settings: Any) -> None:
    settings.DSN = given
    assert only_to.is_listed("a, b") is listed
    assert bool(conf.problems()) is isinstance(given.get("ONLY_TO"), str | int) or given.get("ONLY_TO") == [7]


def outcomes() -> dict[str, tuple[str, str]]:
    names = dict(User.objects.values_list("pk", "username"))
    return {names.get(row.user_id, row.address): (row.status, row.last_error) for row in Delivery.objects.all()}


class Phone(MemoryMessenger):
    name = "phone"

    def addresses(self, users: Any) -> Any:
        return {user.pk: {"ann": "+49 151 1", "bob": "+49 30 1"}[user.username] for user in users}


def test_addresses_of_users_and_bare_ones(signals, subscribe, fire, people, settings) -> None:
    only(settings, "+4915*")
    signals.add(Phone)
    subscribe(users=people[:2], addresses=[("phone", "+4915 2"), ("phone", "+49302")], backends=[("phone", "plain")])
    fire()
    signals.run()
    assert outcomes() == {
        "ann": ("sent", ""),
        "bob": ("skipped", UNLISTED),
        "+4915 2": ("sent", ""),
        "+49302": ("skipped", UNLISTED),
    }
    assert {message.address for message in signals.sent} == {"+49 151 1", "+4915 2"}


def test_a_messenger_that_needs_no_address_goes_by_the_email(signals, subscribe, fire, people, settings) -> None:
    only(settings, "ann@*")
    User.objects.filter(username="cyd").update(email="")
    subscribe(users=people)
    fire()
    signals.run()
    assert outcomes() == {
        "ann": ("sent", ""),
        "bob": ("skipped", UNLISTED),
        "cyd": ("skipped", "DSN['ONLY_TO'] does not list this receiver, who has no address to compare."),
    }
    assert len(signals.sent) == 1


def test_they_are_skipped_before_they_cost_the_rate(signals, subscribe, fire, people, settings) -> None:
    import dsn_core

    only(settings, "cyd@*", MESSENGERS={"memory": {"RATE": "1/h"}})
    subscribe(users=people)
    fire()
    dsn_core.expand_due()
    assert dsn_core.send_due("memory", seconds=30) == 3
    assert {name: status for name, (status, _) in outcomes().items()} == {
        "ann": "skipped",
        "bob": "skipped",
        "cyd": "sent",
    }


# The seed's way


@pytest.fixture
def seed(signals: Any) -> type[BaseMessenger]:
    class Seed(BaseMessenger):
        """Renders for those it is given, or whom the test says, and sends each at once."""

        name = "seed"
        calls: list[list[Any]] = []
        sent: list[Any] = []
        chosen: Any = None
        forgiving = False

        def send(self, template: Any, users: Any, trigger_context: Any, signal_kwargs: Any) -> None:
            self.calls.append(list(users))
            for user in users if self.chosen is None else type(self).chosen():
                try:
                    template.render(user, trigger_context, signal_kwargs)
                except Exception:
                    if not self.forgiving:
                        raise
                self.sent.append(getattr(user, "username", None))

    Seed.calls, Seed.sent = [], []
    signals.add(Seed)
    return Seed


SEED = [("seed", "plain")]


def test_it_is_called_with_the_listed_users_only(seed, signals, subscribe, fire, people, settings) -> None:
    only(settings, "ann@*", "cyd@*")
    subscribe(users=people, backends=SEED)
    fire()
    signals.run()
    assert (seed.calls, seed.sent) == ([[people[0], people[2]]], ["ann", "cyd"])
    assert outcomes() == {"ann": ("sent", ""), "bob": ("skipped", UNLISTED), "cyd": ("sent", "")}


def test_its_own_addresses_are_compared_where_it_has_any(seed, signals, subscribe, fire, people, settings) -> None:
    only(settings, "+49151", "bob@*")
    seed.finds_addresses = True
    seed.addresses = lambda self, users: {user.pk: "+49151" for user in users if user.username == "ann"}
    subscribe(users=people, backends=SEED)
    fire()
    signals.run()
    assert seed.sent == ["ann", "bob"], "bob by his e-mail address: no other is known"


@pytest.mark.parametrize("users", [[], [1]], ids=["nobody given", "nobody listed"])
def test_it_is_not_called_when_no_user_is_listed(users, seed, signals, subscribe, fire, people, settings) -> None:
    only(settings, "ann@*")
    seed.chosen = staticmethod(lambda: people[:1])
    subscribe(users=[people[number] for number in users], backends=SEED)
    fire()
    signals.run()
    signals.run()
    assert (seed.calls, seed.sent) == ([], [])
    (row,) = Delivery.objects.all()
    assert row.status == "skipped"
    assert row.last_error.startswith("DSN['ONLY_TO'] does not list this receiver")


@pytest.mark.parametrize("forgiving", [False, True])
@pytest.mark.parametrize("other", ["bob", "nobody"])
def test_users_that_it_chooses_itself_get_nothing(
    other, forgiving, seed, signals, subscribe, fire, people, settings
) -> None:
    only(settings, "ann@*", "cyd@*")
    ann, bob, cyd = people
    seed.forgiving = forgiving
    seed.chosen = staticmethod(lambda: [ann, bob if other == "bob" else None, cyd])
    subscribe(users=[ann, cyd], backends=SEED)
    fire()
    signals.run()
    signals.run(retries=True)
    assert (len(seed.calls), seed.sent) == (1, ["ann"]), "its call ended there, and is not made again"
    found = outcomes()
    assert (found["ann"][0], found["cyd"][0]) == ("unknown", "skipped")
    assert "its call ended there" in found["cyd"][1]
    assert found.get("bob") == (("skipped", UNLISTED) if other == "bob" else None)


def test_listed_users_that_it_chooses_itself_are_sent_to(seed, signals, subscribe, fire, people, settings) -> None:
    only(settings, "ann@*", "cyd@*")
    seed.chosen = staticmethod(lambda: [people[0], people[2]])
    subscribe(users=people[:1], backends=SEED)
    fire()
    signals.run()
    assert seed.sent == ["ann", "cyd"]
    assert outcomes() == {"ann": ("sent", ""), "cyd": ("sent", "")}


def test_a_refusal_that_it_swallows_is_no_success(seed, signals, subscribe, fire, people, settings) -> None:
    only(settings, "ann@*")

    def send(self: Any, template: Any) -> None:
        try:
            template.render(people[1])
        except BaseException:
            return

    seed.send = send
    subscribe(users=people[:1], backends=SEED)
    fire()
    signals.run()
    assert outcomes()["ann"][0] == "skipped"
    assert outcomes()["bob"] == ("skipped", UNLISTED)


def test_dsn_send_refuses_others(signals, settings) -> None:
    only(settings, "*@example.org")
    with pytest.raises(CommandError, match="ONLY_TO"):
        call_command("dsn_send", "memory", "victim@real.com", "Hello", stdout=StringIO())
    assert signals.sent == []
    call_command("dsn_send", "memory", "ann@example.org", "Hello", stdout=StringIO())
    assert len(signals.sent) == 1
