"""What arrives at an SMTP server."""

from __future__ import annotations

import email.policy
from typing import Any

import django
import pytest
from django.core.mail import EmailMultiAlternatives

from dsn_core.contracts.receipts import Outcome


def test_a_message_arrives_with_its_headers_and_both_bodies(
    server: Any, use_smtp: Any, send: Any, letter_to: Any
) -> None:
    use_smtp(server.port)
    message = letter_to("ann", html="<p>It can be <b>seen</b> from now on.</p>", id="0f3c")

    (receipt,) = send(message, FROM="Cinema <cinema@example.org>", REPLY_TO="desk@example.org")

    assert receipt.outcome is Outcome.SENT
    assert receipt.provider_id == "0f3c@example.org"
    (mail,) = server.mails
    assert server.receivers == ["ann@example.org"]
    assert mail["Subject"] == "Solaris is out"
    assert mail["From"] == "Cinema <cinema@example.org>"
    assert mail["To"] == "ann@example.org"
    assert mail["Reply-To"] == "desk@example.org"
    assert mail["Message-ID"] == "<0f3c@example.org>"
    assert mail["Auto-Submitted"] == "auto-generated"
    assert mail.get_content_type() == "multipart/alternative"
    assert [part.get_content_type() for part in mail.iter_parts()] == ["text/plain", "text/html"]
    assert mail.get_body(("plain",)).get_content().strip() == "It can be seen from now on."
    assert "<b>seen</b>" in mail.get_body(("html",)).get_content()


def test_a_batch_takes_one_connection(server: Any, use_smtp: Any, send: Any, letter_to: Any) -> None:
    use_smtp(server.port)
    receipts = send(*[letter_to(f"user{number}") for number in range(25)])
    assert [receipt.outcome for receipt in receipts] == [Outcome.SENT] * 25
    assert server.receivers == [f"user{number}@example.org" for number in range(25)]
    assert server.connections == 1


def test_each_receiver_sees_only_their_own_address(server: Any, use_smtp: Any, send: Any, letter_to: Any) -> None:
    use_smtp(server.port)
    send(letter_to("ann"), letter_to("bob"))
    assert [mail["To"] for mail in server.mails] == ["ann@example.org", "bob@example.org"]


def test_a_text_is_made_from_html_alone(server: Any, use_smtp: Any, send: Any, letter_to: Any) -> None:
    use_smtp(server.port)
    send(letter_to("ann", text="", html="<h1>Solaris</h1><p>It is <a href='https://example.org/s'>out</a>.</p>"))
    text = server.mails[0].get_body(("plain",)).get_content()
    assert text.split() == ["Solaris", "It", "is", "out", "(https://example.org/s)."]


def test_a_text_alone_has_no_html_part(server: Any, use_smtp: Any, send: Any, letter_to: Any) -> None:
    use_smtp(server.port)
    send(letter_to("ann"))
    assert server.mails[0].get_content_type() == "text/plain"


@pytest.mark.parametrize(
    ("text", "subject"),
    [
        ("\n  Solaris   is out \nand more", "Solaris is out"),
        ("long " * 40, "long " * 15 + "lo…"),
        ("a\x0bBcc: eve@example.org", "a"),
        ("", "(no subject)"),
    ],
)
def test_a_message_without_subject_gets_the_beginning_of_its_text(
    text: str, subject: str, server: Any, use_smtp: Any, send: Any, letter_to: Any
) -> None:
    use_smtp(server.port)
    send(letter_to("ann", text=text, subject=""))
    # Django 5.2 begins a folded subject on the header's second line.
    assert server.mails[0]["Subject"].strip() == subject
    assert server.mails[0]["Bcc"] is None


def test_unicode_arrives_unharmed(server: Any, use_smtp: Any, send: Any, letter_to: Any) -> None:
    use_smtp(server.port)
    message = letter_to("ann@bücher.example", subject="Jetzt im Kino: Übergröße 🎬", text="Grüße, Ω, 🎬\n" + "ü" * 1200)
    (receipt,) = send(message, FROM="Kino Müller <kino@bücher.example>")
    assert receipt.outcome is Outcome.SENT
    assert receipt.provider_id.endswith("@xn--bcher-kva.example")
    (mail,) = server.mails
    assert server.receivers == ["ann@xn--bcher-kva.example"]
    assert mail["Subject"] == "Jetzt im Kino: Übergröße 🎬"
    assert mail["From"].addresses[0].display_name == "Kino Müller"
    assert mail["From"].addresses[0].addr_spec == "kino@xn--bcher-kva.example"
    assert mail.get_content().replace("\r\n", "\n").strip() == message.text


def test_the_message_id_is_the_same_on_every_try(server: Any, use_smtp: Any, send: Any, letter_to: Any) -> None:
    use_smtp(server.port)
    for _ in range(2):
        send(letter_to("ann", id="5b1e7c"))
    assert [mail["Message-ID"] for mail in server.mails] == ["<5b1e7c@example.org>"] * 2


