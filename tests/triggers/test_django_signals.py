"""Every signal that Django ships is a verb: each is fired for real, and gives templates what can be stored."""

from __future__ import annotations

import importlib
import io
import re
import subprocess
import sys
import threading
from pathlib import Path

import django
import pytest
from asgiref.sync import async_to_sync
from django import forms
from django.apps import apps
from django.conf import settings as django_settings
from django.contrib.auth import authenticate, get_user_model, login
from django.contrib.auth.models import AnonymousUser, User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import call_command
from django.db import connection, models
from django.http import HttpResponse
from django.template import Context, Template
from django.test import AsyncClient
from django.test.utils import isolate_apps, override_settings
from django.urls import path
from django.utils import autoreload

from dsn_core.builtin.django_signals import registrations
from dsn_core.models import Event
from dsn_core.plugins.catalogue import catalogue
from tests.testapp.models import Movie

HAS_TASKS = django.VERSION >= (6, 0)


def fail(request):
    raise ZeroDivisionError("on purpose")


urlpatterns = [path("fail/", fail), path("ok/", lambda request: HttpResponse("ok"))]


def reconnect():
    connection.close()
    connection.ensure_connection()


@isolate_apps("tests.testapp")
def make_a_model():
    type("Late", (models.Model,), {"__module__": __name__, "Meta": type("Meta", (), {"app_label": "testapp"})})


def ann():
    return get_user_model().objects.get(username="ann")


def some_movie():
    movie, _ = Movie.objects.get_or_create(name="M")
    return movie


def log_out(client):
    client.force_login(ann())
    client.logout()


def change_a_setting(client):
    with override_settings(TIME_ZONE="Europe/Berlin", SECRET_KEY="c2VjcmV0"):
        pass


class Reloader(autoreload.StatReloader):
    """Django's own, which looks once."""

    def tick(self):
        yield


def start_the_reloader(client):
    # What it waits for is another thread, which sets Django up.
    Reloader().run(threading.current_thread())


def change_a_file(client):
    # Restarting is what follows.
    with pytest.raises(SystemExit):
        autoreload.StatReloader().notify_file_changed(Path(__file__))


def work():
    """A task."""


def enqueue(client):
    from django.tasks import task

    task(work).enqueue()


MIGRATING = ("migrate", "testapp")
FIRED = {
    "pre_init": (Movie, lambda client: Movie(name="M")),
    "post_init": (Movie, lambda client: Movie(name="M")),
    "pre_save": (Movie, lambda client: Movie.objects.create(name="M")),
    "post_save": (Movie, lambda client: Movie.objects.create(name="M")),
    "pre_delete": (Movie, lambda client: Movie.objects.create(name="M").delete()),
    "post_delete": (Movie, lambda client: Movie.objects.create(name="M").delete()),
    "m2m_changed": (Movie, lambda client: some_movie().audiences.add(ann())),
    "class_prepared": (None, lambda client: make_a_model()),
    "pre_migrate": (None, lambda client: call_command(*MIGRATING, verbosity=0)),
    "post_migrate": (None, lambda client: call_command(*MIGRATING, verbosity=0)),
    "request_started": (None, lambda client: client.get("/ok/", headers={"authorization": "Basic c2VjcmV0"})),
    "request_finished": (None, lambda client: client.get("/ok/")),
    "got_request_exception": (None, lambda client: client.get("/fail/")),
    "setting_changed": (None, change_a_setting),
    "template_rendered": (None, lambda client: Template("hello", name="a.txt").render(Context({"x": "c2VjcmV0"}))),
    "connection_created": (None, lambda client: reconnect()),
    "user_logged_in": (None, lambda client: client.force_login(ann())),
    "user_logged_out": (None, log_out),
    "user_login_failed": (None, lambda client: authenticate(username="ann", password="c2VjcmV0")),
    "autoreload_started": (None, start_the_reloader),
    "file_changed": (None, change_a_file),
    "task_enqueued": (None, enqueue),
    "task_started": (None, enqueue),
    "task_finished": (None, enqueue),
}
VERBS = [verb for verb in FIRED if HAS_TASKS or not verb.startswith("task_")]


