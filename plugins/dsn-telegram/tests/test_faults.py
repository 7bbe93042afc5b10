"""What becomes of messages when the Bot API refuses, fails, or is not there."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
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


def test_a_name_that_nobody_knows_is_tried_again_later(send: Any, to: Any) -> None:
    assert only(send(to(), API_BASE="http://nobody.localhost:1")).outcome is Outcome.RETRY


def test_a_slow_answer_is_unknown_and_not_sent_twice(api: Any, send: Any, to: Any) -> None:
    api.script({"delay": 3, "status": 200, "body": OK, "taken": True}, chat="1")
    receipt = only(send(to("1"), TIMEOUT=0.3))
    assert receipt.outcome is Outcome.UNKNOWN
    assert "may have taken it" in receipt.reason
    assert len(api.calls) == 1


@pytest.mark.parametrize("cut", ["before", "middle"])
def test_a_connection_that_is_cut_after_the_call_is_unknown(api: Any, send: Any, to: Any, cut: str) -> None:
    api.script({"cut": cut, "taken": True}, chat="1")
    assert only(send(to("1"))).outcome is Outcome.UNKNOWN
    # The next call has a connection of its own.
    assert only(send(to("2"))).outcome is Outcome.SENT


@pytest.fixture
def rude_port() -> Iterator[int]:
    """A server that hangs up as soon as the head of a request has begun to come."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                # Reset, not closed in order, while the client still writes its large body.
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                connection.recv(10)
                connection.close()

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
    thread.join(10)


def test_a_connection_that_is_cut_before_the_call_was_written_is_tried_again(
    rude_port: int, send: Any, to: Any
) -> None:
    message = to("1", extra={"telegram": {"attachments": [("big.bin", b"x" * 20_000_000)]}})
    receipt = only(send(message, API_BASE=f"http://127.0.0.1:{rude_port}"))
    assert receipt.outcome is Outcome.RETRY


def test_an_answer_that_drips_for_ever_ends(send: Any, to: Any) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        over = threading.Event()

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65_536)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
                while not over.wait(0.1):
                    try:
                        connection.sendall(b" ")
                    except OSError:
                        return

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        receipt = only(send(to(), API_BASE=f"http://127.0.0.1:{listener.getsockname()[1]}", TIMEOUT=0.5))
        over.set()
        thread.join(10)
    assert receipt.outcome is Outcome.UNKNOWN
    assert "does not end" in receipt.reason


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


def test_a_trusted_certificate_is_fine(
    start_api: Any, tmp_path: Path, send: Any, to: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = trustme.CA()
    file, trusted = tmp_path / "server.pem", tmp_path / "authority.pem"
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(file)
    authority.cert_pem.write_to_path(trusted)
    monkeypatch.setenv("SSL_CERT_FILE", str(trusted))
    api = start_api("--certificate", str(file), scheme="https", seconds=60)
    try:
        assert only(send(to(), API_BASE=api.url)).outcome is Outcome.SENT
    finally:
        api.stop()


@pytest.mark.slow
def test_a_server_that_speaks_no_tls_is_tried_again(api: Any, send: Any, to: Any) -> None:
    receipt = only(send(to(), API_BASE=f"https://127.0.0.1:{api.port}"))
    assert receipt.outcome is Outcome.RETRY


def test_no_proxy_comes_between_us_and_this_machine(
    api: Any, send: Any, to: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    assert only(send(to())).outcome is Outcome.SENT


def test_the_proxy_of_the_environment_is_used(send: Any, to: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy that refuses to connect anywhere: it is asked, and told the host, but never the token."""
    heard: list[bytes] = []
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                heard.append(connection.recv(65_536))
                connection.sendall(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{listener.getsockname()[1]}")
        monkeypatch.delenv("NO_PROXY", raising=False)
        monkeypatch.delenv("no_proxy", raising=False)
        receipt = only(send(to(), API_BASE="https://bot-api.invalid"))
        thread.join(10)
    assert receipt.outcome is Outcome.PAUSE
    assert heard[0].startswith(b"CONNECT bot-api.invalid:443 ")
    assert b"canary" not in heard[0]


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
