"""Secrets are known by their names, wherever a signal carries them, and a message that needs one fails."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
from django import forms
from django.contrib.auth.models import User
from django.contrib.sessions.base_session import AbstractBaseSession
from django.contrib.sessions.models import Session
from django.core.exceptions import ValidationError
from django.db import models
from django.dispatch import Signal
from django.test import RequestFactory
from django.test.utils import isolate_apps
from django.urls import path, resolve
from django.utils import timezone

from dsn_core import BaseMessageTemplate, SignalRegistration, emit, payload, register_signal
from dsn_core.contracts.activities import Activity
from dsn_core.exceptions import ConfigurationError, ContractError, NotStored
from dsn_core.models import Delivery, Trigger
from dsn_core.payload import Placeholder, requests, sensitive
from dsn_core.payload.placeholders import HIDDEN, kind_of, missing_in
from dsn_core.payload.private import refuse_sensitive
from dsn_core.plugins.catalogue import catalogue
from tests.testapp.models import Movie

SECRET = "s3cret-canary"

SECRETS = [
    "password",
    "passwords",
    "Password",
    "new_password1",
    "rawPassword",
    "passwordHash",
    "password_changed_by",
    "userpassword",
    "passwd",
    "pwd",
    "DB_PWD",
    "passphrase",
    "ssh-passphrase",
    "secret",
    "secrets",
    "client_secret",
    "clientSecret",
    "SECRET_KEY",
    "secretSauce",
    "credential",
    "credentials",
    "aws_credentials_file",
    "otp",
    "otp_code",
    "OTPCode",
    "totp",
    "totp_seed",
    "cvv",
    "card-cvv",
    "token",
    "tokens",
    "reset_token",
    "resetToken",
    "access-token",
    "X-Auth-Token",
    "accesstoken",
    "csrfmiddlewaretoken",
    "token2",
    "signature",
    "X-Hub-Signature",
    "authorization",
    "Authorization",
    "HTTP_AUTHORIZATION",
    "bearer",
    "cookie",
    "cookies",
    "Set-Cookie",
    "HTTP_COOKIE",
    "apikey",
    "x-apikey",
    "jwt",
    "id_jwt",
    "sessionid",
    "pin",
    "sim_pin",
    "userPIN",
    "api_key",
    "apiKey",
    "APIKey",
    "API_KEYS",
    "X-Api-Key",
    "secret_key",
    "private_key",
    "privateKey",
    "access_key",
    "AWS_ACCESS_KEY_ID",
    "signing_key",
    "encryption_key",
    "session_key",
    "sessionKey",
    "auth_key",
    "session_data",
    "recovery_codes",
    "recoveryCodes",
    "token_hash",
    "tokenHash",
    "token_digest",
]
ORDINARY = [
    "author",
    "monkey",
    "keyboard",
    "key",
    "keys",
    "auth",
    "pass",
    "api",
    "session",
    "session_id",
    "sessionId",
    "passenger",
    "passed",
    "compass",
    "bypass",
    "public_key",
    "foreign_key",
    "primaryKey",
    "key_count",
    "authority",
    "api_version",
    "apiUrl",
    "session_count",
    "sessions",
    "pinned",
    "shipping",
    "opinion",
    "pins",
    "spinning",
    "token_count",
    "tokenizer",
    "signature_date",
    "cookie_banner",
    "bearer_name",
    "secretary",
    "description",
    "username",
    "email",
    "pk",
    "id",
    "name",
    "object_id",
    "content_type",
    "hotpot",
    "cvvalue",
    "total",
]


@pytest.mark.parametrize("name", SECRETS)
def test_a_name_that_sounds_secret(name: str) -> None:
    assert sensitive.is_sensitive(name, sensitive.Names())
    assert not sensitive.is_sensitive(name, sensitive.Names(plain=frozenset({name.lower()})))


@pytest.mark.parametrize("name", ORDINARY)
def test_an_ordinary_name(name: str) -> None:
    assert not sensitive.is_sensitive(name, sensitive.Names())
    assert sensitive.is_sensitive(name, sensitive.Names(hidden=frozenset({name.lower()})))


def test_what_the_settings_call_sensitive_stays_so(settings: Any) -> None:
    settings.DSN = {"SENSITIVE_FIELDS": ["Token"], "PLAIN_FIELDS": ["token", "PIN"]}
    text = dump(token=SECRET, pin=SECRET)
    assert text.count(SECRET) == 1
    assert is_hidden(load(text)["token"])


def dump(verb: str = "v", **arguments: Any) -> str:
    return payload.dump(Activity(verb, signal_kwargs=arguments))


def load(text: str) -> Any:
    return payload.load("v", text).signal_kwargs


def is_hidden(value: Any) -> bool:
    return isinstance(value, Placeholder) and kind_of(value) == HIDDEN


class Account(NamedTuple):
    name: str
    api_key: str


CARRIERS: list[tuple[dict[str, Any], str]] = [
    ({"reset_token": SECRET}, "reset_token"),
    ({"reset_token": [SECRET]}, "reset_token"),
    ({"it": {"deep": [{"apiKey": SECRET}]}}, "it.apiKey"),
    ({"it": Account("x", SECRET)}, "it.api_key"),
    ({"it": [("Content-Type", "x"), ("Authorization", SECRET)]}, "it.Authorization"),
    ({"it": [[b"cookie", SECRET.encode()]]}, "it.cookie"),
    ({"it": {b"X-Api-Key": SECRET}}, "it.X-Api-Key"),
    ({"it": RequestFactory().get("/", headers={"authorization": SECRET}).headers}, "it.Authorization"),
    ({"it": RequestFactory().post("/", {"pin": SECRET}).POST}, "it.pin"),
    ({"it": User(pk=1, password=SECRET)}, "auth.user.password"),
]


@pytest.mark.parametrize(("arguments", "name"), CARRIERS, ids=[name for _, name in CARRIERS])
def test_wherever_it_is_it_is_not_stored_and_is_named(arguments: dict[str, Any], name: str) -> None:
    text = dump(**arguments)
    assert SECRET not in text
    assert "s3cret" not in text
    assert (name, "hidden") in [(item.name, item.kind) for item in missing_in(text)]
    # Intake says nothing of what is hidden on purpose.
    assert payload.lost_in(text) == []


def test_flags_and_none_are_no_secrets() -> None:
    given = {"password_changed": True, "token": None, "it": {"otp_enabled": False}}
    assert load(dump(**given)) == given
    user = load(dump(it=User(pk=1, password=None)))["it"]
    assert user.password is None


@isolate_apps("tests.testapp")
def test_a_key_that_is_a_secret_is_hidden_in_what_refers_to_it_and_in_querysets() -> None:
    class Invitation(models.Model):  # noqa: DJ008
        token = models.CharField(max_length=50, primary_key=True)

        class Meta:
            app_label = "testapp"

    class Visit(models.Model):  # noqa: DJ008
        invitation = models.ForeignKey(Invitation, models.CASCADE)
        session = models.ForeignKey(Session, models.CASCADE)
        movie = models.ForeignKey(Movie, models.CASCADE)

        class Meta:
            app_label = "testapp"

    assert sensitive.attnames(Visit, sensitive.Names()) == {"invitation_id", "session_id"}
    assert sensitive.hides_keys(Invitation, sensitive.Names())
    assert is_hidden(load(dump(it=Invitation.objects.all()))["it"])


def test_nothing_of_a_session_is_stored() -> None:
    class Own(AbstractBaseSession):
        class Meta:
            app_label = "testapp"
            abstract = True

    row = Session(session_key=SECRET, session_data=SECRET, expire_date=timezone.now())
    for given in (row, [row] * 3, {"x": row}, Session.objects.all(), Session.objects.values("session_key")):
        text = dump("post_delete", it=given)
        assert SECRET not in text
        assert "instance" not in text
        assert missing_in(text)
    assert sensitive.is_session(Own)


# Requests


def confirm(request: Any, **kwargs: Any) -> None: ...


urlpatterns = [
    path("reset/<uidb64>/<token>/", confirm),
    path("in/<path:signature>/done/", confirm),
    path("orders/<int:number>/", confirm),
]


@pytest.mark.urls(__name__)
@pytest.mark.parametrize(
    ("given", "stored"),
    [
        (f"/reset/MQ/{SECRET}/", "/reset/MQ/***/"),
        (f"/in/a/{SECRET}/done/", "/in/***/done/"),
        ("/orders/5/", "/orders/5/"),
        ("/no/such/page/", "/no/such/page/"),
        ("/mounted/MQ/c2x1ab-0123456789abcdef0123456789abcdef/", "/mounted/MQ/***/"),
    ],
)
def test_tokens_in_paths_of_requests_are_starred(given: str, stored: str) -> None:
    request = RequestFactory().get(given)
    environ = {"wsgi.version": (1, 0), "REQUEST_METHOD": "GET", "PATH_INFO": given, "REMOTE_ADDR": "::1"}
    scope = {"asgi": {}, "method": "GET", "path": given, "client": ["::1", 5], "headers": []}
    for it in (request, environ, scope):
        assert load(dump(it=it))["it"]["path"] == stored
    if "orders" in given:
        request.resolver_match = resolve(given)
        assert load(dump(it=request))["it"]["path"] == stored


@pytest.mark.urls(__name__)
def test_tokens_in_addresses_and_queries_are_starred() -> None:
    given = {
        "Referer": f"https://x.example/reset/MQ/{SECRET}/?page=2&Token={SECRET}&x",
        "QUERY_STRING": f"a=1&api%5Fkey={SECRET}&reset_token={SECRET}",
        "Host": "x.example",
    }
    assert load(dump(it=given))["it"] == {
        "Referer": "https://x.example/reset/MQ/***/?page=2&Token=***&x",
        "QUERY_STRING": "a=1&api%5Fkey=***&reset_token=***",
        "Host": "x.example",
    }
    assert requests.safe_address("/orders/5/") == "/orders/5/"
    # A link that the code gave to be sent is no header: it is what the message is for.
    link = f"https://x.example/reset/MQ/{SECRET}/"
    assert load(dump(link=link))["link"] == link


def test_of_errors_of_forms_nothing_typed_into_a_sensitive_field_is_stored() -> None:
    class Login(forms.Form):
        name = forms.CharField(max_length=3)
        pin = forms.ChoiceField(choices=[("1", "1")])

        def clean(self) -> dict[str, Any]:
            raise ValidationError(f"{self.data['pin']} is wrong")

    form = Login({"name": "Xavier", "pin": SECRET})
    assert not form.is_valid()
    assert SECRET in str(form.errors)
    text = dump(form=form)
    assert SECRET not in text
    found = load(text)["form"]
    assert is_hidden(found["errors"]["pin"])
    assert found["errors"]["__all__"] == ["*** is wrong"]
    assert "at most 3 characters" in found["errors"]["name"][0]


# Ways out


@pytest.fixture
def resets() -> Iterator[None]:
    register_signal("reset_wanted", Signal(), provides=["user", "token", "data"], plain=["token"])
    yield
    catalogue.remove("reset_wanted")


class Reset(BaseMessageTemplate):
    name = "reset"
    text = "Your code: {{ token }}{{ code.otp }}"


@pytest.mark.usefixtures("resets")
def test_a_signal_allows_its_own_arguments_by_name() -> None:
    text = dump("reset_wanted", token=SECRET, data={"token": "other"}, secret="third")
    assert [item.name for item in missing_in(text)] == ["data.token", "secret"]
    assert load(text)["token"] == SECRET
    with pytest.raises(ContractError, match=r"plain=\['token'\]"):
        SignalRegistration("x", Signal(), plain="token")


@pytest.mark.django_db
@pytest.mark.parametrize("engine", ["jinja2", "django"])
def test_a_message_that_needs_a_secret_fails_instead_of_going_without(
    engine: str, dsn: Any, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.DSN = {"RUNNER": "worker"}
    dsn.add(SignalRegistration("wanted", Signal()), type("Sent", (Reset,), {"engine": engine, "name": "reset"}))
    ann = User.objects.create(username="ann", email="ann@example.org")
    Trigger.objects.define("wanted").subscribe(users=[ann], backends=[("memory", "reset")])
    emit("wanted", token="abc", code={})
    dsn.run()
    assert dsn.sent == []
    delivery = Delivery.objects.get()
    assert delivery.status == "failed"
    assert "'token' was not stored with the event (it counts as a secret)" in delivery.last_error
    assert "DSN['PLAIN_FIELDS'], or that of an argument in register_signal(..., plain=[...])" in delivery.last_error
    settings.DSN = {"RUNNER": "worker", "PLAIN_FIELDS": ["Token", "otp"]}
    emit("wanted", token="abc", code={"otp": "123"})
    dsn.run()
    assert [message.text for message in dsn.sent] == ["Your code: abc123"]


def test_what_django_says_of_a_failed_login_is_kept_without_the_password() -> None:
    found = load(dump("user_login_failed", credentials={"username": "ann", "password": SECRET}))["credentials"]
    assert found["username"] == "ann"
    assert is_hidden(found["password"])


def test_an_address_that_sounds_secret_is_allowed_by_name(settings: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"'push_token' is sensitive.*DSN\['PLAIN_FIELDS'\]"):
        refuse_sensitive("profile.push_token")
    settings.DSN = {"PLAIN_FIELDS": ["push_token"]}
    refuse_sensitive("profile.push_token")
    settings.DSN = {"SENSITIVE_FIELDS": ["iban"]}
    with pytest.raises(ConfigurationError) as caught:
        refuse_sensitive("profile.iban")
    assert "PLAIN_FIELDS" not in str(caught.value)


@pytest.mark.django_db
def test_a_push_token_as_an_address(dsn: Any, settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(User, "push_token", property(lambda self: f"device-of-{self.username}"), raising=False)
    ann = User.objects.create(username="ann", email="ann@example.org")
    trigger = Trigger.objects.define("post_save", action_object=Movie)
    trigger.subscribe(users=[ann], backends=[("memory", "simple")])
    for plain in ([], ["push_token"]):
        settings.DSN = {"RUNNER": "worker", "ADDRESSES": {"memory": "push_token"}, "PLAIN_FIELDS": plain}
        Movie.objects.create(name="Brazil")
        dsn.run()
    failed, sent = Delivery.objects.order_by("id")
    assert "name it in DSN['PLAIN_FIELDS']" in failed.last_error
    assert (sent.status, sent.address) == ("sent", "device-of-ann")


def test_an_object_that_fails_says_which_secret(settings: Any) -> None:
    with pytest.raises(NotStored, match=r"'auth\.User\.password' was not stored"):
        _ = load(dump(it=User(pk=1, username="ann", password=SECRET)))["it"].password + ""
