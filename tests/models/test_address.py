"""Rows of addresses, and the profiles of the version before, which say the same for one release."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.core.management import call_command
from django.db import IntegrityError, connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from dsn_core import find_users, store_address
from dsn_core.models import Address, Profile, profile_rows
from dsn_core.testing import MemoryMessenger

if TYPE_CHECKING:
    from pytest_django import Settings

    from dsn_core.testing.harness import Harness

pytestmark = pytest.mark.django_db


class Sms(MemoryMessenger):
    """One of the two whose addresses the profiles have."""

    name = "sms"
    profile_field = "phone"


@pytest.fixture(autouse=True)
def sms(dsn: Harness, settings: Settings) -> None:
    settings.DSN = {"RUNNER": "worker", "MESSENGERS": {"us": {"MESSENGER": "sms"}}}
    if "sms" not in dsn_names():
        dsn.add(Sms)


def dsn_names() -> list[str]:
    from dsn_core.plugins.kinds import MESSENGERS
    from dsn_core.plugins.registry import registry

    return registry.names(MESSENGERS)


@pytest.fixture
def ann() -> User:
    return User.objects.create_user("ann")


@pytest.fixture
def bob() -> User:
    return User.objects.create_user("bob")


def stored() -> list[tuple[str, str, str]]:
    rows = Address.objects.order_by("user_id", "messenger")
    return list(rows.values_list("user__username", "messenger", "address"))


def columns(user: User) -> tuple[str, str] | None:
    """What processes of the version before see."""
    return Profile.objects.filter(user=user).values_list("phone", "telegram_chat_id").first()


# Rows


def test_a_user_has_one_row_of_a_messenger(ann: User) -> None:
    Address.objects.create(user=ann, messenger="sms", address="1")
    with pytest.raises(IntegrityError), transaction.atomic():
        Address.objects.create(user=ann, messenger="sms", address="2")
    ann.delete()
    assert not Address.objects.exists()


def test_a_row_that_would_not_be_read_is_refused(ann: User, settings: Settings) -> None:
    Address(user=ann, messenger="us", address="1").full_clean()
    with pytest.raises(ValidationError, match=r"no messenger 'smss' \(did you mean 'sms'"):
        Address(user=ann, messenger="smss", address="1").full_clean()
    with pytest.raises(ValidationError, match="console keeps no addresses here"):
        Address(user=ann, messenger="console", address="1").full_clean()
    settings.DSN = {"ADDRESSES": {"sms": "last_name"}}
    with pytest.raises(ValidationError, match="sms reads users' addresses from last_name"):
        Address(user=ann, messenger="sms", address="1").full_clean()


def test_rows_are_dumped_and_loaded(ann: User, bob: User, tmp_path: Path) -> None:
    now = timezone.now().replace(microsecond=0)
    store_address(ann, "sms", "+49 ä", verified_at=now)
    store_address(bob, "us", "")
    dump = io.StringIO()
    call_command("dumpdata", "dsn_core.Address", stdout=dump)
    file = tmp_path / "rows.json"
    file.write_text(dump.getvalue(), encoding="utf-8")
    assert len(json.loads(dump.getvalue())) == 2
    before = stored()
    Address.objects.all().delete()
    call_command("loaddata", file, verbosity=0)
    assert stored() == before
    assert Address.objects.get(user=ann).verified_at == now
    store_address(ann, "us", "2")
    assert [*find_users("us", "2")] == [ann]


# The profiles of the version before


def test_a_profile_is_read_with_a_warning(ann: User) -> None:
    store_address(ann, "sms", "1")
    with pytest.warns(DeprecationWarning, match=r"user\.dsn_profile go with the next release"):
        assert User.objects.get().dsn_profile.phone == "1"


def test_what_is_stored_is_in_the_profile_as_well(ann: User, bob: User) -> None:
    store_address(ann, "sms", "1")
    Address.objects.create(user=bob, messenger="telegram", address="7")
    Address.objects.create(user=bob, messenger="us", address="8")
    assert (columns(ann), columns(bob)) == (("1", ""), ("", "7"))
    store_address(ann, "sms", "2")
    store_address(ann, "us", "3")
    assert columns(ann) == ("2", "")
    row = Address.objects.get(user=bob, messenger="telegram")
    row.address = "8"
    row.save()
    assert columns(bob) == ("", "8")
    row.delete()
    assert columns(bob) == ("", "")
    store_address(ann, "sms", "9" * 33)
    assert columns(ann) == ("", "")
    store_address(ann, "sms", "4")
    Address.objects.filter(user=ann).delete()
    assert columns(ann) == ("", "")
    store_address(ann, "sms", "5")
    store_address(ann, "sms", "")
    assert columns(ann) == ("", "")
    assert not hasattr(Address.objects, "delete")


def test_a_profile_that_a_project_saves_is_where_messengers_look(ann: User) -> None:
    with pytest.warns(DeprecationWarning, match="store_address"):
        profile = Profile.objects.create(user=ann, phone="1", telegram_chat_id="7")
    assert stored() == [("ann", "sms", "1"), ("ann", "telegram", "7")]
    assert [*find_users("sms", "1")] == [ann]
    profile.phone, profile.telegram_chat_id = "", "8"
    with pytest.warns(DeprecationWarning, match="store_address"):
        profile.save(update_fields=["phone"])
    assert stored() == [("ann", "telegram", "7")]
    assert columns(ann) == ("", "7")
    store_address(ann, "telegram", "8", verified_at=timezone.now())
    with pytest.warns(DeprecationWarning, match="store_address"):
        profile.save()
    assert Address.objects.get(messenger="telegram").verified_at is not None


def test_a_path_to_the_profile_still_leads_there(ann: User, settings: Settings) -> None:
    settings.DSN = {"ADDRESSES": {"us": "dsn_profile.phone"}, "MESSENGERS": {"us": {"MESSENGER": "sms"}}}
    with pytest.warns(DeprecationWarning, match="store_address"):
        store_address(ann, "us", "1")
    assert columns(ann) == ("1", "")
    assert stored() == [("ann", "sms", "1")]
    with pytest.warns(DeprecationWarning, match="store_address"):
        assert [*find_users("us", "1").select_related("dsn_profile")] == [ann]
    with pytest.warns(DeprecationWarning, match="store_address"):
        store_address(User.objects.get(), "us", "")
    assert (columns(ann), stored()) == (("", ""), [])


@pytest.mark.parametrize(
    "given", [{"PROFILE_MODEL": "dsn_core.Profile"}, {"ADDRESSES": {"sms": "dsn_profile.phone"}}, {}]
)
def test_settings_that_name_the_built_in_profile_are_told(given: dict[str, Any], settings: Settings) -> None:
    from dsn_core.checks import paths

    settings.DSN = given
    found = [message for message in paths.check_paths() if message.id == "dsn.W009"]
    assert len(found) == len(given)
    assert all("goes with the next release" in message.msg and message.hint for message in found)


# Copying


@pytest.fixture
def profiles(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[User]]:
    """Seven users whose profiles nobody has copied, read in pages of two."""
    monkeypatch.setattr(profile_rows, "PAGE", 2)
    users = [User.objects.create_user(f"user{number}") for number in range(7)]
    Profile.objects.bulk_create(
        Profile(user=user, phone=f" +{number} " if number % 2 else "", telegram_chat_id=f"{number}")
        for number, user in enumerate(users)
    )
    return users


def copied() -> dict[tuple[str, str], str]:
    return {(name, messenger): address for name, messenger, address in stored()}


def test_profiles_are_copied_in_pages_and_again_without_a_trace(profiles: list[User]) -> None:
    expected = {(f"user{number}", "telegram"): str(number) for number in range(7)}
    expected |= {(f"user{number}", "sms"): f"+{number}" for number in (1, 3, 5)}
    assert Profile.objects.copy_to_addresses() == 10
    assert copied() == expected
    with CaptureQueriesContext(connection) as captured:
        assert Profile.objects.copy_to_addresses() == 0
    assert not [query for query in captured if query["sql"].startswith(("INSERT", "UPDATE", "DELETE"))]
    assert copied() == expected


def test_what_the_version_before_wrote_since_is_followed(profiles: list[User]) -> None:
    Profile.objects.copy_to_addresses()
    now = timezone.now()
    store_address(profiles[0], "telegram", "70", verified_at=now)
    store_address(profiles[1], "sms", "9" * 33)
    store_address(profiles[2], "us", "2")
    Profile.objects.filter(user=profiles[3]).update(phone="")
    Profile.objects.filter(user=profiles[4]).update(phone="+44", telegram_chat_id="44")
    assert Profile.objects.copy_to_addresses() == 3
    found = copied()
    assert found["user0", "telegram"] == "70"
    assert Address.objects.get(user=profiles[0], messenger="telegram").verified_at == now
    assert found["user1", "sms"] == "9" * 33
    assert found["user2", "us"] == "2"
    assert ("user3", "sms") not in found
    assert (found["user4", "sms"], found["user4", "telegram"]) == ("+44", "44")


def test_addresses_are_copied_back(profiles: list[User]) -> None:
    Profile.objects.copy_to_addresses()
    Profile.objects.all().delete()
    Address.objects.filter(user=profiles[1], messenger="sms").update(address="9" * 33)
    for _ in range(2):
        profile_rows.copy_to_profiles(Profile, Address, {"telegram": "telegram_chat_id", "sms": "phone"}, "default")
        assert [columns(user) for user in profiles[:4]] == [("", "0"), ("", "1"), ("", "2"), ("+3", "3")]
