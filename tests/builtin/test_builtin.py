"""What comes with the core: resolvers, filter, messenger."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.contrib.auth.models import AnonymousUser, Group, Permission, User
from django.core.exceptions import ValidationError

from dsn_core import Message
from dsn_core.builtin.plugin import ConsoleMessenger, InactiveUsersFilter, SimpleMessageTemplate
from dsn_core.builtin.resolvers import PathResolver
from dsn_core.contracts.activities import Activity
from dsn_core.exceptions import ConfigurationError
from dsn_core.fanout.receivers import chunks_of
from dsn_core.models import Trigger
from dsn_core.plugins.registry import registry
from tests.testapp.models import Movie, Profile, Ticket


def keys(name: str, event: Any = None, argument: str = "") -> list[Any]:
    found = registry.receiver_resolver(name).resolve(event, argument)
    return [key for chunk in chunks_of(found, name) for key in chunk.users]


@pytest.fixture
def users(db: None) -> SimpleNamespace:
    return SimpleNamespace(
        root=User.objects.create_superuser("root"),
        idle=User.objects.create_superuser("idle", is_active=False),
        staff=User.objects.create_user("staff", is_staff=True),
        ann=User.objects.create_user("ann"),
    )


def test_users_can_be_named_by_their_rights(users) -> None:
    assert keys("superusers") == [users.root.pk]
    assert keys("staff") == [users.root.pk, users.staff.pk]
    assert keys("everyone") == [users.root.pk, users.staff.pk, users.ann.pk]


def test_the_actor(users) -> None:
    assert keys("actor", Activity("v", actor_object=users.ann)) == [users.ann.pk]
    assert keys("actor", Activity("v")) == []
    assert keys("actor", Activity("v", actor_object=AnonymousUser())) == []
    with pytest.raises(ConfigurationError, match="it gives users"):
        keys("actor", Activity("v", actor_object=Movie(pk=1)))


def test_paths(users) -> None:
    movie = Movie.objects.create(name="Brazil")
    movie.audiences.set([users.ann, users.staff])
    ticket = Ticket.objects.create(movie=movie)
    profile = Profile.objects.create(user=users.ann)
    event = Activity(
        "v", action_object=ticket, sender=Ticket,
        signal_kwargs={"movie": movie, "owners": [users.ann, users.root], "profile": profile, "missing": None},
    )  # fmt: skip
    assert keys("path", event, "movie.audiences") == [users.staff.pk, users.ann.pk]
    assert keys("path", event, "action_object.movie.audiences") == [users.staff.pk, users.ann.pk]
    assert keys("path", event, "profile.user") == [users.ann.pk]
    assert keys("path", event, "owners") == [users.ann.pk, users.root.pk]
    assert keys("path", event, "missing.anything") == []
    for wrong in ("movie", "movie.name", "sender"):
        with pytest.raises(ConfigurationError, match="it gives users"):
            keys("path", event, wrong)
    with pytest.raises(ConfigurationError, match="there is no 'film'"):
        keys("path", event, "film.audiences")


def test_several_paths(users) -> None:
    movie = Movie.objects.create(name="Brazil")
    movie.audiences.set([users.ann, users.staff])
    given = {"movie": movie, "owners": [users.root], "ann": users.ann, "missing": None}
    event = Activity("v", signal_kwargs=given)
    assert keys("path", event, "owners, missing") == [users.root.pk]
    assert sorted(keys("path", event, "ann,movie.audiences,  owners")) == sorted(
        [users.ann.pk, users.staff.pk, users.ann.pk, users.root.pk]
    )
    with pytest.raises(ConfigurationError, match="it gives users"):
        keys("path", event, "owners, movie.name")
    with pytest.raises(ConfigurationError, match="there is no 'film'"):
        keys("path", event, "owners, film")


def test_the_users_of_a_group_by_its_name(users) -> None:
    support = Group.objects.create(name="Support, 2nd level")
    users.ann.groups.add(support, Group.objects.create(name="Sales"))
    assert keys("group", None, "Support, 2nd level") == [users.ann.pk]
    support.delete()
    with pytest.raises(ConfigurationError, match=r"There is no group 'Sale' \(did you mean 'Sales'\?\)"):
        keys("group", None, "Sale")


def test_the_holders_of_a_permission(users) -> None:
    permission = Permission.objects.get(content_type__app_label="testapp", codename="change_movie")
    users.ann.user_permissions.add(permission)
    editors = Group.objects.create(name="Editors")
    editors.permissions.add(permission)
    users.staff.groups.add(editors)
    User.objects.create_user("gone", is_active=False).groups.add(editors)
    assert keys("permission", None, "testapp.change_movie") == [users.root.pk, users.staff.pk, users.ann.pk]
    assert keys("permission", None, "testapp.delete_movie") == [users.root.pk]
    # Django finds the superusers for any name.
    with pytest.raises(ConfigurationError, match=r"did you mean 'testapp\.change_movie'"):
        keys("permission", None, "testapp.chang_movie")


@pytest.mark.parametrize(
    ("resolver", "argument", "said"),
    [
        ("group", "", "There is no group ''"),
        ("group", "Guests", "There is no group 'Guests'"),
        ("permission", "", "There is no permission ''"),
        ("permission", "change_movie", "Write the app's label, a dot and the codename"),
        ("permission", "testapp.chang_movie", "did you mean 'testapp.change_movie'"),
        ("path", "instance.audiences,", "'' is not a path"),
        ("path", "instance.name", "'name' of testapp.Movie, which is no relation; receivers are users"),
        ("path", "instance.audiences.email", "'email' of auth.User, which is no relation"),
        ("path", "instance.audience", "has no 'audience' (did you mean 'audiences'?)"),
        ("path", "instence.audiences", "does not provide (did you mean 'instance'?)"),
        ("actor", "x", "The resolver 'actor' takes no argument"),
        ("staff", "x", "The resolver 'staff' takes no argument"),
        ("path", "instance.audiences, instance.nothing", "has no 'nothing'"),
        ("path", "instance.audiences, movie.audiences", "begins with 'movie'"),
    ],
)
def test_arguments_that_cannot_work_are_refused(db: None, resolver: str, argument: str, said: str) -> None:
    trigger = Trigger.objects.define("post_save", action_object=Movie)
    with pytest.raises(ValidationError, match=re.escape(said)):
        trigger.subscribe(resolver=resolver, argument=argument, backends=[("console", "simple")])


def test_rights_need_a_user_model_that_has_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dsn_core.builtin.resolvers.get_user_model", lambda: Movie)
    for name, field in (("group", "groups"), ("permission", "user_permissions")):
        with pytest.raises(ValueError, match=f"needs the field '{field}', which testapp.Movie lacks"):
            registry.receiver_resolver(name).check_argument("anything", None)


def test_a_path_can_start_at_an_argument_that_is_called_like_a_part(users) -> None:
    movie = Movie.objects.create(name="Brazil")
    movie.audiences.set([users.ann])
    event = Activity("v", sender=Movie, target="Brazil", signal_kwargs={"target": movie, "sender": movie})
    assert event.target == "Brazil"
    assert keys("path", event, "target.audiences") == [users.ann.pk]
    assert keys("path", event, "sender.audiences") == [users.ann.pk]


def trigger(**values: Any) -> SimpleNamespace:
    given = {"verb": "v", "provides": ("instance", "movie"), "removes": False, "action_object_class": None}
    return SimpleNamespace(**given | values)


@pytest.mark.parametrize(
    ("path", "about"),
    [
        ("movie.audiences", {}),
        ("instance.audiences", {"action_object_class": Movie}),
        ("instance.movie.audiences", {"action_object_class": Ticket, "removes": True}),
        ("instance.movie.audiences", {"action_object_class": Ticket}),
        ("instance", {"action_object_class": User}),
        ("anything.at.all", {"provides": None}),
        ("instance.pk", {"action_object_class": Movie}),
        ("actor_object", {}),
    ],
)
def test_paths_that_can_work_are_accepted(path: str, about: dict[str, Any]) -> None:
    PathResolver().check_argument(path, trigger(**about))


@pytest.mark.parametrize(
    ("path", "about", "sentence"),
    [
        ("", {}, "is not a path"),
        ("movie._state", {}, "is not a path"),
        ("film.audiences", {}, "begins with 'film', which v does not provide. It provides instance, movie"),
        ("instance.owner", {"action_object_class": Movie}, "testapp.Movie has no 'owner'"),
        ("instance.audiences", {"action_object_class": Movie, "removes": True}, "that is being deleted"),
        ("instance.profile", {"action_object_class": User, "removes": True}, "that is being deleted"),
        ("instance.groups", {"action_object_class": User}, "leads to auth.Group; receivers are users"),
        ("instance", {"action_object_class": Movie}, "leads to testapp.Movie; receivers are users"),
    ],
)
def test_paths_that_cannot_work_are_refused(path: str, about: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        PathResolver().check_argument(path, trigger(**about))


def test_the_simple_template_names_a_class_by_its_model() -> None:
    said = SimpleMessageTemplate().render(None, {"verb": "user_logged_in", "action_object": User, "target": ""}, {})
    assert said.subject == "user_logged_in: user"
    assert "Action object: user" in said.text


def test_the_filter_leaves_out_inactive_users_and_no_others() -> None:
    def delivery(pk: int, user: Any) -> Any:
        return SimpleNamespace(pk=pk, user=user, address="", messenger="", event=None, backend=None)

    rows = [
        delivery(1, User(is_active=True)),
        delivery(2, User(is_active=False)),
        delivery(3, None),
        delivery(4, object()),
    ]
    assert InactiveUsersFilter().exclude(rows) == {2: "The user's account is not active."}


def test_the_console_prints_receiver_subject_and_text(capsys) -> None:
    messages = [
        Message("Hello\nthere", subject="Hi", address="a@b.c", user=User(username="ann")),
        Message(html="<p>only html</p>", user=User(username="ann")),
        Message("to nobody"),
    ]
    assert [receipt.outcome.value for receipt in ConsoleMessenger().send_messages(messages)] == ["sent"] * 3
    line = "-" * 72
    assert capsys.readouterr().out == (
        f"{line}\nTo: a@b.c\nSubject: Hi\n\nHello\nthere\n{line}\n"
        f"{line}\nTo: ann\n\nonly html\n{line}\n"
        f"{line}\n\nto nobody\n{line}\n"
    )


OWN_USER_MODEL = """
import django
from django.conf import settings