def test_the_table_above_is_complete():
    assert set(VERBS) == {registration.name for registration in registrations()}


def test_every_signal_that_django_ships_is_registered():
    """Found in Django's own modules, whatever version it is."""
    root = Path(django.__path__[0])
    found: dict[int, str] = {}
    for file in root.rglob("*.py"):
        for name in re.findall(r"^(\w+) = (?:Model)?Signal\(", file.read_text(encoding="utf-8"), re.MULTILINE):
            module = ".".join(("django", *file.relative_to(root).with_suffix("").parts))
            found[id(getattr(importlib.import_module(module), name))] = name
    assert len(found) >= 20
    known = {id(registration.signal): registration.name for registration in registrations()}
    assert known == found


@pytest.fixture(autouse=True)
def a_worker_and_pages(settings):
    settings.ROOT_URLCONF = __name__
    settings.DSN = {"RUNNER": "worker"}
    settings.TASKS = {"default": {"BACKEND": "django.tasks.backends.immediate.ImmediateBackend"}}


def fired(verb, listen, client):
    client.raise_request_exception = False
    get_user_model().objects.create_user("ann", password="right")
    model, fire = FIRED[verb]
    trigger = listen(verb, action_object=model)
    fire(client)
    events = list(Event.objects.filter(trigger=trigger).order_by("id"))
    # The end of a test empties the tables, and sends the signals of a migration.
    trigger.delete()
    return events


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("verb", VERBS)
def test_each_of_djangos_signals_is_a_verb(verb, listen, client):
    events = fired(verb, listen, client)
    assert events
    provides = catalogue.get(verb).provides
    for event in events:
        assert "c2VjcmV0" not in event.payload
        assert "sessionid" not in event.payload
        assert "cannot be stored" not in event.payload.partition('"sender"')[0]
        if provides is not None:
            # From Django 6.1 on, m2m_changed says whether it is raw.
            assert set(event.signal_kwargs) - {"raw"} <= set(provides)
        if verb in ("user_logged_in", "user_logged_out"):
            assert event.actor_object == ann()


def ok(method="GET", url="/ok/"):
    return {"method": method, "path": url, "address": "127.0.0.1"}


#: What templates get of arguments that are no plain values.
GIVEN = {
    "pre_init": lambda given: given["kwargs"] == {"name": "M"} and given["args"] == (),
    "class_prepared": lambda given: given == {},
    "pre_migrate": lambda given: (
        given["app_config"]["label"] in apps.app_configs
        and "testapp" in given["apps"]
        and given["plan"] == []
        and isinstance(given["stdout"], str)
    ),
    "request_started": lambda given: given["environ"] == ok(),
    "got_request_exception": lambda given: given["request"] == {**ok(url="/fail/"), "user": ""},
    "template_rendered": lambda given: (given["template"], given["context"]) == ("a.txt", ["x"]),
    "connection_created": lambda given: (
        given["connection"] == {"alias": "default", "vendor": connection.vendor}
    ),
    "user_login_failed": lambda given: given["request"] is None and given["credentials"]["username"] == "ann",
    "file_changed": lambda given: given["file_path"] == __file__,
    "task_enqueued": lambda given: given["task_result"]["task"].endswith("test_django_signals.work"),
    "task_finished": lambda given: (
        given["task_result"]["status"] == "SUCCESSFUL" and given["task_result"]["finished_at"].year > 2000
    ),
}  # fmt: skip


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("verb", [verb for verb in GIVEN if verb in VERBS])
def test_templates_get_what_can_be_said_of_an_argument(verb, listen, client):
    given = fired(verb, listen, client)[0].signal_kwargs
    assert GIVEN[verb](given), given


@pytest.mark.django_db(transaction=True)
def test_a_setting_is_stored_as_error_reports_show_it(listen, client):
    said = {
        event.signal_kwargs["setting"]: event.signal_kwargs["value"]
        for event in fired("setting_changed", listen, client)
    }
    assert "c2VjcmV0" not in str(said)
    assert said["TIME_ZONE"] in ("Europe/Berlin", django_settings.TIME_ZONE)


