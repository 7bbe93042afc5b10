"""What is no news: fixtures, migrations, the models of migrations, and our own rows."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from django.conf import settings as django_settings
from django.core import serializers
from django.core.management import call_command
from django.db import connection, connections

from dsn_core.models import Event
from tests.testapp.models import Movie


def fixture_file(folder, *objects):
    path = folder / "fixture.json"
    path.write_text(serializers.serialize("json", objects))
    return str(path)


@pytest.fixture
def people(db, django_user_model):
    return [django_user_model.objects.create(username=name) for name in ("ann", "bob")]


def test_fixtures_with_relations_are_no_news(listen, people, tmp_path, caplog):
    movie = Movie.objects.create(name="M")
    movie.audiences.set(people)
    fixture = fixture_file(tmp_path, movie, *people)
    movie.delete()
    for verb in ("pre_save", "post_save", "m2m_changed", "post_init"):
        listen(verb, action_object=Movie)
        listen(verb, action_object=people[0].__class__)
    call_command("loaddata", fixture, verbosity=0)
    # An instance is made, which is what post_init says.
    assert not Event.objects.exclude(verb="post_init").exists()
    assert Movie.objects.get().audiences.count() == 2
    assert caplog.text == ""


def test_what_is_done_with_an_object_after_it_was_loaded_is_news(listen, people, count):
    trigger = listen("m2m_changed", action_object=Movie)
    movie = Movie.objects.create(name="M")
    movie.audiences.add(people[0])
    assert count(trigger) == 1
    (loaded,) = serializers.deserialize("json", serializers.serialize("json", [movie]))
    loaded.save()
    assert count(trigger) == 1
    loaded.object.audiences.add(people[1])
    assert count(trigger) == 2


@pytest.fixture
def empty_database(transactional_db, tmp_path):
    """The name of a database without any table."""
    if connection.vendor == "sqlite":
        yield str(tmp_path / "empty.sqlite3")
        return
    name = f"{connection.settings_dict['NAME']}_empty"
    quoted = connection.ops.quote_name(name)
    with connection.cursor() as cursor:
        cursor.execute(f"CREATE DATABASE {quoted}")
    yield name
    with connection.cursor() as cursor:
        cursor.execute(f"DROP DATABASE {quoted}")


DATA_MIGRATION = """
from django.conf import settings
from django.db import migrations


def fill(apps, schema_editor):
    user = apps.get_model(settings.AUTH_USER_MODEL).objects.get_or_create(username="ann")[0]
    movie = apps.get_model("testapp", "Movie").objects.create(name="made by a migration")
    movie.audiences.add(user)
    movie.name = "changed by a migration"
    movie.save()
    apps.get_model("testapp", "Country").objects.create(code="de").delete()


class Migration(migrations.Migration):
    dependencies = [("testapp", "{last}")]
    operations = [migrations.RunPython(fill, migrations.RunPython.noop)]
"""

PROGRAM = """
import json

import django

django.setup()

from django.core.management import call_command
from django.db.models.signals import post_save

from dsn_core.models import Event, Trigger
from tests.testapp.models import Country, Movie

# From nothing, in a process that listens to whatever it can.
call_command("migrate", verbosity=0)
for verb in ("pre_save", "post_save", "pre_delete", "post_delete", "m2m_changed"):
    for model in (Movie, Country, django.contrib.auth.get_user_model()):
        Trigger.objects.define(verb, action_object=model).subscribe()
for verb in ("pre_migrate", "post_migrate", "class_prepared"):
    Trigger.objects.define(verb).subscribe()
said = {"listens": post_save.has_listeners(Movie)}

# The project's tables from zero, by historical models that are filled.
call_command("migrate", "testapp", "zero", verbosity=0)
Event.objects.all().delete()
call_command("migrate", "testapp", verbosity=0)
said["movies"] = list(Movie.objects.values_list("name", "audiences__username"))
said["verbs"] = sorted(set(Event.objects.values_list("verb", flat=True)))

# Ours, away and back.
call_command("migrate", "dsn_core", "zero", verbosity=0)
Movie.objects.create(name="made while our tables are away")
call_command("migrate", verbosity=0)
said["events"] = Event.objects.count()
Movie.objects.create(name="made when they are back")
said["after"] = Event.objects.count()
print(json.dumps(said))
"""


@pytest.mark.timeout(300)
def test_migrating_from_zero_makes_no_event_of_any_row_and_no_error(empty_database, tmp_path):
    migrations = tmp_path / "moved"
    shutil.copytree(Path(django_settings.BASE_DIR, "tests/testapp/migrations"), migrations)
    last = max(path.stem for path in migrations.glob("0*.py"))
    (migrations / "9999_rows.py").write_text(DATA_MIGRATION.replace("{last}", last))
    (tmp_path / "moved_settings.py").write_text(
        "from tests.settings import *\n"
        "DSN = {'RUNNER': 'worker', 'REFRESH_SECONDS': 0.001, 'DISABLED_PLUGINS': ['telegram']}\n"
        "INSTALLED_APPS = ['django.contrib.auth', 'django.contrib.contenttypes', 'dsn_core', 'tests.testapp']\n"
        "MIGRATION_MODULES = {'testapp': 'moved'}\n"
    )
    path = [str(tmp_path), str(django_settings.BASE_DIR), os.environ.get("PYTHONPATH", "")]
    environment = os.environ | {
        "DJANGO_SETTINGS_MODULE": "moved_settings",
        "DSN_TEST_DATABASE_NAME": empty_database,
        "PYTHONPATH": os.pathsep.join(filter(None, path)),
    }
    connections.close_all()
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.stderr == ""
    said = json.loads(done.stdout)
    assert said == {
        "listens": True,
        "movies": [["changed by a migration", "ann"]],
        "verbs": ["post_migrate", "pre_migrate"],
        "events": 0,
        "after": 0,
    }
