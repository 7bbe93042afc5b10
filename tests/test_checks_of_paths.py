"""The checks of the paths that settings name, and of the worker's pool."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from django.contrib.auth.models import User

from dsn_core import BaseMessenger
from dsn_core.checks import configuration, paths
from dsn_core.plugins.registry import registry
from dsn_core.testing import MemoryMessenger

if TYPE_CHECKING:
    from pytest_django import Settings

    from dsn_core.testing.harness import Harness


def said() -> list[str]:
    found = paths.check_paths()
    assert all(message.hint and not message.is_serious() for message in found)
    return [f"{message.id} {message.msg}" for message in found]


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("emial", "auth.User has no field or attribute 'emial' (did you mean 'email'?)"),
        ("profile.langauge", "testapp.Profile has no field or attribute 'langauge' (did you mean 'language'?)"),
        ("profil.language", "auth.User has no field or attribute 'profil' (did you mean 'profile'?)"),
        ("profile.user.emial", "auth.User has no field or attribute 'emial' (did you mean 'email'?)"),
        ("groups.name", "auth.User.groups leads to many objects"),
        ("get_full_name", "auth.User.get_full_name is a method, and a path calls nothing"),
        ("email.domain", "auth.User.email is a plain value"),
        ("profile..phone", "'' is no name of a field"),
        ("profile phone", "'profile phone' is no name of a field"),
        (
            "password",
            (
                "The path 'password' is refused: 'password' is sensitive, and no path reads it. "
                "If it is no secret, name it in DSN['PLAIN_FIELDS']"
            ),
        ),
    ],
)
@pytest.mark.parametrize("setting", ["LANGUAGE_PATH", "TIME_ZONE_PATH", "ADDRESSES"])
def test_a_path_that_leads_nowhere_is_told_with_the_nearest_name(
    setting: str, path: str, why: str, settings: Settings
) -> None:
    where = f"DSN[{setting!r}]"
    settings.DSN = {setting: path}
    if setting == "ADDRESSES":
        settings.DSN, where = {setting: {"console": path}}, f"{where}['console']"
    assert said() == [f"dsn.W007 {where} is {path!r}, which leads nowhere: {why}."]


@pytest.mark.parametrize("path", ["email", "profile.language", "profile.user.username", "nickname.short", "is_active"])
def test_a_path_that_may_lead_somewhere_is_left_alone(
    path: str, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(User, "nickname", property(lambda user: {}), raising=False)
    settings.DSN = {"LANGUAGE_PATH": path, "TIME_ZONE_PATH": path, "ADDRESSES": {"console": path}}
    assert said() == []


def test_a_misspelt_property_is_found_too(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(User, "preferences", property(lambda user: {}), raising=False)
    settings.DSN = {"LANGUAGE_PATH": "preferencs.language"}
    assert "(did you mean 'preferences'?)" in said()[0]


def test_an_address_of_no_messenger_is_told_with_the_nearest_name(settings: Settings) -> None:
    settings.DSN = {"ADDRESSES": {"consle": "email"}, "MESSENGERS": {}}
    assert said() == [
        "dsn.W007 DSN['ADDRESSES'] names 'consle', and there is no such messenger (did you mean 'console'?)."
    ]


def test_a_field_that_the_profile_lacks_is_told_with_the_nearest_name(settings: Settings, dsn: Harness) -> None:
    class Pager(MemoryMessenger):
        """Keeps its address in the profile."""

        name = "pager_of_profile"
        profile_field = "phne"

    dsn.add(Pager)
    settings.DSN = {"PROFILE_MODEL": "testapp.Profile"}
    own = [text for text in said() if "pager_of_profile" in text]
    assert len(own) == 1
    assert own[0].startswith("dsn.W008 The messenger 'pager_of_profile' looks for users' addresses in the field 'phne'")
    assert own[0].endswith("testapp.Profile has no such field (did you mean 'phone'?).")
    settings.DSN = {"PROFILE_MODEL": "testapp.Profile", "ADDRESSES": {"pager_of_profile": "profile.phone"}}
    assert not [text for text in said() if "pager_of_profile" in text]


def test_a_profile_without_such_a_field_is_told_nothing(settings: Settings, dsn: Harness) -> None:
    """Then addresses are rows of ours."""

    class Pager(MemoryMessenger):
        """Keeps its address in the profile."""

        name = "pager_of_profile"
        profile_field = "beeper_4711"

    dsn.add(Pager)
    settings.DSN = {"PROFILE_MODEL": "testapp.Profile"}
    assert not [text for text in said() if "pager_of_profile" in text]


def test_the_path_of_the_rows_is_one_of_addresses_only(settings: Settings) -> None:
    settings.DSN = {"ADDRESSES": {"console": "dsn_address"}, "LANGUAGE_PATH": "dsn_address"}
    (text,) = said()
    assert text.startswith("dsn.W007 DSN['LANGUAGE_PATH'] is 'dsn_address', which leads nowhere")


@pytest.mark.parametrize(
    ("pool", "size"),
    [(True, 4), ({}, None), ({"min_size": 2}, 2), ({"min_size": 1, "max_size": 3}, 3), ({"max_size": 500}, None)],
)
def test_a_pool_that_is_smaller_than_a_workers_threads_is_told(
    pool: Any, size: int | None, settings: Settings, dsn: Harness
) -> None:
    class Fast(BaseMessenger):
        """Sends by several connections."""

        name = "fast"

        def send_messages(self, messages: Any) -> Any:
            return []

    dsn.add(Fast)
    settings.DSN = {"RUNNER": "worker", "MESSENGERS": {"fast": {"CONNECTIONS": 5}}}
    found = list(configuration.of_pool(registry, {"OPTIONS": {"pool": pool}}, "default"))
    assert [message.id for message in found] == ([] if size is None else ["dsn.W047"])
    if size is not None:
        assert f"has {size} connections" in found[0].msg
        assert found[0].hint is not None


@pytest.mark.parametrize(("runner", "options"), [("immediate", {"pool": True}), ("worker", {}), ("worker", None)])
def test_without_a_pool_or_a_worker_nothing_is_told(
    runner: str, options: dict[str, Any] | None, settings: Settings
) -> None:
    settings.DSN = {"RUNNER": runner}
    database = {} if options is None else {"OPTIONS": options}
    assert list(configuration.of_pool(registry, database, "default")) == []