def test_an_id_that_no_header_can_hold_becomes_a_stable_digest(
    server: Any, use_smtp: Any, send: Any, letter_to: Any
) -> None:
    use_smtp(server.port)
    for id in ("one two", "one two", "one\r\nthree", "x" * 300):
        send(letter_to("ann", id=id))
    first, second, third, fourth = (mail["Message-ID"] for mail in server.mails)
    assert first == second
    assert len({first, third, fourth}) == 3
    assert all(len(found) < 90 for found in (first, third, fourth))


def test_a_local_sender_gets_message_ids_of_this_machine(server: Any, use_smtp: Any, send: Any, letter_to: Any) -> None:
    from django.core.mail.utils import DNS_NAME

    use_smtp(server.port)
    (receipt,) = send(letter_to("ann", id="7"), FROM="webmaster@localhost")
    assert receipt.provider_id == f"7@{DNS_NAME}"


def test_the_sender_is_django_s_default_when_no_option_names_one(
    server: Any, use_smtp: Any, send: Any, letter_to: Any, settings: Any
) -> None:
    settings.DEFAULT_FROM_EMAIL = "default@example.net"
    use_smtp(server.port)
    (receipt,) = send(letter_to("ann", id="7"), FROM="")
    assert server.mails[0]["From"] == "default@example.net"
    assert receipt.provider_id == "7@example.net"


def test_headers_of_the_options_and_of_the_message_are_sent(
    server: Any, use_smtp: Any, send: Any, letter_to: Any
) -> None:
    use_smtp(server.port)
    message = letter_to("ann", extra={"email": {"headers": {"x-kind": "release", "References": "<1@example.org>"}}})
    send(message, letter_to("bob"), HEADERS={"X-Kind": "any", "X-Site": "cinema"})
    ann, bob = server.mails
    assert ann.get_all("X-Kind") == ["release"]
    assert (ann["X-Site"], ann["References"]) == ("cinema", "<1@example.org>")
    assert bob.get_all("X-Kind") == ["any"]


def test_attachments_and_reply_to_of_the_message_are_sent(
    server: Any, use_smtp: Any, send: Any, letter_to: Any
) -> None:
    use_smtp(server.port)
    files = [("Plakat ü.pdf", b"%PDF-1.7\x00", "application/pdf"), ("list.txt", "Grüße")]
    extra = {"email": {"attachments": files, "reply_to": ["ann@example.net", "Bob <bob@example.net>"]}}
    (receipt,) = send(letter_to("ann", html="<p>Out</p>", extra=extra), REPLY_TO="desk@example.org")
    assert receipt.outcome is Outcome.SENT
    (mail,) = server.mails
    assert mail["Reply-To"] == "ann@example.net, Bob <bob@example.net>"
    pdf, text = mail.iter_attachments()
    assert (pdf.get_filename(), pdf.get_content_type(), pdf.get_content()) == (
        "Plakat ü.pdf",
        "application/pdf",
        b"%PDF-1.7\x00",
    )
    assert (text.get_filename(), text.get_content().strip()) == ("list.txt", "Grüße")


def test_only_the_address_of_a_receiver_with_a_display_name_is_used(
    server: Any, use_smtp: Any, send: Any, letter_to: Any
) -> None:
    use_smtp(server.port)
    send(letter_to('"Doe, Ann" <ann@example.org>'))
    assert server.mails[0]["To"] == "ann@example.org"


def test_what_is_sent_is_what_django_s_own_message_says(send: Any, letter_to: Any, in_memory: Any) -> None:
    """What makes it faster changes nothing: the same bytes, but for the boundary and the date."""
    policy: Any = {"policy": email.policy.SMTP} if django.VERSION >= (6, 0) else {}
    send(*[letter_to(name, subject=f"Für {name}", html="<p>é</p>") for name in ("ann", "bob")], HEADERS={"X-A": "1"})
    for mail in in_memory:
        plain = EmailMultiAlternatives(mail.subject, mail.body, mail.from_email, mail.to, headers=mail.extra_headers)
        plain.attach_alternative("<p>é</p>", "text/html")
        ours, theirs = (item.message(**policy) for item in (mail, plain))
        for item in (ours, theirs):
            item.replace_header("Date", "Mon, 01 Jan 2035 00:00:00 +0000")
            item.set_boundary("same")
        assert ours.as_bytes() == theirs.as_bytes()


def test_each_message_has_a_boundary_of_its_own(server: Any, use_smtp: Any, send: Any, letter_to: Any) -> None:
    use_smtp(server.port)
    files = {"email": {"attachments": [("a.txt", "text")]}}
    send(*[letter_to(name, html="<p>Out</p>", extra=files) for name in ("ann", "bob")])
    boundaries = [part.get_boundary() for mail in server.mails for part in mail.walk() if part.is_multipart()]
    assert len(set(boundaries)) == 4


def test_long_links_in_a_header_arrive_whole(server: Any, use_smtp: Any, send: Any, letter_to: Any) -> None:
    use_smtp(server.port)
    link = f"<https://example.org/unsubscribe/?a=1,2&b={'0123456789abcdef' * 12}>"
    send(letter_to("ann", extra={"email": {"headers": {"List-Unsubscribe": f"{link}, <mailto:out@example.org>"}}}))
    (raw,) = [value for name, value in server.mails[0].raw_items() if name == "List-Unsubscribe"]
    assert "".join(raw.split()) == f"{link},<mailto:out@example.org>"
