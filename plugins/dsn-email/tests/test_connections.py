"""Connections that do not come about, break, hang, or want a login."""

from __future__ import annotations

import base64
import logging
import time
from collections.abc import Callable
from typing import Any

import pytest

from dsn_core.contracts.receipts import Outcome

#: Seconds that a busy machine may take for what is over soon, and less than a server hangs here.
LONG = 40


def times(count: int, name: str, reply: str) -> Callable[[str], str | None]:
    """An answer that hits one address, for the first ``count`` times."""
    left = [count]

    def answer(about: str) -> str | None:
        if not about.startswith(f"{name}@") or not left[0]:
            return None
        left[0] -= 1
        return reply

    return answer


def outcomes(receipts: Any) -> list[Outcome]:
    return [receipt.outcome for receipt in receipts]


def test_a_refused_connection_is_a_retry_for_all(use_smtp: Any, send: Any, message_to: Any, closed_port: int) -> None:
    use_smtp(closed_port)
    receipts = send(message_to("ann"), message_to("bob"))
    assert outcomes(receipts) == [Outcome.RETRY] * 2
    assert "ConnectionRefusedError" in receipts[0].reason


def test_an_unknown_host_is_a_retry_for_all(use_smtp: Any, send: Any, message_to: Any, settings: Any) -> None:
    use_smtp(25, host="no-such-host.invalid")
    receipts = send(message_to("ann"), message_to("bob"))
    assert outcomes(receipts) == [Outcome.RETRY] * 2


def test_a_server_that_says_nothing_at_all_is_a_retry_within_the_time_out(
    use_smtp: Any, send: Any, message_to: Any, silent_port: int
) -> None:
    use_smtp(silent_port)
    begin = time.monotonic()
    receipts = send(message_to("ann"), message_to("bob"), TIMEOUT=0.3)
    assert outcomes(receipts) == [Outcome.RETRY] * 2
    assert time.monotonic() - begin < LONG


@pytest.mark.parametrize("command", ["MAIL", "RCPT", "354"])
@pytest.mark.parametrize("reply", ["hang up", "421 Too many messages"])
def test_a_message_lost_before_it_was_handed_over_goes_over_a_new_connection(
    command: str, reply: str, server: Any, use_smtp: Any, send: Any, message_to: Any
) -> None:
    use_smtp(server.port)
    name = "cinema" if command == "MAIL" else "bob"
    server.answers[command] = times(1, name, reply)
    receipts = send(message_to("ann"), message_to("bob"), message_to("cleo"))
    assert outcomes(receipts) == [Outcome.SENT] * 3
    assert server.receivers == ["ann@example.org", "bob@example.org", "cleo@example.org"]
    assert server.connections == 2


def test_a_message_that_always_breaks_the_connection_is_retried_later_and_stops_no_other(
    server: Any, use_smtp: Any, send: Any, message_to: Any
) -> None:
    use_smtp(server.port)
    server.answers["RCPT"] = times(99, "bob", "hang up")
    receipts = send(message_to("ann"), message_to("bob"), message_to("cleo"))
    assert outcomes(receipts) == [Outcome.SENT, Outcome.RETRY, Outcome.SENT]
    assert server.receivers == ["ann@example.org", "cleo@example.org"]
    assert server.connections == 3


def test_a_message_lost_after_it_was_handed_over_is_unknown_and_not_sent_again(
    server: Any, use_smtp: Any, send: Any, message_to: Any
) -> None:
    use_smtp(server.port)
    server.answers["DATA"] = times(1, "bob", "hang up")
    receipts = send(message_to("ann"), message_to("bob"), message_to("cleo"))
    assert outcomes(receipts) == [Outcome.SENT, Outcome.UNKNOWN, Outcome.SENT]
    assert server.receivers == ["ann@example.org", "cleo@example.org"]
    assert server.connections == 2


def test_a_server_that_hangs_after_the_message_is_unknown_within_the_time_out(
    server: Any, use_smtp: Any, send: Any, message_to: Any
) -> None:
    use_smtp(server.port)
    server.answers["DATA"] = times(1, "bob", "hang")
    begin = time.monotonic()
    receipts = send(message_to("ann"), message_to("bob"), message_to("cleo"), TIMEOUT=0.5)
    assert outcomes(receipts) == [Outcome.SENT, Outcome.UNKNOWN, Outcome.SENT]
    assert 0.4 < time.monotonic() - begin < LONG


