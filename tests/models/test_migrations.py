"""Migrating back: what would be lost, and what must not be."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import connection
from django.db.migrations.exceptions import IrreversibleError
from django.db.migrations.executor import MigrationExecutor

from dsn_core import store_address
from dsn_core.models import Address, ConfigurationChange, Event, Trigger
from dsn_core.testing import MemoryMessenger
from dsn_core.triggers.dispatch import trigger_cache
from tests.testapp.models import Movie

if TYPE_CHECKING:
    from dsn_core.testing.harness import Harness

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def migrate(settings: Any) -> Iterator[Callable[[str], None]]:
    """Bring the app to the migration of that name; after the test, all are applied again."""
    settings.DSN = {"RUNNER": "worker"}
    yield lambda name: call_command("migrate", "dsn_core", name, verbosity=0)
    executor = MigrationExecutor(connection)
    if executor.migration_plan(executor.loader.graph.leaf_nodes()):
        call_command("migrate", verbosity=0)


def old_model(migration: str, name: str) -> Any:
    """The model as it was at ``migration``."""
    return MigrationExecutor(connection).loader.project_state(("dsn_core", migration)).apps.get_model("dsn_core", name)


def test_triggers_with_conditions_are_not_brought_back_to_before_conditions(migrate: Callable[[str], None]) -> None:
    trigger = Trigger.objects.define(
        "post_save", action_object=Movie, conditions=[("instance.name", "equals", "Alien")]
    )
    with pytest.raises(IrreversibleError, match=rf"1 triggers have conditions.*their ids: {trigger.pk}\)"):
        migrate("0001")
    call_command("migrate", verbosity=0)
    trigger.refresh_from_db()
    assert trigger.conditions
    trigger.subscribe()
    Movie.objects.create(name="Brazil")
    assert not Event.objects.exists()
    Movie.objects.create(name="Alien")
    assert Event.objects.count() == 1


def test_triggers_without_conditions_go_back_and_forward(migrate: Callable[[str], None]) -> None:
    trigger = Trigger.objects.define("post_save", action_object=Movie)
    trigger.subscribe()
    migrate("0001")
    assert old_model("0001_initial", "Trigger").objects.get().pk == trigger.pk
    call_command("migrate", verbosity=0)
    Movie.objects.create(name="Alien")
    assert Event.objects.count() == 1


def test_changes_lose_what_they_name_and_then_mean_any_trigger(migrate: Callable[[str], None]) -> None:
    Trigger.objects.define("post_save", action_object=Movie).save()
    assert ConfigurationChange.objects.filter(trigger_ids__isnull=False).exists()
    rows = ConfigurationChange.objects.count()
    migrate("0004")
    old = old_model("0004_sparse_indexes", "ConfigurationVersion")
    assert old.objects.count() >= rows
    migrate("0005")
    changes = ConfigurationChange.read("default").changes.values()
    assert all(change.trigger_ids is None and change.pruned is None for change in changes)
    call_command("migrate", verbosity=0)
    assert trigger_cache.refresh(force=True)


def test_a_new_row_beside_the_one_of_before_is_no_obstacle(migrate: Callable[[str], None]) -> None:
    """The version before inserted its row with key 1, of which PostgreSQL's sequence knows nothing."""
    migrate("0004")
    old = old_model("0004_sparse_indexes", "ConfigurationVersion")
    old.objects.all().delete()
    old.objects.bulk_create([old(pk=1, number=1_764_000_000_000_000)])
    call_command("migrate", verbosity=0)
    known = ConfigurationChange.read("default")
    trigger = Trigger.objects.define("post_save", action_object=Movie)
    assert ConfigurationChange.read("default").since(known) == {trigger.pk}


def test_addresses_go_from_profiles_into_rows_and_back(migrate: Callable[[str], None], dsn: Harness) -> None:
    class Pager(MemoryMessenger):
        """A stranger's, which reads the column of another."""

        name = "pager"
        profile_field = "phone"

    dsn.add(Pager)
    migrate("0008")
    ann, bob = (User.objects.create_user(name) for name in ("ann", "bob"))
    old = old_model("0008_pauses_and_holds", "Profile")
    old.objects.create(user_id=ann.pk, phone="+49 1", telegram_chat_id="7")
    old.objects.create(user_id=bob.pk)
    call_command("migrate", verbosity=0)
    expected = [("pager", "+49 1"), ("sms", "+49 1"), ("telegram", "7")]
    assert list(Address.objects.order_by("messenger").values_list("messenger", "address")) == expected
    store_address(bob, "pager", "lost")
    Address.objects.create(user=bob, messenger="telegram", address="8")
    migrate("0008")
    assert sorted(old.objects.values_list("user_id", "phone", "telegram_chat_id")) == [
        (ann.pk, "+49 1", "7"),
        (bob.pk, "", "8"),
    ]
    migrate("0010_address")
    Address.objects.create(user=ann, messenger="sms", address="+49 1")
    # One that was broken off is run again.
    call_command("migrate", verbosity=0)
    assert list(Address.objects.filter(user=ann).order_by("messenger").values_list("messenger", "address")) == expected


def test_what_waits_in_pages_is_due_by_itself_for_the_version_before(migrate: Callable[[str], None]) -> None:
    from dsn_core.models import Backend, Delivery

    event = Event.objects.create(trigger_id=1, verb="post_save", payload="{}")
    backend = Backend.objects.create(messenger="console", message_template="simple")
    for number, values in enumerate([{"page_key": 7}, {"page_key": 7, "status": "cancelled"}, {"status": "sent"}]):
        Delivery.objects.create(
            event=event, backend=backend, occurrence=event.occurrence, messenger="console", address_key=number, **values
        )
    migrate("0008")
    rows = old_model("0008_pauses_and_holds", "Delivery").objects.order_by("id")
    assert [(row.status, row.not_before is None) for row in rows] == [
        ("pending", False),
        ("cancelled", True),
        ("sent", True),
    ]
    call_command("migrate", verbosity=0)
    assert Delivery.objects.unfinished().count() == 1
