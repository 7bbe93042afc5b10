"""Row and event are both there, or neither: after rollbacks, after a 500, and when the process is killed."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time

import pytest
from django.db import connections, transaction
from django.http import HttpResponse
from django.urls import path

from dsn_core.models import Delivery, Event, Trigger
from tests.testapp.models import Movie
from tests.undoing import Undo

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(300)]


@pytest.fixture
def subscribed(dsn, django_user_model, settings):
    settings.DSN = {"RUNNER": "immediate"}
    ann = django_user_model.objects.create_user("ann", "ann@example.org")
    for verb in ("pre_save", "post_save"):
        Trigger.objects.define(verb, action_object=Movie).subscribe(users=[ann], backends=[("memory", "simple")])


def named(name):
    Movie.objects.create(name=name)


def events():
    return sorted(event.action_object.name for event in Event.objects.filter(verb="post_save"))


class TestRollback:
    """With the runner ``immediate``, which would send at once."""

    def test_of_the_transaction(self, subscribed, dsn):
        with contextlib.suppress(Undo), transaction.atomic():
            named("gone")
            assert events() == ["gone"]
            raise Undo
        assert (events(), dsn.sent, Delivery.objects.count()) == ([], [], 0)
        assert dsn.run().events == 0

    def test_of_a_savepoint(self, subscribed, dsn):
        with transaction.atomic():
            named("kept")
            with contextlib.suppress(Undo), transaction.atomic():
                named("gone")
                raise Undo
            named("kept too")
        assert events() == ["kept", "kept too"]
        assert len(dsn.sent) == 4

    def test_of_a_savepoint_that_is_released_into_one_that_is_not(self, subscribed, dsn):
        with contextlib.suppress(Undo), transaction.atomic():
            with transaction.atomic():
                named("gone")
            raise Undo
        assert (events(), dsn.sent) == ([], [])


def fail(request):
    named("gone")
    with transaction.atomic():
        named("gone too")
    raise ZeroDivisionError("on purpose")


def refuse(request):
    """A 500 that the view itself answers with is no error: Django commits."""
    named("kept")
    return HttpResponse(status=500)


def succeed(request):
    named("kept")
    return HttpResponse()


urlpatterns = [path("fail/", fail), path("refuse/", refuse), path("succeed/", succeed)]


@pytest.mark.urls(__name__)
class TestARequestUnderAtomicRequests:
    @pytest.fixture(autouse=True)
    def atomic_requests(self, monkeypatch, client):
        monkeypatch.setitem(connections.settings["default"], "ATOMIC_REQUESTS", True)
        client.raise_request_exception = False

    def test_that_fails_leaves_neither(self, subscribed, dsn, client):
        assert client.get("/fail/").status_code == 500
        assert (Movie.objects.count(), events(), dsn.sent) == (0, [], [])
        assert dsn.run().events == 0

    @pytest.mark.parametrize(("url", "status"), [("/succeed/", 200), ("/refuse/", 500)])
    def test_that_answers_leaves_both(self, subscribed, dsn, client, url, status):
        assert client.get(url).status_code == status
        assert (Movie.objects.count(), events()) == (1, ["kept"])
        assert sorted(message.subject for message in dsn.sent) == ["post_save: kept", "pre_save: kept"]


KILLS = 30

#: Forks workers that do nothing but save movies, each in a transaction, and kills them at random moments.
PROGRAM = """
import itertools
import os
import random
import signal
import sys
import time

import django

django.setup()

from django.db import transaction

from tests.testapp.models import Movie


def work(number, begins):
    for turn in itertools.count():
        with transaction.atomic():
            Movie.objects.create(name=f"{number}.{turn} before")
            with transaction.atomic():
                Movie.objects.create(name=f"{number}.{turn} within")
            Movie.objects.create(name=f"{number}.{turn} after")
        if not turn:
            os.write(begins, b".")


for number in range(int(sys.argv[1])):
    begun, begins = os.pipe()
    child = os.fork()
    if not child:
        work(number, begins)
    os.read(begun, 1)
    time.sleep(random.uniform(0, 0.1))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks processes")
@pytest.mark.slow
def test_a_process_that_is_killed_leaves_both_or_neither(subscribed, child_environment, tmp_path):
    (tmp_path / "saving_settings.py").write_text("from tests.settings import *\nDSN = {'RUNNER': 'worker'}\n")
    environment = child_environment | {
        "DJANGO_SETTINGS_MODULE": "saving_settings",
        "PYTHONPATH": os.pathsep.join([str(tmp_path), child_environment["PYTHONPATH"]]),
    }
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(KILLS)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert (done.returncode, done.stderr) == (0, "")

    def names():
        with transaction.atomic():
            return sorted(Movie.objects.values_list("name", flat=True)), events()

    movies, recorded = names()
    end = time.monotonic() + 30
    while movies != recorded and time.monotonic() < end:
        # A COMMIT may still be under way in the server.
        time.sleep(0.1)
        movies, recorded = names()
    assert movies == recorded
    assert len({name.partition(".")[0] for name in movies}) == KILLS
    # Whole transactions only.
    assert len(movies) % 3 == 0