@pytest.mark.django_db(transaction=True)
def test_requests_of_an_async_server_are_told_alike(listen):
    # Not the other two: Django sends those from threads of a pool, whose connections nobody closes in a test.
    trigger = listen("request_started")
    async_to_sync(AsyncClient().get)("/ok/")
    (event,) = Event.objects.filter(trigger=trigger)
    assert event.signal_kwargs["scope"] == ok()


MIGRATE = """
import django
django.setup()
from django.core.management import call_command
call_command("migrate", "testapp", "zero", verbosity=0)
call_command("migrate", "testapp", verbosity=1)
"""


@pytest.mark.django_db(transaction=True)
def test_a_migration_in_a_process_of_its_own_is_told_with_its_plan(listen, child_environment):
    trigger = listen("post_migrate")
    try:
        done = subprocess.run(
            [sys.executable, "-c", MIGRATE],
            env=child_environment,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, done.stderr
    finally:
        call_command("migrate", verbosity=0)
    plans = [event.signal_kwargs["plan"] for event in Event.objects.filter(trigger=trigger)]
    trigger.delete()
    assert [("testapp.0001_initial", True)] in plans
    assert [("testapp.0001_initial", False)] in plans


@pytest.mark.django_db
def test_a_password_is_not_stored_however_an_instance_is_made(listen):
    user = User.objects.create_user("ann", password="right")
    trigger = listen("pre_init", action_object=User)
    User.objects.get(username="ann")
    User(username="bob", password="c2VjcmV0")
    read, made = Event.objects.filter(trigger=trigger).order_by("id")
    assert read.signal_kwargs["kwargs"]["username"] == "ann"
    for event in (read, made):
        assert user.password not in event.payload
        assert "c2VjcmV0" not in event.payload


@pytest.mark.django_db
def test_a_request_is_told_by_its_method_path_user_and_address(listen, rf, client):
    trigger = listen("user_logged_in")
    request = rf.post("/login/", {"password": "secret"}, headers={"cookie": "sessionid=stolen"})
    request.session, request.user = client.session, AnonymousUser()
    login(request, get_user_model().objects.create_user("ann"), backend="django.contrib.auth.backends.ModelBackend")
    event = Event.objects.get(trigger=trigger)
    assert event.signal_kwargs["request"] == {**ok("POST", "/login/"), "user": "ann"}
    assert "stolen" not in event.payload
    assert "secret" not in event.payload


class Form(forms.Form):
    name = forms.CharField(max_length=3)
    password = forms.CharField()
    upload = forms.FileField(required=False)


@pytest.mark.django_db
def test_what_projects_send_besides(listen, released):
    trigger = listen("released")
    checked = Form({"name": "too long", "password": "c2VjcmV0"})
    assert not checked.is_valid()
    response = HttpResponse("c2VjcmV0", status=404, headers={"Set-Cookie": "c2VjcmV0"})
    released.send(
        sender=None, form=checked, unbound=Form(), response=response, upload=SimpleUploadedFile("a.txt", b"c2VjcmV0"),
        place=Path("a") / "b", stream=io.StringIO("c2VjcmV0"), template=Template("c2VjcmV0"),
    )  # fmt: skip
    event = Event.objects.get(trigger=trigger)
    assert "c2VjcmV0" not in event.payload
    said = event.signal_kwargs
    assert said["form"] == {
        "name": "Form",
        "is_bound": True,
        "changed": ["name", "password"],
        "errors": {"name": ["Ensure this value has at most 3 characters (it has 8)."]},
    }
    assert said["unbound"] == {"name": "Form", "is_bound": False, "changed": [], "errors": {}}
    assert said["response"]["status_code"] == 404
    assert (said["response"]["reason"], said["upload"], said["stream"]) == ("Not Found", "a.txt", "")
    assert (Path(said["place"]), said["template"]) == (Path("a/b"), "<unknown>")


@pytest.mark.django_db
def test_storing_a_form_checks_nothing(listen, released, django_assert_num_queries):
    class Asking(Form):
        def clean(self):
            raise AssertionError("The form was checked.")

    listen("released")
    released.send(sender=None, form=Asking({"name": "x"}))
    assert Event.objects.get().signal_kwargs["form"]["errors"] == {}
