"""Message, and text made from HTML."""

from __future__ import annotations

import copy
import pickle
import sys

import pytest

from dsn_core import Message
from dsn_core.contracts.html import html_to_text
from dsn_core.contracts.messages import looks_like_html


def test_it_is_the_text_that_it_carries() -> None:
    message = Message("Hello", subject="Hi", html="<p>Hello</p>")
    assert message == "Hello"
    assert f"{message}!" == "Hello!"
    assert (message.text, message.html, message.subject) == ("Hello", "<p>Hello</p>", "Hi")


def test_without_text_it_is_its_html_and_the_text_is_made_from_it() -> None:
    message = Message(html="<h1>Hi</h1><p>Ann &amp; Bob</p>")
    assert message == "<h1>Hi</h1><p>Ann &amp; Bob</p>"
    assert message.text == "Hi\n\nAnn & Bob"


@pytest.mark.parametrize("line_break", ["\n", "\r", "\r\n", "\v", "\f", "\x1c", "\x85", "\u2028", "\u2029"])
def test_the_subject_is_one_line(line_break: str) -> None:
    assert Message("x", subject=f"  Hello{line_break}Bcc: eve@example.org ").subject == "Hello Bcc: eve@example.org"


@pytest.mark.parametrize("clone", [copy.copy, copy.deepcopy, lambda message: pickle.loads(pickle.dumps(message))])  # noqa: S301 - our own
def test_copies_keep_every_part(clone) -> None:
    message = Message("text", subject="s", html="<p>h</p>", id="1.2", address="a@b.c", extra={"email": {"x": 1}})
    again = clone(message)
    assert type(again) is Message
    assert again == "text"
    assert vars(again) == vars(message)
    made = clone(Message(html="<p>only</p>", subject="s"))
    assert (made, made.text, made.subject) == ("<p>only</p>", "only", "s")


def test_repr_says_who_and_what_and_not_the_body() -> None:
    assert repr(Message("private", subject="Hi", id="1", address="a@b.c")) == "<Message 1 to a@b.c: 'Hi'>"
    assert repr(Message("private")) == "<Message (no id) to (no receiver): ''>"


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("<p>one</p>\n\n<p>two</p>", "one\n\ntwo"),
        ("one<br>two<br/>three", "one\ntwo\nthree"),
        ("<ul><li>a</li><li>b</li></ul>", "- a\n- b"),
        ('<a href="https://example.org/x">here</a>', "here (https://example.org/x)"),
        ('<a href="https://example.org">https://example.org</a>', "https://example.org"),
        ('<a href="javascript:alert(1)">x</a>', "x"),
        ("<head><title>T</title></head><style>p{}</style><script>x()</script><p>body</p>", "body"),
        ("<table><tr><td>a</td><td>b</td></tr><tr><td>c</td></tr></table>", "a b\nc"),
        ('<img src="x" alt="A cat"> &lt;b&gt;', "A cat <b>"),
        ("  many \n spaces\tand lines ", "many spaces and lines"),
        ("<p>unclosed <b>tags", "unclosed tags"),
        ("", ""),
    ],
)
def test_html_becomes_readable_text(html: str, text: str) -> None:
    assert html_to_text(html) == text


@pytest.mark.parametrize(
    ("source", "is_html"),
    [
        ("<p>x</p>", True),
        ("a<br>b", True),
        ("<!DOCTYPE html>x", True),
        ("1 < 2 and 3 > 2", False),
        ("Hello {{ user }}", False),
    ],
)
def test_what_counts_as_html(source: str, is_html: bool) -> None:
    assert looks_like_html(source) is is_html


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ("a\0b", "ab"),
        ("half \ud83d of a pair", "half \ufffd of a pair"),
        ("\udc00", "\ufffd"),
        ("\ud83d\ude00", "\U0001f600"),
        ("\0\ud800\0", "\ufffd"),
        ("Grüße \U0001f600", "Grüße \U0001f600"),
    ],
    ids=ascii,
)
def test_nul_and_halves_of_surrogate_pairs_are_replaced_in_each_part(given: str, sent: str) -> None:
    message = Message(given, subject=given, html=f"<p>{given}</p>")
    assert (message.text, str(message), message.subject, message.html) == (sent, sent, sent, f"<p>{sent}</p>")
    assert Message(html=f"<p>{given}</p>").text == sent


