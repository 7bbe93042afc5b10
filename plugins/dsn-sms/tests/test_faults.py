"""A provider that is down, slow, broken or forged."""

from __future__ import annotations

import datetime
import logging
import time
from pathlib import Path
from typing import Any

import pytest

from dsn_core import Receipt
from dsn_core.contracts.receipts import Outcome
from dsn_core.kit import http
from dsn_sms import BaseProvider, SMSMessenger, SMSOptions

HTTP = ["twilio", "vonage", "http"]
ALL = [*HTTP, "sns"]
TOKEN = "canary-auth-token-0123456789"
#: Seconds that a busy machine may take for what is over soon, and less than a server hangs here.
LONG = 40


def places(name: str, url: str) -> dict[str, Any]:
    """The option that says where the provider is."""
    return {"URL": url} if name == "http" else {"API_BASE": url}


@pytest.mark.parametrize("name", ALL)
def test_one_that_is_down_is_tried_again_and_the_rest_waits_untried(
    name: str, closed_port: int, send: Any, text_to: Any
) -> None:
    where = places(name, f"http://127.0.0.1:{closed_port}")
    receipts = send(*[text_to(f"+49151123{number:05}") for number in range(20)], by=name, CONNECTIONS=2, **where)
    outcomes = [receipt.outcome for receipt in receipts]
    assert set(outcomes) == {Outcome.RETRY, Outcome.LATER}
    assert 3 <= outcomes.count(Outcome.RETRY) <= 4
    assert all(receipt.reason for receipt in receipts)


@pytest.mark.parametrize("name", ALL)
def test_a_time_out_is_unknown_and_keeps_its_time(name: str, provider: Any, send: Any, text_to: Any) -> None:
    provider.script(mode="hang")
    began = time.monotonic()
    receipts = send(*[text_to(f"+4915112345{number:03}") for number in range(5)], by=name, TIMEOUT=0.5)
    assert time.monotonic() - began < LONG
    assert {receipt.outcome for receipt in receipts} == {Outcome.UNKNOWN}
    assert len(provider.requests) == 5


@pytest.mark.parametrize("name", HTTP)
def test_an_answer_that_comes_by_drops_is_given_up(name: str, provider: Any, send: Any, text_to: Any) -> None:
    provider.script(mode="drip")
    began = time.monotonic()
    (receipt,) = send(text_to(), by=name, TIMEOUT=0.5)
    assert time.monotonic() - began < LONG
    assert receipt.outcome is Outcome.UNKNOWN


@pytest.mark.parametrize("mode", ["close", "cut"])
@pytest.mark.parametrize("name", ALL)
def test_a_connection_that_is_cut_is_unknown_and_used_up(
    name: str, mode: str, provider: Any, send: Any, text_to: Any
) -> None:
    provider.script(mode=mode)
    (receipt,) = send(text_to(), by=name)
    assert receipt.outcome is Outcome.UNKNOWN
    assert len(provider.requests) == 1
    provider.script()
    (receipt,) = send(text_to(), by=name)
    assert receipt.outcome is Outcome.SENT


@pytest.mark.parametrize("mode", ["garbage", "empty"])
@pytest.mark.parametrize("name", ALL)
def test_a_yes_that_makes_no_sense_is_unknown(name: str, mode: str, provider: Any, send: Any, text_to: Any) -> None:
    provider.script(mode=mode)
    (receipt,) = send(text_to(), by=name)
    assert receipt.outcome is Outcome.UNKNOWN
    assert receipt.reason


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        (500, Outcome.UNKNOWN),
        (502, Outcome.UNKNOWN),
        (503, Outcome.UNKNOWN),
        (408, Outcome.RETRY),
        (429, Outcome.PAUSE),
        (401, Outcome.PAUSE),
        (402, Outcome.PAUSE),
        (302, Outcome.PAUSE),
        (400, Outcome.FAILED),
        (418, Outcome.FAILED),
    ],
)
@pytest.mark.parametrize("name", HTTP)
def test_each_status_without_words_has_its_receipt(
    name: str, status: int, outcome: Outcome, provider: Any, send: Any, text_to: Any
) -> None:
    provider.script(mode="status", status=status, body="<html>")
    (receipt,) = send(text_to(), by=name)
    assert receipt.outcome is outcome
    assert str(status) in receipt.reason
    # No redirect was followed.
    assert len(provider.requests) == 1


def test_what_is_unknown_is_sent_again_only_by_option(provider: Any, send: Any, text_to: Any) -> None:
    provider.script(mode="status", status=500, body="{}")
    (unknown,) = send(text_to())
    (again,) = send(text_to(), RETRY_UNKNOWN=True)
    assert (unknown.outcome, again.outcome) == (Outcome.UNKNOWN, Outcome.RETRY)


