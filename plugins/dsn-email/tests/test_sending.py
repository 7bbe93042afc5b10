"""What arrives at an SMTP server."""

from __future__ import annotations

import email.policy
from pathlib import Path
from typing import Any

import django
import pytest
from django.core.mail import EmailMultiAlternatives

from dsn_core.contracts.receipts import Outcome


def test_a_message_arrives_with_its_headers_and_both_bodies(
    server: Any, use_smtp: Any, send: Any, message_to: Any
) -> None:
    use_smtp(server.port)
    message = message_to("ann", html="<p>It can be <b>seen</b> from now on.</p>", id="0f3c")

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


def test_a_batch_takes_one_connection(server: Any, use_smtp: Any, send: Any, message_to: Any) -> None:
    use_smtp(server.port)
    receipts = send(*[message_to(f"user{number}") for number in range(25)])
    assert [receipt.outcome for receipt in receipts] == [Outcome.SENT] * 25
    assert server.receivers == [f"user{number}@example.org" for number in range(25)]
    assert server.connections == 1


def test_each_receiver_sees_only_their_own_address(server: Any, use_smtp: Any, send: Any, message_to: Any) -> None:
    use_smtp(server.port)
    send(message_to("ann"), message_to("bob"))
    assert [mail["To"] for mail in server.mails] == ["ann@example.org", "bob@example.org"]


def test_a_text_is_made_from_html_alone(server: Any, use_smtp: Any, send: Any, message_to: Any) -> None:
    use_smtp(server.port)
    send(message_to("ann", text="", html="<h1>Solaris</h1><p>It is <a href='https://example.org/s'>out</a>.</p>"))
    text = server.mails[0].get_body(("plain",)).get_content()
    assert text.split() == ["Solaris", "It", "is", "out", "(https://example.org/s)."]


def test_a_text_alone_has_no_html_part(server: Any, use_smtp: Any, send: Any, message_to: Any) -> None:
    use_smtp(server.port)
    send(message_to("ann"))
    assert server.mails[0].get_content_type() == "text/plain"


@pytest.mark.parametrize(
    ("text", "subject"),
    [
        ("\n  Solaris   is out \nand more", "Solaris is out"),
        ("long " * 40, "long " * 15 + "lo…"),
        # An emoji of seven code points, which is not cut into other ones.
        ("x" * 75 + " \N{WOMAN}\u200d\N{WOMAN}\u200d\N{GIRL}\u200d\N{BOY} and more", "x" * 75 + "…"),
        ("x" * 76 + "e\u0301" * 3, "x" * 76 + "…"),
        ("a\x0bBcc: eve@example.org", "a"),
        ("", "(no subject)"),
    ],
)
def test_a_message_without_subject_gets_the_beginning_of_its_text(
    text: str, subject: str, server: Any, use_smtp: Any, send: Any, message_to: Any
) -> None:
    use_smtp(server.port)
    send(message_to("ann", text=text, subject=""))
    # Django 5.2 begins a folded subject on the header's second line.
    assert server.mails[0]["Subject"].strip() == subject
    assert server.mails[0]["Bcc"] is None


def test_unicode_arrives_unharmed(server: Any, use_smtp: Any, send: Any, message_to: Any) -> None:
    use_smtp(server.port)
    message = message_to(
        "ann@bücher.example", subject="Jetzt im Kino: Übergröße 🎬", text="Grüße, Ω, 🎬\n" + "ü" * 1200
    )
    (receipt,) = send(message, FROM="Kino Müller <kino@bücher.example>")
    assert receipt.outcome is Outcome.SENT
    assert receipt.provider_id.endswith("@xn--bcher-kva.example")
    (mail,) = server.mails
    assert server.receivers == ["ann@xn--bcher-kva.example"]
    assert mail["Subject"] == "Jetzt im Kino: Übergröße 🎬"
    assert mail["From"].addresses[0].display_name == "Kino Müller"
    assert mail["From"].addresses[0].addr_spec == "kino@xn--bcher-kva.example"
    assert mail.get_content().replace("\r\n", "\n").strip() == message.text


def test_the_message_id_is_the_same_on_every_try(server: Any, use_smtp: Any, send: Any, message_to: Any) -> None:
    use_smtp(server.port)
    for _ in range(2):
        send(message_to("ann", id="5b1e7c"))
    assert [mail["Message-ID"] for mail in server.mails] == ["<5b1e7c@example.org>"] * 2


