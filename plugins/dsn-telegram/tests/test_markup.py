"""What becomes of a message's parts: Telegram's HTML, and pieces that Telegram takes."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest
import regex
from hypothesis import given
from hypothesis import strategies as st

from dsn_telegram import markup
from dsn_telegram.splitting import MESSAGE_UNITS, pieces, units

_spec = importlib.util.spec_from_file_location("bot_api", Path(__file__).with_name("bot_api.py"))
assert _spec is not None
assert _spec.loader is not None
bot_api: Any = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(bot_api)


def converted(html: str) -> str:
    return markup.to_html(markup.from_html(html))


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ("<b>a</b><strong>b</strong><em>c</em>", "<b>ab</b><i>c</i>"),
        ("<u>a</u><ins>b</ins> <s>c</s><del>d</del>", "<u>ab</u> <s>cd</s>"),
        ("a &amp; b &lt;c&gt; &quot;d&quot;", 'a &amp; b &lt;c&gt; "d"'),
        ("<p>One</p>\n<p>Two<br>three</p>", "One\n\nTwo\nthree"),
        ("<h1>Title</h1><div>x</div><div>y</div>", "<b>Title</b>\n\nx\ny"),
        ("<ul><li>a</li><li>b</li></ul><ol><li>c<li>d</ol>", "• a\n• b\n\n1. c\n2. d"),
        ('<a href="https://x.example/?a=1&amp;b=2">go</a>', '<a href="https://x.example/?a=1&amp;b=2">go</a>'),
        ('<a href="/relative">go</a> <a href="javascript:alert(1)">no</a>', "go no"),
        ('<a href="mailto:ops@x.example">write</a>', "write (ops@x.example)"),
        ('<a href="https://x.example/"><img src="x"></a>', '<a href="https://x.example/">https://x.example/</a>'),
        ('<img src="x" alt="A cat">', "A cat"),
        ("<script>alert(1)</script><style>b{}</style><title>t</title>x", "x"),
        ("<table><tr><th>a</th><td>1</td></tr><tr><td>b</td></tr></table>", "<b>a</b> 1\nb"),
        ("<code>a <b>b</b></code> <b><code>c</code></b>", "<code>a b</code> <b>c</b>"),
        ("<pre>  x\n<code class='language-py'>y</code></pre>", '<pre>  x\n<code class="language-py">y</code></pre>'),
        ("<blockquote>a<blockquote>b</blockquote></blockquote>", "<blockquote>a\n\nb</blockquote>"),
        ("<blockquote expandable>a</blockquote>", "<blockquote expandable>a</blockquote>"),
        ('<span class="tg-spoiler">a</span><tg-spoiler>b</tg-spoiler>', "<tg-spoiler>ab</tg-spoiler>"),
        ("<b>a <i>b</b> c</i>", "<b>a <i>b</i></b> <i>c</i>"),
        ("<b>never closed", "<b>never closed</b>"),
        ("closed </b> too often </p>", "closed too often"),
        ("  much \n\t white   space ", "much white space"),
        ('<a href="https://x.example/&quot; onclick=&quot;x">go</a>', "go"),
        ("a\0b\ud800c", "ab\ufffdc"),
        ("<!-- nothing --><p> </p>", ""),
    ],
)  # fmt: skip
def test_html_becomes_what_telegram_can_show(given: str, wanted: str) -> None:
    assert converted(given) == wanted
    bot_api.parse_html(wanted)


def test_text_is_escaped_and_otherwise_as_it_is() -> None:
    (run,) = markup.from_text("  a <b> & c\r\n  d\n")
    assert run.text == "a <b> & c\n  d"
    assert markup.to_html([run]) == "a &lt;b&gt; &amp; c\n  d"


def test_the_subject_stands_on_top_in_bold_unless_the_body_begins_with_it() -> None:
    assert markup.to_html(markup.runs_of(subject="A & B", text="Text", html="")) == "<b>A &amp; B</b>\n\nText"
    assert markup.to_html(markup.runs_of(subject="A", text="", html="<p>x</p>")) == "<b>A</b>\n\nx"
    assert markup.to_html(markup.runs_of(subject="A", text="", html="")) == "<b>A</b>"
    assert markup.to_html(markup.runs_of(subject="A", text="", html="<h1>A</h1>x")) == "<b>A</b>\n\nx"


@pytest.mark.parametrize(
    ("subject", "text"),
    [("Sale", "Sale ends today"), ("A", "Ann"), ("Sale", "Summer Sale"), ("Sale", "Sales\nSale")],
)
def test_a_subject_stays_unless_it_is_the_whole_first_line(subject: str, text: str) -> None:
    assert markup.plain(markup.runs_of(subject=subject, text=text, html="")) == f"{subject}\n\n{text}"


@pytest.mark.parametrize("text", ["Sale\nToday", "Sale", "  Sale  \r\nToday"])
def test_a_subject_that_is_the_whole_first_line_is_left_out(text: str) -> None:
    assert markup.plain(markup.runs_of(subject="Sale", text=text, html="")).count("Sale") == 1


HTML = st.lists(
    st.sampled_from(
        ["<b>", "</b>", "<i>", "</i>", "<p>", "</p>", "<pre>", "</pre>", "<code>", "</code>", "<a href='https://x'>",
         "</a>", "<blockquote>", "</blockquote>", "<ul>", "<li>", "</ul>", "<br>", "<h2>", "</h2>", "<script>",
         "</script>", "&amp;", "&lt;", "<", ">", "&", '"', " ", "\n", "word", "👩‍🚀", "é"]
    )
    | st.text(max_size=5),
    max_size=40,
).map("".join)  # fmt: skip


@given(HTML)
def test_whatever_comes_in_telegram_can_parse_what_goes_out(source: str) -> None:
    runs = markup.from_html(source)
    assert bot_api.parse_html(markup.to_html(runs)) == markup.plain(runs)


@given(HTML, st.integers(1, 30))
def test_pieces_keep_the_limit_all_words_and_all_tags(source: str, limit: int) -> None:
    runs = markup.from_html(source)
    text = markup.plain(runs)
    limit = max(limit, 2)  # an emoji has two units
    cuts = list(pieces(text, limit))
    assert all(0 < units(text[start:end]) <= limit for start, end in cuts)
    assert "".join("".join(text[start:end].split()) for start, end in cuts) == "".join(text.split())
    for part, (start, end) in zip(markup.slices(runs, cuts), cuts, strict=True):
        assert bot_api.parse_html(markup.to_html(part)) == text[start:end]


def cut(text: str, limit: int = MESSAGE_UNITS) -> list[str]:
    return [text[start:end] for start, end in pieces(text, limit)]


def test_a_text_that_fits_is_one_piece_and_an_empty_one_none() -> None:
    assert cut("a" * 4096) == ["a" * 4096]
    assert cut("👩" * 2048) == ["👩" * 2048]
    assert [units(piece) for piece in cut("👩" * 2049)] == [4096, 2]
    assert cut(" \n ") == []


def test_it_is_cut_between_paragraphs_else_lines_else_words() -> None:
    assert cut("aaaa bbbb\n\ncc dd\nee", 16) == ["aaaa bbbb", "cc dd\nee"]
    assert cut("aaaa bbbb\ncc dd ee", 14) == ["aaaa bbbb", "cc dd ee"]
    assert cut("aaaa bbbb cc", 11) == ["aaaa bbbb", "cc"]
    # Not for a paragraph's sake where the piece would be tiny.
    assert cut("a\n\nbbbb cccc dddd", 14) == ["a\n\nbbbb cccc", "dddd"]
    assert cut("a" * 10, 4) == ["aaaa", "aaaa", "aa"]


CLUSTERS = [
    "👩\u200d🚀",
    "👍🏽",
    "🇩🇪",
    "e\u0301",
    "1\ufe0f\u20e3",
    "🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f",
    "👨\u200d👩\u200d👧\u200d👦",
    "क\u094dषि",
    "นำ",
    "각",
]


@pytest.mark.parametrize("cluster", CLUSTERS)
def test_what_looks_like_one_sign_is_not_cut(cluster: str) -> None:
    for piece in cut(cluster * 40, 3 * units(cluster) + 1):
        assert piece.replace(cluster, "") == ""


@given(st.text(alphabet=st.sampled_from("ab \n\r\u0301\u200d👩🏽🇩🇪🏴\U000e0067\U000e007f\u0600क\u094d"), max_size=80))
def test_no_cut_is_within_a_cluster(text: str) -> None:
    ends = {0, *(found.end() for found in regex.finditer(r"\X", text))}
    longest = max((units(found[0]) for found in regex.finditer(r"\X", text)), default=1)
    for start, end in pieces(text, longest + 3):
        assert {start, end} <= ends


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ("<head><title>T</title><style>b{}</style><p>Hello <b>Ann</b>", "Hello <b>Ann</b>"),
        ('<a href="tel:+4930123456">Call <i>us</i></a>', "Call <i>us</i> (+4930123456)"),
        ("<b>" * 50 + "deep" + "</b>" * 50 + " and out", "<b>deep</b> and out"),
    ],
)
def test_html_is_read_as_for_every_other_messenger(given: str, wanted: str) -> None:
    assert converted(given) == wanted