@pytest.mark.parametrize(
    ("header", "seconds"), [("7", 7.0), ("0", 1.0), ("999999999", 86_400.0), ("soon", 5.0), ("nan", 5.0)]
)
def test_a_429_pauses_for_as_long_as_it_says(
    header: str, seconds: float, provider: Any, send: Any, text_to: Any
) -> None:
    provider.script(mode="status", status=429, retry_after=header, body="{}")
    (receipt,) = send(text_to())
    assert (receipt.outcome, receipt.after) == (Outcome.PAUSE, seconds)


def test_a_429_may_name_a_moment(provider: Any, send: Any, text_to: Any) -> None:
    moment = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=60)
    provider.script(mode="status", status=429, retry_after=f"{moment:%a, %d %b %Y %H:%M:%S} GMT", body="{}")
    (receipt,) = send(text_to())
    assert 50 < (receipt.after or 0) <= 60


# TLS


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1 that signed itself, and its key."""
    import ipaddress

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    certificate, private = tmp_path / "certificate.pem", tmp_path / "key.pem"
    certificate.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return certificate, private


@pytest.mark.parametrize("name", ALL)
def test_a_certificate_that_nobody_vouches_for_pauses_the_messenger(
    name: str, certificate: tuple[Path, Path], start_provider: Any, send: Any, text_to: Any
) -> None:
    server = start_provider("--certificate", str(certificate[0]), "--key", str(certificate[1]), scheme="https")
    (receipt,) = send(text_to(), by=name, **places(name, server.url))
    assert receipt.outcome is Outcome.PAUSE
    assert "certificate" in receipt.reason.lower()
    assert receipt.after == 300


def test_a_certificate_that_the_environment_trusts_is_believed(
    certificate: tuple[Path, Path], start_provider: Any, send: Any, text_to: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = start_provider("--certificate", str(certificate[0]), "--key", str(certificate[1]), scheme="https")
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))
    http.close_connections()
    try:
        (receipt,) = send(text_to(), API_BASE=server.url)
    finally:
        http.close_connections()
    assert receipt.outcome is Outcome.SENT


@pytest.mark.parametrize("name", HTTP)
def test_a_server_that_speaks_no_tls_is_no_connection(name: str, provider: Any, send: Any, text_to: Any) -> None:
    (receipt,) = send(text_to(), by=name, TIMEOUT=1, **places(name, provider.url.replace("http:", "https:")))
    assert receipt.outcome in (Outcome.RETRY, Outcome.PAUSE)
    assert provider.requests == []


# Providers that raise


def test_sns_without_boto3_pauses_and_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, send: Any, text_to: Any
) -> None:
    import sys

    from dsn_sms.providers import sns

    for name in [name for name in sys.modules if name.partition(".")[0] in ("boto3", "botocore")]:
        monkeypatch.setitem(sys.modules, name, None)
    sns._made.cache_clear()
    (receipt,) = send(text_to(), by="sns")
    assert receipt.outcome is Outcome.PAUSE
    assert "dsn-sms[sns]" in receipt.reason


class Broken(BaseProvider):
    name = "broken"

    def send(self, sms: Any) -> Receipt:
        raise RuntimeError("nobody knows")


def test_a_provider_that_raises_may_have_sent(monkeypatch: pytest.MonkeyPatch, text_to: Any, caplog: Any) -> None:
    from dsn_sms import messenger

    monkeypatch.setattr(messenger, "find", lambda name: Broken)
    (receipt,) = SMSMessenger("sms", SMSOptions(PROVIDER="broken")).send_messages([text_to()])
    assert receipt.outcome is Outcome.UNKNOWN
    assert "RuntimeError: nobody knows" in receipt.reason
    (record,) = caplog.records
    assert record.exc_info, "the log has the traceback"


# Proxies


def test_the_environment_s_proxy_is_used_but_never_to_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example:3128")
    monkeypatch.setenv("HTTP_PROXY", "http://proxy.example:3128")
    monkeypatch.setenv("NO_PROXY", "inside.example")
    assert http.proxy_for("https://api.twilio.com/") == "http://proxy.example:3128"
    assert http.proxy_for("https://sms.inside.example/") == ""
    for host in ("127.0.0.1", "localhost", "[::1]"):
        assert http.proxy_for(f"http://{host}:8000/") == ""


# Secrets


@pytest.mark.parametrize("mode", ["ok", "garbage", "close", "status"])
@pytest.mark.parametrize("name", ALL)
def test_no_secret_is_in_logs_receipts_or_reprs(
    name: str, mode: str, provider: Any, messenger: Any, text_to: Any, caplog: Any
) -> None:
    caplog.set_level(logging.DEBUG)
    for logger in ("httpx", "httpcore", "botocore", "urllib3", "boto3"):
        caplog.set_level(logging.DEBUG, logger)
    body = f"no such key: {TOKEN}"
    provider.script(mode=mode, status=400, body=body)
    made = messenger(name)
    receipts = list(made.send_messages([text_to()]))
    shown = [caplog.text, repr(made.options), str(made.options), *(made.options.mask(r.reason) for r in receipts)]
    assert caplog.records, "the libraries' logs were on"
    assert not any(TOKEN in text for text in shown)
