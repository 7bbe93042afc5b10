"""The tests' own ``flush``: what it leaves, and when it leaves the work to Django's."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import Group, Permission, User
from django.contrib.contenttypes.models import ContentType
from django.core.management import call_command

from dsn_core.models import Event, Trigger
from tests.testapp.models import Movie

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _workers_runner(settings):
    settings.DSN = {"RUNNER": "worker", "REFRESH_SECONDS": 3_600}


def flush():
    call_command("flush", interactive=False, verbosity=0)


def names() -> set[tuple[str, str]]:
    return set(Permission.objects.values_list("content_type__app_label", "codename"))


def test_rows_are_gone_permissions_stay_and_no_trigger_is_known_any_more():
    flush()
    keys = list(Permission.objects.order_by("pk").values_list("pk", flat=True))
    group = Group.objects.create(name="staff")
    group.permissions.add(Permission.objects.earliest("pk"))
    User.objects.create(username="ann").groups.add(group)
    Trigger.objects.define("post_save", action_object=Movie).subscribe()
    Movie.objects.create(name="M")
    assert Event.objects.count() == 1

    flush()
    for model in (Group, User, User.groups.through, Group.permissions.through, Trigger, Movie, Event):
        assert not model._default_manager.exists(), model
    assert list(Permission.objects.order_by("pk").values_list("pk", flat=True)) == keys
    Movie.objects.create(name="N")
    assert not Event.objects.exists()


def test_content_types_and_permissions_that_changed_are_made_again():
    flush()
    before = names()
    ContentType.objects.create(app_label="elsewhere", model="thing")
    Permission.objects.earliest("pk").delete()
    flush()
    assert names() == before
    assert not ContentType.objects.filter(app_label="elsewhere").exists()