def test_an_id_that_no_header_can_hold_becomes_a_stable_digest(
    server: Any, use_smtp: Any, send: Any, message_to: Any
) -> None:
    use_smtp(server.port)
    for id in ("one two", "one two", "one\r\nthree", "x" * 300):
        send(message_to("ann", id=id))
    first, second, third, fourth = (mail["Message-ID"] for mail in server.mails)
    assert first == second
    assert len({first, third, fourth}) == 3
    assert all(len(found) < 90 for found in (first, third, fourth))


def test_a_local_sender_gets_message_ids_of_this_machine(
    server: Any, use_smtp: Any, send: Any, message_to: Any
) -> None:
    from django.core.mail.utils import DNS_NAME

    use_smtp(server.port)
    (receipt,) = send(message_to("ann", id="7"), FROM="webmaster@localhost")
    assert receipt.provider_id == f"7@{DNS_NAME}"


def test_the_sender_is_django_s_default_when_no_option_names_one(
    server: Any, use_smtp: Any, send: Any, message_to: Any, settings: Any
) -> None:
    settings.DEFAULT_FROM_EMAIL = "default@example.net"
    use_smtp(server.port)
    (receipt,) = send(message_to("ann", id="7"), FROM="")
    assert server.mails[0]["From"] == "default@example.net"
    assert receipt.provider_id == "7@example.net"


def test_headers_of_the_options_and_of_the_message_are_sent(
    server: Any, use_smtp: Any, send: Any, message_to: Any
) -> None:
    use_smtp(server.port)
    message = message_to("ann", extra={"email": {"headers": {"x-kind": "release", "References": "<1@example.org>"}}})
    send(message, message_to("bob"), HEADERS={"X-Kind": "any", "X-Site": "cinema"})
    ann, bob = server.mails
    assert ann.get_all("X-Kind") == ["release"]
    assert (ann["X-Site"], ann["References"]) == ("cinema", "<1@example.org>")
    assert bob.get_all("X-Kind") == ["any"]


def test_attachments_and_reply_to_of_the_message_are_sent(
    server: Any, use_smtp: Any, send: Any, message_to: Any
) -> None:
    use_smtp(server.port)
    files = [("Plakat ü.pdf", b"%PDF-1.7\x00", "application/pdf"), ("list.txt", "Grüße")]
    extra = {"email": {"attachments": files, "reply_to": ["ann@example.net", "Bob <bob@example.net>"]}}
    (receipt,) = send(message_to("ann", html="<p>Out</p>", extra=extra), REPLY_TO="desk@example.org")
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
    server: Any, use_smtp: Any, send: Any, message_to: Any
) -> None:
    use_smtp(server.port)
    send(message_to('"Doe, Ann" <ann@example.org>'))
    assert server.mails[0]["To"] == "ann@example.org"


def test_what_is_sent_is_what_django_s_own_message_says(send: Any, message_to: Any, in_memory: Any) -> None:
    """What makes it faster changes nothing: the same bytes, but for the boundary and the date."""
    policy: Any = {"policy": email.policy.SMTP} if django.VERSION >= (6, 0) else {}
    send(*[message_to(name, subject=f"Für {name}", html="<p>é</p>") for name in ("ann", "bob")], HEADERS={"X-A": "1"})
    for mail in in_memory:
        plain = EmailMultiAlternatives(mail.subject, mail.body, mail.from_email, mail.to, headers=mail.extra_headers)
        plain.attach_alternative("<p>é</p>", "text/html")
        ours, theirs = (item.message(**policy) for item in (mail, plain))
        for item in (ours, theirs):
            item.replace_header("Date", "Mon, 01 Jan 2035 00:00:00 +0000")
            item.set_boundary("same")
        assert ours.as_bytes() == theirs.as_bytes()


def test_each_message_has_a_boundary_of_its_own(server: Any, use_smtp: Any, send: Any, message_to: Any) -> None:
    use_smtp(server.port)
    files = {"email": {"attachments": [("a.txt", "text")]}}
    send(*[message_to(name, html="<p>Out</p>", extra=files) for name in ("ann", "bob")])
    boundaries = [part.get_boundary() for mail in server.mails for part in mail.walk() if part.is_multipart()]
    assert len(set(boundaries)) == 4