settings.configure(
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "dsn_core", "accounts"],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    AUTH_USER_MODEL="accounts.Person", USE_TZ=True, DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    DSN={"RUNNER": "worker"}, SECRET_KEY="x",
)
django.setup()
from django.core.management import call_command
call_command("migrate", run_syncdb=True, verbosity=0)
from django.contrib.auth.models import Group
from django.core.exceptions import ValidationError
from accounts.models import Person
from dsn_core import emit
from dsn_core.models import Delivery, Event, Trigger
from dsn_core.runners.driver import drain
people = [Person.objects.create(handle=name) for name in ("ann", "bob")]
trigger = Trigger.objects.define("user_logged_in")
trigger.subscribe("all", resolver="everyone", backends=[("console", "simple")])
trigger.subscribe("users", users=people, backends=[("console", "simple")])
group = Group.objects.create(name="g")
for refused in ({"resolver": "staff"}, {"groups": [group]}):
    try:
        trigger.subscribe("refused", **refused)
    except ValidationError as error:
        print(error.messages)
# Past the checks, as a fixture would.
trigger.subscribe("groups", backends=[("console", "simple")]).groups.add(group)
emit("user_logged_in", actor_object=people[0])
drain("default")
print(sorted((str(row.user), row.status) for row in Delivery.objects.all()))
print(Event.objects.get().status, Event.objects.get().last_error)
"""


def test_a_user_model_without_groups_flags_and_number_keys(tmp_path) -> None:
    (tmp_path / "accounts").mkdir()
    (tmp_path / "accounts" / "__init__.py").write_text("")
    (tmp_path / "accounts" / "models.py").write_text(
        "import uuid\n"
        "from django.contrib.auth.base_user import AbstractBaseUser, BaseUserManager\n"
        "from django.db import models\n\n"
        "class Person(AbstractBaseUser):\n"
        "    id = models.UUIDField(primary_key=True, default=uuid.uuid4)\n"
        "    handle = models.CharField(max_length=40, unique=True)\n"
        "    USERNAME_FIELD = 'handle'\n"
        "    objects = BaseUserManager()\n"
    )
    environment = {name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"}
    environment["PYTHONPATH"] = os.pathsep.join([os.fspath(django_settings.BASE_DIR), os.fspath(tmp_path)])
    done = subprocess.run(
        [sys.executable, "-c", OWN_USER_MODEL], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == "[\"The resolver 'staff' needs the field 'is_staff', which accounts.Person lacks.\"]"
    assert lines[1] == ("['The user model accounts.Person has no groups. Name users, or use a receiver resolver.']")
    assert lines[-2] == "[('ann', 'sent'), ('bob', 'sent')]"
    assert lines[-1].startswith("failed ConfigurationError: The subscription names groups, but the user model")