@pytest.mark.parametrize(
    ("html", "text"),
    [
        # As html-minifier writes it: without </head>, without <body>, without </p>.
        ("<!doctype html><html><head><title>T</title><style>p{}</style><p>Hello<p>Ann", "Hello\n\nAnn"),
        ("<head><meta charset=utf-8><title>T</title>Hello", "Hello"),
        ("<head><title>T</title></html>Hello<title>again</title> Ann", "Hello Ann"),
        ("<title>1 <b> 2</title>x", "x"),
        ("<script>if (a < b) { '</p>' }</script>x", "x"),
        ("a<template><p>b<template>c</template></p></template>d", "ad"),
        ("<!--[if mso]><p>Outlook</p><![endif]-->a<![if !mso]>b<![endif]><!-->c", "abc"),
    ],
)
def test_hidden_is_what_html5_hides_and_no_more(html: str, text: str) -> None:
    assert html_to_text(html) == text


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ('<a href="mailto:ops@example.org?subject=Help%20me">Write to us</a>', "Write to us (ops@example.org)"),
        ('<a href="MAILTO:a%2Bb@example.org">write</a>', "write (a+b@example.org)"),
        ('<a href="mailto:ops@example.org">ops@example.org</a>', "ops@example.org"),
        ('<a href="tel:+4930123456">Call us</a>', "Call us (+4930123456)"),
        ('<a href="tel:+4930123456">+49 (30) 123-456</a>', "+49 (30) 123-456"),
        ('<a href="https://example.org/"><img src="x"></a>', "https://example.org/"),
        ('<a href="https://example.org/"><p>Pay</p></a><p>Bye', "Pay (https://example.org/)\n\nBye"),
        (
            '<a href="https://a.example/">a <a href="https://b.example/">b',
            "a (https://a.example/) b (https://b.example/)",
        ),
        ('<a href="/relative">here</a> <a href="#top">up</a>', "here up"),
    ],
)
def test_where_links_lead_stands_behind_them(html: str, text: str) -> None:
    assert html_to_text(html) == text


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ('<a href="x>never closed</a><b>bold</b>', "never closedbold"),
        ("1 < 2 <b", "1 < 2 <b"),
        ("a <!-- never closed", "a"),
        ("<p title=it's>x</p> it's", "x\n\nit's"),
        ("a</p>b</div>c</>d", "a\n\nbcd"),
        ("&#" + "9" * 5_000 + ";x", "\ufffdx"),
        ("<pre>\n  a\n   b</pre>", "a\n   b"),
        ("a&nbsp;b<p>&nbsp;</p><p>c", "a b\n\nc"),
        ("<ol><li>a<ul><li>b</ul><li>c</ol>", "1. a\n- b\n2. c"),
    ],
)
def test_broken_html_keeps_its_words(html: str, text: str) -> None:
    assert html_to_text(html) == text


@pytest.mark.parametrize(
    "broken", ["<a ", '<a href="', "<b></i>", "<a href=x>y", "<b><i>x</b>", "<ul><li>", "<!--", "&#9"]
)
def test_the_work_grows_with_the_length_and_no_faster(broken: str) -> None:
    """Counted in calls of Python's functions, which do not depend on how busy the machine is."""

    def calls(times: int) -> int:
        count = 0

        def note(frame: object, event: str, argument: object) -> None:
            nonlocal count
            count += event in ("call", "c_call")

        sys.setprofile(note)
        try:
            html_to_text(broken * times)
        finally:
            sys.setprofile(None)
        return count

    assert calls(4_000) < 5 * calls(1_000)