def test_long_links_in_a_header_arrive_whole(server: Any, use_smtp: Any, send: Any, message_to: Any) -> None:
    use_smtp(server.port)
    link = f"<https://example.org/unsubscribe/?a=1,2&b={'0123456789abcdef' * 12}>"
    send(message_to("ann", extra={"email": {"headers": {"List-Unsubscribe": f"{link}, <mailto:out@example.org>"}}}))
    (raw,) = [value for name, value in server.mails[0].raw_items() if name == "List-Unsubscribe"]
    assert "".join(raw.split()) == f"{link},<mailto:out@example.org>"


LONG_LINK = f"<https://example.org/unsubscribe/{'0123456789abcdef' * 12}>"


def test_the_console_shows_long_links_as_they_are_sent(
    use_backend: Any, send: Any, message_to: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    use_backend("django.core.mail.backends.console.EmailBackend")
    send(message_to("ann", extra={"email": {"headers": {"List-Unsubscribe": LONG_LINK}}}))
    assert LONG_LINK in capsys.readouterr().out


def test_files_hold_long_links_as_they_are_sent(use_backend: Any, send: Any, message_to: Any, tmp_path: Path) -> None:
    use_backend("django.core.mail.backends.filebased.EmailBackend", file_path=str(tmp_path))
    send(message_to("ann", extra={"email": {"headers": {"List-Unsubscribe": LONG_LINK}}}))
    (written,) = tmp_path.iterdir()
    assert LONG_LINK in written.read_text()


@pytest.mark.parametrize(
    ("domain", "ascii_domain"),
    [
        # By IDNA 2003 it would be another domain: strasse.example.
        ("straße.example", "xn--strae-oqa.example"),
        ("BÜCHER.example", "xn--bcher-kva.example"),
        ("例え。テスト", "xn--r8jz45g.xn--zckzah"),
    ],
)
def test_domains_are_those_of_idna_2008(
    domain: str, ascii_domain: str, server: Any, use_smtp: Any, send: Any, message_to: Any
) -> None:
    use_smtp(server.port)
    (receipt,) = send(message_to(f"ann@{domain}"), FROM=f"Kino <kino@{domain}>")
    assert receipt.provider_id.endswith(f"@{ascii_domain}")
    assert server.receivers == [f"ann@{ascii_domain}"]
    assert server.mails[0]["From"].addresses[0].addr_spec == f"kino@{ascii_domain}"


@pytest.mark.parametrize(
    ("given", "display_name"),
    [
        ('"Foo, Inc." <x@y.example>', "Foo, Inc."),
        ("Foo, Inc. <x@y.example>", "Foo, Inc."),
        ("Foo (Europe): News; Ltd <x@y.example>", "Foo (Europe): News; Ltd"),
        ('Ann "The Cat" Smith <x@y.example>', "Ann The Cat Smith"),
        (r'"A \"quoted\" name" <x@y.example>', 'A "quoted" name'),
        ("Dr. Foo <x@y.example>", "Dr. Foo"),
        ("Käse, Brot & Söhne <x@y.example>", "Käse, Brot & Söhne"),
        ("<x@y.example>", ""),
    ],
)
def test_a_sender_is_sent_as_the_check_reads_it(
    given: str, display_name: str, server: Any, use_smtp: Any, send: Any, message_to: Any
) -> None:
    use_smtp(server.port)
    (receipt,) = send(message_to("ann"), FROM=given, REPLY_TO=[given])
    assert receipt.outcome is Outcome.SENT
    for header in ("From", "Reply-To"):
        (sender,) = server.mails[0][header].addresses
        assert (sender.display_name, sender.addr_spec) == (display_name, "x@y.example")


def test_nul_and_halves_of_surrogate_pairs_are_replaced_and_the_mail_is_sent(
    server: Any, use_smtp: Any, send: Any, message_to: Any
) -> None:
    use_smtp(server.port)
    message = message_to("ann", subject="lone \ud800 half\0", text="a\0b \udc00", html="<p>a\0b \udc00</p>")
    (receipt,) = send(message)
    assert receipt.outcome is Outcome.SENT
    (mail,) = server.mails
    assert mail["Subject"] == "lone \ufffd half"
    text, html = (mail.get_body((kind,)).get_content().strip() for kind in ("plain", "html"))
    assert (text, html) == ("ab \ufffd", "<p>ab \ufffd</p>")
