"""Mail backends that are not Django's SMTP one: the same code, as good a receipt as they allow."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
from django.core.mail.backends.base import BaseEmailBackend

from dsn_core.contracts.receipts import Outcome


class RaisingBackend(BaseEmailBackend):
    """Raises, or returns, what a test wants."""

    result: ClassVar[Any] = None

    def send_messages(self, email_messages: Any) -> Any:
        if isinstance(self.result, Exception):
            raise self.result
        return self.result


@pytest.fixture
def backend_says(use_backend: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    def say(result: Any) -> None:
        monkeypatch.setattr(RaisingBackend, "result", result)
        use_backend(f"{__name__}.RaisingBackend")

    return say


def test_in_memory(in_memory: Any, send: Any, message_to: Any) -> None:
    (receipt,) = send(message_to("ann", html="<p>Out</p>", id="7"))
    assert (receipt.outcome, receipt.provider_id) == (Outcome.SENT, "7@example.org")
    (mail,) = in_memory
    assert (mail.subject, mail.to, mail.from_email) == ("Solaris is out", ["ann@example.org"], "cinema@example.org")
    assert mail.alternatives == [("<p>Out</p>", "text/html")]


def test_the_console(use_backend: Any, send: Any, message_to: Any, capsys: pytest.CaptureFixture[str]) -> None:
    use_backend("django.core.mail.backends.console.EmailBackend")
    assert send(message_to("ann"))[0].outcome is Outcome.SENT
    assert "To: ann@example.org" in capsys.readouterr().out


def test_files(use_backend: Any, send: Any, message_to: Any, tmp_path: Path) -> None:
    use_backend("django.core.mail.backends.filebased.EmailBackend", file_path=str(tmp_path))
    assert [receipt.outcome for receipt in send(message_to("ann"), message_to("bob"))] == [Outcome.SENT] * 2
    written = "".join(path.read_text() for path in tmp_path.iterdir())
    assert "To: ann@example.org" in written
    assert "To: bob@example.org" in written


@pytest.mark.parametrize(
    ("result", "outcome"),
    [
        (1, Outcome.SENT),
        (None, Outcome.SENT),
        (0, Outcome.RETRY),
        (ValueError("this text cannot be sent"), Outcome.FAILED),
        (PermissionError("no disk"), Outcome.RETRY),
        (RuntimeError("boom"), Outcome.RETRY),
        (ConnectionRefusedError("no server"), Outcome.RETRY),
        (socket.gaierror("no such host"), Outcome.RETRY),
        (TimeoutError("no answer"), Outcome.UNKNOWN),
        (ConnectionResetError("gone"), Outcome.UNKNOWN),
    ],
    ids=repr,
)
def test_what_a_backend_returns_or_raises_has_its_receipt(
    result: Any, outcome: Outcome, backend_says: Any, send: Any, message_to: Any
) -> None:
    backend_says(result)
    assert send(message_to("ann"))[0].outcome is outcome


class Leaking(BaseEmailBackend):
    """Raises an error that says its password."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.password = "canary-password"

    def send_messages(self, email_messages: Any) -> Any:
        raise LookupError(f"no account for {self.password}")


def test_an_unknown_error_is_logged_with_its_traceback_and_without_the_password(
    use_backend: Any, send: Any, message_to: Any, caplog: pytest.LogCaptureFixture
) -> None:
    use_backend(f"{__name__}.Leaking")
    (receipt,) = send(message_to("ann"))
    assert receipt.outcome is Outcome.RETRY
    (record,) = [item for item in caplog.records if item.name == "dsn_email"]
    assert record.levelname == "ERROR"
    assert "in send_messages" in caplog.text
    assert "LookupError: no account for ********" in caplog.text
    assert "canary" not in caplog.text + receipt.reason


@pytest.mark.parametrize("result", [ValueError("no text"), ConnectionRefusedError("no server"), TimeoutError("slow")])
def test_a_known_error_needs_no_traceback(
    result: Exception, backend_says: Any, send: Any, message_to: Any, caplog: pytest.LogCaptureFixture
) -> None:
    backend_says(result)
    send(message_to("ann"))
    assert not [item for item in caplog.records if item.name == "dsn_email"]


# django-anymail, against a server that answers as Postmark does


class Postmark(ThreadingHTTPServer):
    status = 200
    headers: ClassVar[dict[str, str]] = {}
    answer: ClassVar[Any] = {}
    asked: ClassVar[list[Any]] = []


