"""What no path of an operator reads, when it is saved and when it is followed."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.db import connection, models
from django.test.utils import isolate_apps
from django.utils.functional import SimpleLazyObject

from dsn_core import refresh
from dsn_core.builtin.resolvers import PathResolver
from dsn_core.exceptions import ConfigurationError
from dsn_core.fanout import receivers
from dsn_core.models import Delivery, Event, Trigger
from dsn_core.payload.private import follow, refuse_sensitive
from tests.shapes.models import Article
from tests.testapp.models import Movie

HASH = "pbkdf2_sha256$canary"


def ann(**values: Any) -> User:
    return User(pk=1, username="ann", password=HASH, **values)


REFUSED = [
    "instance.owner.password",
    "instance.password",
    "password",
    "instance.owner.Password",
    "instance.owner.new_password1",
    "instance.password.anything",
    "instance.data.password",
]


@pytest.mark.parametrize("path", REFUSED)
def test_a_path_with_a_sensitive_name_is_refused_when_it_is_saved(path: str) -> None:
    with pytest.raises(ConfigurationError, match=r"is refused: '.*' is sensitive"):
        refuse_sensitive(path)
    about = SimpleNamespace(verb="x", provides=None, removes=False, action_object_class=None)
    with pytest.raises(ValueError, match="is sensitive"):
        PathResolver().check_argument(path, about)


@pytest.mark.parametrize("start", [ann(), SimpleLazyObject(ann), {"password": HASH}, SimpleNamespace(password=HASH)])
def test_a_path_with_a_sensitive_name_is_not_followed_either(start: Any) -> None:
    with pytest.raises(ConfigurationError) as caught:
        follow({"user": start}, "user.password")
    assert "canary" not in str(caught.value)


def test_names_of_the_settings_and_of_models_count(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.DSN = {"SENSITIVE_FIELDS": ["iban"]}
    monkeypatch.setattr(Movie, "dsn_sensitive_fields", ["name"], raising=False)
    with pytest.raises(ConfigurationError):
        refuse_sensitive("instance.iban")
    with pytest.raises(ConfigurationError):
        refuse_sensitive("instance.name", Movie, at=1)
    with pytest.raises(ConfigurationError):
        refuse_sensitive("instance.movie.name", models.ForeignKey(Movie, models.CASCADE).remote_field.model, at=2)
    refuse_sensitive("instance.name")
    with pytest.raises(ConfigurationError):
        follow({"movie": Movie(name=HASH)}, "movie.name")


@isolate_apps("tests.testapp")
def test_the_columns_of_a_hidden_relation_are_hidden_too() -> None:
    class Case(models.Model):
        dsn_sensitive_fields = ("patient", "diagnosis")
        patient = models.ForeignKey("Case", on_delete=models.CASCADE)

        class Meta:
            app_label = "testapp"

        def __str__(self) -> str:
            return "a case"

        @property
        def diagnosis(self) -> str:
            return HASH

    for name in ("patient", "patient_id", "diagnosis"):
        with pytest.raises(ConfigurationError):
            refuse_sensitive(f"instance.{name}", Case, at=1)
        with pytest.raises(ConfigurationError):
            follow({"case": Case(patient_id=7)}, f"case.{name}")


@pytest.mark.parametrize("step", ["storage", "path", "file", "storage.location", "open"])
def test_of_a_file_only_its_name_its_url_and_its_size_are_read(step: str) -> None:
    article = Article(attachment="report.pdf")
    assert follow({"instance": article}, "instance.attachment.name") == "report.pdf"
    refuse_sensitive("instance.attachment.name", Article, at=1)
    with pytest.raises(ConfigurationError, match="is sensitive"):
        refuse_sensitive(f"instance.attachment.{step}", Article, at=1)
    with pytest.raises(ConfigurationError, match="is sensitive"):
        follow({"instance": article}, f"instance.attachment.{step}")


def test_of_a_storage_or_a_connection_nothing_of_the_server_is_read() -> None:
    storage = Article._meta.get_field("attachment").storage
    for path in (
        "storage.location",
        "storage.base_location",
        "connection.settings_dict",
        "connection.settings_dict.NAME",
    ):
        with pytest.raises(ConfigurationError, match="is sensitive"):
            follow({"storage": storage, "connection": connection}, path)
    assert follow({"connection": connection}, "connection.vendor") == connection.vendor


@pytest.mark.parametrize("path", ["instance.author.name", "instance.token_count", "instance.monkey", "target"])
def test_other_paths_are_fine(path: str) -> None:
    refuse_sensitive(path, Article, at=1)


@pytest.mark.django_db
@pytest.mark.parametrize("operator", ["starts with", "equals", "matches", "contains", "changed", "is null"])
@pytest.mark.parametrize("path", ["instance.password", "action_object.password"])
def test_a_condition_on_a_sensitive_field_is_refused_when_it_is_saved(path: str, operator: str) -> None:
    row = (path, operator) if operator in ("changed", "is null") else (path, operator, "pbkdf2")
    with pytest.raises(ValidationError, match="'password' is sensitive"):
        Trigger.objects.define("post_save", action_object=User, conditions=[row])


@pytest.mark.django_db
@pytest.mark.parametrize("path", ["instance.attachment.storage.location", "instance.attachment.path"])
def test_a_condition_on_a_path_of_the_server_is_refused_when_it_is_saved(path: str) -> None:
    with pytest.raises(ValidationError, match="is sensitive"):
        Trigger.objects.define("post_save", action_object=Article, conditions=[(path, "starts with", "/srv")])


@pytest.mark.django_db
def test_a_condition_that_was_stored_before_reads_nothing() -> None:
    trigger = Trigger.objects.define("post_save", action_object=User)
    row = {"path": "instance.password", "operator": "starts with", "value": "p"}
    Trigger.objects.filter(pk=trigger.pk).update(conditions=[row])
    refresh()
    User.objects.create(username="ann", password=HASH)
    assert not Event.objects.exists()


@pytest.mark.parametrize(
    "found", [HASH, [HASH], {HASH: 1}, Movie(name=HASH), [Movie(name=HASH)], User(username=HASH), [HASH.encode()]]
)
def test_what_a_resolver_found_instead_of_users_is_not_shown(found: Any) -> None:
    with pytest.raises(ConfigurationError) as caught:
        list(receivers.chunks_of(found, "path"))
    assert "canary" not in str(caught.value)


@pytest.mark.django_db
@pytest.mark.parametrize("setting", ["LANGUAGE_PATH", "ADDRESSES"])
def test_paths_of_the_settings_read_nothing_sensitive(setting: str, settings: Any, dsn: Any) -> None:
    given: Any = "password" if setting == "LANGUAGE_PATH" else {"memory": "password"}
    settings.DSN = {"RUNNER": "worker", setting: given}
    user = User.objects.create(username="ann", password=HASH, email="ann@example.org")
    trigger = Trigger.objects.define("post_save", action_object=Movie)
    trigger.subscribe(users=[user], backends=[("memory", "simple")])
    Movie.objects.create(name="Solaris")
    dsn.run()
    delivery = Delivery.objects.get()
    assert (delivery.status, delivery.attempts) == ("retry", 0)
    assert "'password' is sensitive" in delivery.last_error
    assert "canary" not in f"{delivery.last_error}{delivery.address}"
