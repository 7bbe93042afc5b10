"""Users' addresses: where they are read, stored and found."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from django.contrib.auth.models import AnonymousUser, User
from django.db import connection, connections
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from django.utils.functional import SimpleLazyObject

from dsn_core import BaseMessenger, Receipt, find_users, store_address
from dsn_core.exceptions import ConfigurationError
from dsn_core.models import Address, Delivery, Trigger
from tests.testapp.models import Movie, Profile

if TYPE_CHECKING:
    from pytest_django import Settings

    from dsn_core.testing.harness import Harness

pytestmark = pytest.mark.django_db


class Pager(BaseMessenger):
    """Sends nothing. What a stranger writes: no column anywhere."""

    name = "pager"
    address_path = "dsn_address"

    def send_messages(self, messages: Any) -> Any:
        for message in messages:
            yield Receipt.sent(f"to {message.address}", message=message)


class Phone(Pager):
    """The same, with a field in the profile of a project that has one."""

    name = "phone"
    address_path = ""
    profile_field = "phone"


class Fax(Pager):
    """Its class says where."""

    name = "fax"
    address_path = "last_name"
    profile_field = "phone"


@pytest.fixture(autouse=True)
def messengers(dsn: Harness, settings: Settings) -> None:
    settings.DSN = {"RUNNER": "worker", "MESSENGERS": {"night": {"MESSENGER": "pager"}}}
    for messenger in (Pager, Phone, Fax):
        dsn.add(messenger)


@pytest.fixture
def ann() -> User:
    return User.objects.create_user("ann", last_name="Smith")


@pytest.fixture
def bob() -> User:
    return User.objects.create_user("bob")


@pytest.fixture
def reached(dsn: Harness) -> Callable[..., dict[str, str]]:
    """Send a message to all users by a messenger: who got it, and where."""

    def send(messenger: str) -> dict[str, str]:
        Delivery.objects.all().delete()
        trigger = Trigger.objects.define("post_save", action_object=Movie)
        trigger.subscribe("all", users=User.objects.all(), backends=[(messenger, "simple")])
        Movie.objects.create(name="Brazil")
        dsn.run()
        return {row.user.username: row.address for row in Delivery.objects.filter(status="sent").select_related("user")}

    return send


# Where they are read, found and stored: everywhere the same


@pytest.mark.parametrize(
    ("messenger", "given", "where"),
    [
        ("pager", {}, "dsn_address"),
        ("night", {}, "dsn_address"),
        ("phone", {}, "dsn_address"),
        ("phone", {"PROFILE_MODEL": "testapp.Profile"}, "profile.phone"),
        ("fax", {"PROFILE_MODEL": "testapp.Profile"}, "last_name"),
        ("fax", {"ADDRESSES": {"fax": "first_name"}}, "first_name"),
        ("phone", {"PROFILE_MODEL": "testapp.Profile", "ADDRESSES": {"phone": "dsn_address"}}, "dsn_address"),
        ("night", {"ADDRESSES": {"pager": "first_name"}}, "first_name"),
        ("night", {"ADDRESSES": {"pager": "first_name", "night": "last_name"}}, "last_name"),
        ("phone", {"PROFILE_MODEL": "testapp.Movie", "ADDRESSES": {"phone": "first_name"}}, "first_name"),
    ],
)
def test_an_address_is_stored_and_found_where_it_is_read(
    messenger: str,
    given: dict[str, Any],
    where: str,
    ann: User,
    bob: User,
    settings: Settings,
    reached: Callable[..., dict[str, str]],
) -> None:
    settings.DSN = {**settings.DSN, **given}
    User.objects.update(last_name="")
    ann.refresh_from_db()
    store_address(ann, messenger, "+1 555")
    places = {
        "dsn_address": Address.objects.filter(messenger=messenger, address="+1 555"),
        "profile.phone": Profile.objects.filter(phone="+1 555"),
        "first_name": User.objects.filter(first_name="+1 555"),
        "last_name": User.objects.filter(last_name="+1 555"),
    }
    assert [place for place, rows in places.items() if rows.exists()] == [where]
    assert list(find_users(messenger, "+1 555")) == [ann]
    assert reached(messenger) == {"ann": "+1 555"}
    store_address(User.objects.get(pk=ann.pk), messenger, "+1 666")
    assert not find_users(messenger, "+1 555").exists()
    assert reached(messenger) == {"ann": "+1 666"}
    store_address(User.objects.get(pk=ann.pk), messenger, "")
    assert not find_users(messenger, "+1 666").exists()
    assert reached(messenger) == {}
    assert set(Delivery.objects.values_list("last_error", flat=True)) == {f"The user has no address for {messenger}."}


@pytest.mark.parametrize("label", ["nonsense", "testapp.Nothing", "testapp.Movie"])
def test_a_profile_model_that_cannot_be_used_is_an_error_with_the_reason(settings: Settings, label: str) -> None:
    settings.DSN = {"PROFILE_MODEL": label}
    with pytest.raises(ConfigurationError, match="PROFILE_MODEL"):
        find_users("phone", "+1555")


def test_a_messenger_without_addresses_says_so(ann: User) -> None:
    for act in (lambda: find_users("console", "x"), lambda: store_address(ann, "console", "x")):
        with pytest.raises(ConfigurationError, match=r"Nothing says where .* set DSN\['ADDRESSES'\]\['console'\]"):
            act()


# An account, and its messenger


def test_an_account_reads_its_own_row_before_that_of_its_messenger(
    ann: User, bob: User, reached: Callable[..., dict[str, str]]
) -> None:
    store_address(ann, "pager", "1")
    store_address(bob, "pager", "2")
    store_address(bob, "night", "3")
    assert reached("pager") == {"ann": "1", "bob": "2"}
    assert reached("night") == {"ann": "1", "bob": "3"}
    assert [*find_users("night", "1")] == [ann]
    assert [*find_users("night", "2")] == []
    assert [*find_users("night", "3")] == [bob]
    assert [*find_users("pager", "3")] == []


def test_what_is_removed_from_an_account_is_not_read_from_its_messenger(
    ann: User, reached: Callable[..., dict[str, str]]
) -> None:
    store_address(ann, "pager", "1")
    for user in find_users("night", "1"):
        store_address(user, "night", "")
    assert reached("night") == {}
    for nothing in ("1", "", " "):
        assert not find_users("night", nothing).exists()
    assert reached("pager") == {"ann": "1"}
    store_address(ann, "pager", "")
    assert reached("pager") == {}
    assert [row.messenger for row in Address.objects.all()] == ["night"]


# What is stored


def test_a_row_says_when_its_address_was_verified(ann: User, settings: Settings) -> None:
    now = timezone.now()
    store_address(ann, "pager", " 1 ", verified_at=now)
    row = Address.objects.get()
    assert (row.user, row.messenger, row.address, row.verified_at) == (ann, "pager", "1", now)
    store_address(ann, "pager", "1")
    row.refresh_from_db()
    assert row.verified_at is None
    store_address(ann, "night", "", verified_at=now)
    assert Address.objects.get(messenger="night").verified_at is None
    settings.DSN = {"ADDRESSES": {"pager": "first_name"}}
    store_address(ann, "pager", "2", verified_at=now)
    assert User.objects.get().first_name == "2"


def test_an_address_of_two_users_finds_both(ann: User, bob: User, reached: Callable[..., dict[str, str]]) -> None:
    for user in (ann, bob):
        store_address(user, "pager", "1")
    assert [user.username for user in find_users("pager", "1").order_by("pk")] == ["ann", "bob"]
    assert reached("pager") == {"ann": "1", "bob": "1"}


@pytest.mark.parametrize("other", ["Ann@example.org", "änn@example.org", "ann@example.org.", "ann@example.orG", ""])
def test_addresses_are_equal_letter_by_letter(ann: User, other: str) -> None:
    store_address(ann, "pager", "ann@example.org")
    assert [*find_users("pager", "ann@example.org")] == [ann]
    assert [*find_users("pager", " ann@example.org ")] == [ann]
    assert not find_users("pager", other).exists()


@pytest.mark.parametrize("address", ["1" * 501, "a\0b", "\ud800"])
def test_what_no_row_holds_is_refused_and_nobodys(ann: User, address: str) -> None:
    with pytest.raises(ConfigurationError, match=r"'pager' of dsn_core\.Address cannot hold the address"):
        store_address(ann, "pager", address)
    assert not Address.objects.exists()
    assert not find_users("pager", address).exists()


@pytest.mark.parametrize("path", ["dsn_address", "first_name"])
def test_an_address_is_stored_for_a_saved_user_and_is_a_text(path: str, ann: User, settings: Settings) -> None:
    settings.DSN = {"ADDRESSES": {"pager": path}}
    with pytest.raises(ValueError, match="not saved yet"):
        store_address(User(username="x"), "pager", "1")
    for stranger in (AnonymousUser(), Movie(pk=1), ann.pk, None):
        with pytest.raises(TypeError, match=r"for a user \(auth.User\), not for"):
            store_address(stranger, "pager", "1")
    for address in (1, None, b"1", ["1"]):
        with pytest.raises(TypeError, match="An address is a text, not"):
            store_address(ann, "pager", address)  # type: ignore[arg-type]
    assert User.objects.count() == 1
    store_address(SimpleLazyObject(lambda: ann), "pager", "1")
    assert [*find_users("pager", "1")] == [ann]


def test_an_address_that_a_field_cannot_hold_says_why(ann: User, settings: Settings) -> None:
    settings.DSN = {"PROFILE_MODEL": "testapp.Profile"}
    with pytest.raises(ConfigurationError, match=r"'profile\.phone' cannot hold"):
        store_address(ann, "phone", "1" * 33)
    assert not Profile.objects.exists()
    settings.DSN = {"ADDRESSES": {"phone": "get_full_name"}}
    with pytest.raises(ConfigurationError, match="no field 'get_full_name'"):
        store_address(ann, "phone", "+1")
    with pytest.raises(ConfigurationError, match="cannot be searched by 'get_full_name'"):
        find_users("phone", "+1")
    settings.DSN = {"ADDRESSES": {"phone": "username.phone"}}
    with pytest.raises(ConfigurationError, match="leads to no row"):
        store_address(ann, "phone", "+1")


def test_an_address_in_a_field_of_numbers(ann: User, settings: Settings) -> None:
    settings.DSN = {"ADDRESSES": {"phone": "id"}}
    assert [*find_users("phone", str(ann.pk))] == [ann]
    assert not find_users("phone", "@cinema").exists()


# What it costs


@pytest.mark.parametrize("messenger", ["pager", "night"])
def test_addresses_of_a_batch_are_read_with_its_users(
    messenger: str, dsn: Harness, django_assert_max_num_queries: Any
) -> None:
    users = [User.objects.create_user(f"user{number}") for number in range(60)]
    rows = [Address(user=user, messenger="pager", address=f"p{user.pk}") for user in users[:30]]
    rows += [Address(user=user, messenger="night", address=f"n{user.pk}") for user in users[20:45]]
    Address.objects.bulk_create(rows)
    trigger = Trigger.objects.define("post_save", action_object=Movie)
    trigger.subscribe(users=users, backends=[(messenger, "simple")])
    Movie.objects.create(name="Brazil")
    with CaptureQueriesContext(connection) as captured:
        dsn.run()
    assert len([query for query in captured if '"dsn_core_address"' in query["sql"].replace("`", '"')]) == 1
    found = dict(Delivery.objects.filter(status="sent").values_list("user_id", "address"))
    expected = {user.pk: f"p{user.pk}" for user in users[:30]}
    if messenger == "night":
        expected |= {user.pk: f"n{user.pk}" for user in users[20:45]}
    assert found == expected
    assert Delivery.objects.filter(status="skipped").count() == 60 - len(expected)


@pytest.mark.parametrize(("chosen", "reached"), [("bob", {"ann", "bob"}), ("eve", set())])
def test_users_whom_a_messenger_chooses_itself_have_their_addresses_compared(
    chosen: str, reached: set[str], dsn: Harness, settings: Settings
) -> None:
    class Audience(BaseMessenger):
        """Renders for one more user, who was not read with the batch."""

        name = "audience"
        address_path = "dsn_address"

        def send(self, template: Any, users: Any, trigger_context: Any, signal_kwargs: Any) -> None:
            for user in [User.objects.get(username=chosen), *users]:
                template.render(user=user, trigger_context=trigger_context, signal_kwargs=signal_kwargs)

    dsn.add(Audience)
    for name, domain in {"ann": "org", "bob": "org", "eve": "com"}.items():
        store_address(User.objects.create_user(name), "audience", f"{name}@example.{domain}")
    settings.DSN = {"RUNNER": "worker", "ONLY_TO": ["*@example.org"]}
    trigger = Trigger.objects.define("post_save", action_object=Movie)
    trigger.subscribe(users=User.objects.filter(username="ann"), backends=[("audience", "simple")])
    Movie.objects.create(name="Brazil")
    dsn.run()
    sent = Delivery.objects.filter(status="sent").select_related("user")
    assert {row.user.username for row in sent} == reached


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("messenger", ["pager", "telegram"])
def test_two_that_store_at_once_leave_one_row(messenger: str, ann: User, settings: Settings) -> None:
    """``telegram`` is one whose addresses the profiles of the version before have, too."""
    settings.DSN = {"ADDRESSES": {"telegram": "dsn_address"}, "MESSENGERS": {"telegram": {"MESSENGER": "pager"}}}
    barrier, errors = threading.Barrier(4), []

    def store(number: int) -> None:
        try:
            for turn in range(10):
                barrier.wait(60)
                store_address(ann, messenger, "" if turn == 5 else f"{number}.{turn}")
        except Exception as error:
            errors.append(error)
            barrier.abort()
        finally:
            connections.close_all()

    threads = [threading.Thread(target=store, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert errors == []
    assert Address.objects.get().address.endswith(".9")