class PostmarkHandler(BaseHTTPRequestHandler):
    server: Postmark

    def do_POST(self) -> None:
        self.server.asked.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        if self.server.status == 0:
            return  # hang up without an answer
        body = json.dumps(self.server.answer).encode()
        self.send_response(self.server.status)
        for name, value in {**self.server.headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: the tests look at ``asked``."""


@pytest.fixture
def postmark(use_backend: Any, settings: Any) -> Iterator[Postmark]:
    pytest.importorskip("anymail", reason="django-anymail is not installed")
    with Postmark(("127.0.0.1", 0), PostmarkHandler) as server:
        server.asked, server.headers = [], {}
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        settings.ANYMAIL = {
            "POSTMARK_SERVER_TOKEN": "canary-token-91",
            "POSTMARK_API_URL": f"http://127.0.0.1:{server.server_address[1]}/",
        }
        use_backend("anymail.backends.postmark.EmailBackend")
        yield server
        server.shutdown()
        thread.join()


def test_an_esp_s_own_id_is_kept(postmark: Postmark, send: Any, message_to: Any) -> None:
    postmark.answer = [{"ErrorCode": 0, "Message": "OK", "MessageID": "esp-77", "To": "ann@example.org"}]
    (receipt,) = send(message_to("ann", html="<p>Out</p>", id="7"))
    assert (receipt.outcome, receipt.provider_id) == (Outcome.SENT, "esp-77")
    (asked,) = postmark.asked
    assert (asked["To"], asked["Subject"], asked["HtmlBody"]) == ("ann@example.org", "Solaris is out", "<p>Out</p>")
    assert {"Name": "Message-ID", "Value": "<7@example.org>"} in asked["Headers"]


INACTIVE = "Found inactive addresses: ann@example.org.\nInactive recipients are ones that have generated a hard bounce."


@pytest.mark.parametrize(
    ("status", "answer", "headers", "outcome"),
    [
        (422, {"ErrorCode": 406, "Message": INACTIVE}, {}, Outcome.INVALID_ADDRESS),
        (422, {"ErrorCode": 300, "Message": "Invalid email request"}, {}, Outcome.FAILED),
        (401, {"ErrorCode": 10, "Message": "canary-token-91 is no token"}, {}, Outcome.PAUSE),
        (429, {"ErrorCode": 429, "Message": "Slow down"}, {"Retry-After": "7"}, Outcome.PAUSE),
        (
            429,
            {"ErrorCode": 429, "Message": "Slow down"},
            {"Retry-After": "Fri, 31 Dec 9999 23:59:59 GMT"},
            Outcome.PAUSE,
        ),
        (429, {"ErrorCode": 429, "Message": "Daily sending limit exceeded"}, {}, Outcome.PAUSE),
        (402, {"Message": "Not enough credits"}, {}, Outcome.PAUSE),
        (403, {"Message": "Please add the address to authorized recipients"}, {}, Outcome.FAILED),
        (403, {"Message": "Forbidden"}, {}, Outcome.PAUSE),
        (503, {"ErrorCode": 100, "Message": "Maintenance"}, {}, Outcome.RETRY),
        (500, {"ErrorCode": 1, "Message": "Oops"}, {}, Outcome.UNKNOWN),
        (200, {"Message": "not what Postmark says"}, {}, Outcome.UNKNOWN),
        (0, None, {}, Outcome.UNKNOWN),
    ],
)
def test_an_esp_s_refusals_have_their_receipts(
    status: int, answer: Any, headers: dict[str, str], outcome: Outcome, postmark: Postmark, send: Any, message_to: Any
) -> None:
    postmark.status, postmark.answer, postmark.headers = status, answer, headers
    (receipt,) = send(message_to("ann"))
    assert receipt.outcome is outcome
    if headers:
        # A date as far away as this one is cut to a day.
        assert receipt.after == (7 if headers["Retry-After"] == "7" else 86_400)
    assert "canary" not in receipt.reason


def test_an_esp_that_is_away_is_a_retry(
    postmark: Postmark, send: Any, message_to: Any, settings: Any, closed_port: int
) -> None:
    settings.ANYMAIL = settings.ANYMAIL | {"POSTMARK_API_URL": f"http://127.0.0.1:{closed_port}/"}
    assert send(message_to("ann"))[0].outcome is Outcome.RETRY


@pytest.mark.parametrize(
    ("message_id", "kept"),
    [({"esp-77", None}, "7@example.org"), (None, "7@example.org"), ("", "7@example.org"), ("esp-77", "esp-77")],
)
def test_only_one_text_is_a_provider_s_id(
    message_id: Any, kept: str, use_backend: Any, monkeypatch: pytest.MonkeyPatch, send: Any, message_to: Any
) -> None:
    def sending(self: Any, email_messages: Any) -> int:
        for item in email_messages:
            item.anymail_status = SimpleNamespace(status={"sent"}, message_id=message_id)
        return len(email_messages)

    monkeypatch.setattr(RaisingBackend, "send_messages", sending)
    use_backend(f"{__name__}.RaisingBackend")
    (receipt,) = send(message_to("ann", id="7"))
    assert (receipt.outcome, receipt.provider_id) == (Outcome.SENT, kept)