def test_a_server_that_hangs_for_all_is_given_up_soon(server: Any, use_smtp: Any, send: Any, message_to: Any) -> None:
    use_smtp(server.port)
    server.answers["RCPT"] = lambda about: "hang"
    begin = time.monotonic()
    receipts = send(*[message_to(f"user{number}") for number in range(50)], TIMEOUT=0.2)
    assert outcomes(receipts) == [Outcome.RETRY] * 50
    assert server.connections == 3
    assert time.monotonic() - begin < LONG


def test_a_reply_that_is_none_is_a_retry(server: Any, use_smtp: Any, send: Any, message_to: Any) -> None:
    use_smtp(server.port)
    server.answers["RCPT"] = lambda about: "hello there"
    (receipt,) = send(message_to("ann"))
    assert receipt.outcome is Outcome.RETRY


def test_an_odd_answer_to_the_whole_message_is_unknown(server: Any, use_smtp: Any, send: Any, message_to: Any) -> None:
    use_smtp(server.port)
    server.answers["DATA"] = lambda about: "hello there"
    (receipt,) = send(message_to("ann"))
    assert receipt.outcome is Outcome.UNKNOWN


def test_a_batch_left_in_the_middle_closes_its_connection(server: Any, use_smtp: Any, message_to: Any) -> None:
    from dsn_email import EmailMessenger

    use_smtp(server.port)
    receipts = iter(EmailMessenger().send_messages([message_to("ann"), message_to("bob")]))
    assert next(receipts).outcome is Outcome.SENT
    receipts.close()
    assert server.receivers == ["ann@example.org"]


# Login

CANARY = "canary-password-7f2c"


def test_a_login_is_used(login_server: Any, use_smtp: Any, send: Any, message_to: Any) -> None:
    with login_server(CANARY) as server:
        use_smtp(server.port, username="cinema", password=CANARY)
        (receipt,) = send(message_to("ann"))
        assert receipt.outcome is Outcome.SENT
        assert server.receivers == ["ann@example.org"]


def test_a_refused_login_pauses_the_messenger_and_shows_no_password(
    login_server: Any, use_smtp: Any, send: Any, message_to: Any, caplog: Any
) -> None:
    caplog.set_level(logging.DEBUG, logger="dsn_email")
    with login_server("another") as server:
        use_smtp(server.port, username="cinema", password=CANARY)
        receipts = send(message_to("ann"), message_to("bob"))
        assert outcomes(receipts) == [Outcome.PAUSE]
        assert receipts[0].after > 0
        assert "535" in receipts[0].reason
        assert server.received == []
    assert CANARY not in repr(receipts) + caplog.text


def test_a_server_that_repeats_the_password_is_masked(
    login_server: Any, use_smtp: Any, send: Any, message_to: Any
) -> None:
    alone, both = (base64.b64encode(sent.encode()).decode() for sent in (CANARY, f"\0cinema\0{CANARY}"))
    with login_server(CANARY) as server:
        server.answers["MAIL"] = lambda about: f"550 No {CANARY} {alone} {both}"
        use_smtp(server.port, username="cinema", password=CANARY)
        (receipt,) = send(message_to("ann"))
    assert receipt.reason == "550 No ******** ******** ********"


def test_a_login_that_the_server_does_not_know_pauses(server: Any, use_smtp: Any, send: Any, message_to: Any) -> None:
    use_smtp(server.port, username="cinema", password=CANARY)
    receipts = send(message_to("ann"), message_to("bob"))
    assert outcomes(receipts) == [Outcome.PAUSE]


def test_a_password_outside_ascii_pauses_without_showing_a_character_of_it(
    login_server: Any, use_smtp: Any, send: Any, message_to: Any
) -> None:
    with login_server("another") as server:
        use_smtp(server.port, username="cinema", password="geheim-ß")
        (receipt,) = send(message_to("ann"))
    assert receipt.outcome is Outcome.PAUSE
    assert "ß" not in receipt.reason
    assert "xdf" not in receipt.reason


def test_tls_that_the_server_does_not_offer_pauses(server: Any, use_smtp: Any, send: Any, message_to: Any) -> None:
    use_smtp(server.port, use_tls=True)
    assert outcomes(send(message_to("ann"), message_to("bob"))) == [Outcome.PAUSE]


def test_settings_that_cannot_work_pause(server: Any, use_smtp: Any, send: Any, message_to: Any) -> None:
    use_smtp(server.port, use_tls=True, use_ssl=True)
    assert outcomes(send(message_to("ann"), message_to("bob"))) == [Outcome.PAUSE]
    assert server.connections == 0
