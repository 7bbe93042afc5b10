"""What becomes of messages when the Bot API refuses, fails, or is not there.

Connections themselves, TLS and proxies are the kit's: see ``tests/kit/test_http.py``. Here is what its errors mean.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import trustme

from dsn_core import Outcome
from dsn_telegram import TelegramOptions
from dsn_telegram.transport import Transport

OK = {"ok": True, "result": {"message_id": 5}}


def only(receipts: list[Any]) -> Any:
    (receipt,) = receipts
    return receipt


@pytest.mark.parametrize(
    ("status", "description", "outcome"),
    [
        (403, "Forbidden: bot was blocked by the user", Outcome.INVALID_ADDRESS),
        (403, "Forbidden: user is deactivated", Outcome.INVALID_ADDRESS),
        (403, "Forbidden: bot was kicked from the supergroup chat", Outcome.INVALID_ADDRESS),
        (403, "Forbidden: bot can't initiate conversation with a user", Outcome.INVALID_ADDRESS),
        (400, "Bad Request: chat not found", Outcome.INVALID_ADDRESS),
        (400, "Bad Request: PEER_ID_INVALID", Outcome.INVALID_ADDRESS),
        (400, "Bad Request: have no rights to send a message", Outcome.INVALID_ADDRESS),
        (400, "Bad Request: not enough rights to send text messages to the chat", Outcome.INVALID_ADDRESS),
        (400, "Bad Request: message thread not found", Outcome.FAILED),
        (400, "Bad Request: BUTTON_URL_INVALID", Outcome.FAILED),
        (413, "Request Entity Too Large", Outcome.FAILED),
        (401, "Unauthorized", Outcome.PAUSE),
        (404, "Not Found", Outcome.PAUSE),
        (500, "Internal Server Error: restart", Outcome.RETRY),
        (502, "Bad Gateway", Outcome.RETRY),
    ],
)
def test_a_refusal_in_the_words_of_the_bot_api(
    api: Any, send: Any, to: Any, status: int, description: str, outcome: Outcome
) -> None:
    api.refuse(status, description, chat="1")
    receipt = only(send(to("1")))
    assert receipt.outcome is outcome
    assert description in receipt.reason
    assert api.calls == []


@pytest.mark.parametrize(
    ("status", "body", "outcome"),
    [
        (200, "<html>", Outcome.UNKNOWN),
        (200, "", Outcome.UNKNOWN),
        (200, '{"ok": ', Outcome.UNKNOWN),
        (200, "[1, 2]", Outcome.UNKNOWN),
        (200, '{"result": 1}', Outcome.UNKNOWN),
        (204, "", Outcome.UNKNOWN),
        (502, "<html>Bad Gateway", Outcome.UNKNOWN),
        (504, "<html>Gateway Time-out", Outcome.UNKNOWN),
        (500, "Internal Server Error", Outcome.RETRY),
        (503, "<html>Service Unavailable", Outcome.RETRY),
        (302, "", Outcome.PAUSE),
        (400, "<html>", Outcome.PAUSE),
        (403, "Forbidden by the proxy", Outcome.PAUSE),
        (404, "<html>no such page", Outcome.PAUSE),
    ],
)
def test_an_answer_of_somebody_else(api: Any, send: Any, to: Any, status: int, body: str, outcome: Outcome) -> None:
    api.script({"status": status, "body": body, "headers": {"Location": f"{api.url}/elsewhere"}}, chat="1")
    receipt = only(send(to("1")))
    assert receipt.outcome is outcome
    assert str(status) in receipt.reason


@pytest.mark.parametrize(
    ("body", "headers", "seconds"),
    [
        ({"ok": False, "error_code": 429, "description": "Too Many Requests", "parameters": {"retry_after": 7}}, {}, 7),
        ({"ok": False, "description": "Too Many Requests"}, {"Retry-After": "11"}, 11),
        ("<html>", {"Retry-After": "12"}, 12),
        ("<html>", {}, 30),
    ],
)
def test_too_many_requests_pause_for_exactly_as_long_as_said(
    api: Any, send: Any, to: Any, body: Any, headers: dict[str, str], seconds: float
) -> None:
    api.script({"status": 429, "body": body, "headers": headers}, chat="1")
    receipt = only(send(to("1")))
    assert (receipt.outcome, receipt.after) == (Outcome.PAUSE, seconds)


def test_after_a_pause_nothing_more_is_sent_and_what_is_under_way_is_answered(api: Any, send: Any, to: Any) -> None:
    api.do("set", delay=0.2)
    api.refuse(429, "Too Many Requests: retry after 3", chat="1", retry_after=3)
    receipts = send(*(to(str(number)) for number in range(1, 101)))
    answers = [receipt.outcome for receipt in receipts]
    assert answers.count(Outcome.PAUSE) == 1
    assert answers.count(Outcome.SENT) == len(api.calls) == len(receipts) - 1
    assert len(receipts) <= TelegramOptions.CONNECTIONS + 1


def test_a_provider_that_is_down_is_tried_again_later(closed_port: int, send: Any, to: Any) -> None:
    receipt = only(send(to(), API_BASE=f"http://127.0.0.1:{closed_port}"))
    assert receipt.outcome is Outcome.RETRY
    assert "No connection to the Bot API" in receipt.reason


def test_a_slow_answer_is_unknown_and_not_sent_twice(api: Any, send: Any, to: Any) -> None:
    api.script({"delay": 3, "status": 200, "body": OK, "taken": True}, chat="1")
    receipt = only(send(to("1"), TIMEOUT=0.3))
    assert receipt.outcome is Outcome.UNKNOWN
    assert "may have taken it" in receipt.reason
    assert len(api.calls) == 1


def test_a_certificate_that_is_not_trusted_pauses_and_nothing_is_written(
    start_api: Any, tmp_path: Path, send: Any, to: Any
) -> None:
    file = tmp_path / "server.pem"
    trustme.CA().issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(file)
    api = start_api("--certificate", str(file), scheme="https", seconds=60)
    try:
        receipt = only(send(to(), API_BASE=api.url))
    finally:
        api.stop()
    assert receipt.outcome is Outcome.PAUSE
    assert "certificate" in receipt.reason


# Messages of several calls


def long(to: Any, chat: str = "1") -> Any:
    return to(chat, "\n\n".join(letter * 3_000 for letter in "abc"))


def free() -> None:
    from dsn_telegram.models import Chat

    Chat.objects.update(free_at=0)


def shown(api: Any) -> list[str]:
    return [call["text"][0] for call in api.calls]


def test_a_message_that_is_interrupted_goes_on_where_it_stopped(api: Any, send: Any, to: Any) -> None:
    from dsn_telegram.models import HalfSent

    message = long(to)
    api.script({"status": 200, "body": OK, "taken": True}, chat="1")
    api.refuse(429, "Too Many Requests: retry after 2", chat="1", retry_after=2)
    first = only(send(message))
    assert (first.outcome, first.after) == (Outcome.PAUSE, 2)
    assert first.reason.startswith("Part 2 of 3: ")
    free()
    assert only(send(message)).outcome is Outcome.SENT
    assert shown(api) == ["a", "b", "c"]
    assert not HalfSent.objects.exists()


def test_a_message_whose_worker_stops_goes_on_where_it_stopped(api: Any, telegram: Any, send: Any, to: Any) -> None:
    from dsn_telegram import TelegramMessenger, TelegramOptions

    message, other = long(to), to("2")
    messenger = TelegramMessenger("telegram", TelegramOptions(**telegram))
    receipts = messenger.send_messages([message, other])
    assert next(receipts).message is other
    messenger.stop()
    assert only(list(receipts)).outcome is Outcome.LATER
    free()
    assert only(send(message)).outcome is Outcome.SENT
    assert shown(api) in (["a", "I", "b", "c"], ["I", "a", "b", "c"])


def test_a_part_that_fails_fails_the_message_and_says_which(api: Any, send: Any, to: Any) -> None:
    api.script({"status": 200, "body": OK}, chat="1")
    api.refuse(400, "Bad Request: message thread not found", chat="1")
    receipt = only(send(long(to)))
    assert receipt.outcome is Outcome.FAILED
    assert receipt.reason.startswith("Part 2 of 3: 400")


def test_an_error_of_our_own_is_logged_with_its_traceback(
    api: Any, send: Any, to: Any, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    def fail(*arguments: Any) -> None:
        raise RuntimeError("a mistake")

    monkeypatch.setattr(Transport, "_send", fail)
    receipt = only(send(to("1")))
    assert receipt.outcome is Outcome.RETRY
    assert receipt.reason == "RuntimeError: a mistake"
    (record,) = [record for record in caplog.records if record.name == "dsn_telegram"]
    assert record.exc_info
