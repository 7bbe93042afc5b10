"""Septets, UTF-16 units and segments."""

from __future__ import annotations

import pytest
import regex
from hypothesis import given
from hypothesis import strategies as st

from dsn_sms.encoding import ALONE, BASIC, EACH, EXTENSION, measure
from dsn_sms.texts import TooLong, clean, fit, without_typography


def test_the_alphabet_is_that_of_the_standard() -> None:
    # 3GPP TS 23.038: 128 places, of which one is the escape; ten characters in the extension table.
    assert len(BASIC) == 127
    assert len(EXTENSION) == 10
    assert not BASIC & EXTENSION


@pytest.mark.parametrize(
    ("text", "encoding", "units", "segments"),
    [
        ("", "GSM-7", 0, 1),
        ("a" * 160, "GSM-7", 160, 1),
        ("a" * 161, "GSM-7", 161, 2),
        ("a" * 306, "GSM-7", 306, 2),
        ("a" * 307, "GSM-7", 307, 3),
        ("€" * 80, "GSM-7", 160, 1),
        ("€" * 81, "GSM-7", 162, 2),
        # 153 is odd: an escape is not parted from its character, so that 76 fit into a segment.
        ("€" * 152, "GSM-7", 304, 2),
        ("€" * 153, "GSM-7", 306, 3),
        ("[{|}]~^\\€", "GSM-7", 18, 1),
        ("Grüße à l'Øre ΔΩ ¿ ¡ @£$¥", "GSM-7", 25, 1),
        ("ç", "UCS-2", 1, 1),  # GSM-7 has only the capital letter
        ("ж" * 70, "UCS-2", 70, 1),
        ("ж" * 71, "UCS-2", 71, 2),
        ("ж" * 134, "UCS-2", 134, 2),
        ("ж" * 135, "UCS-2", 135, 3),
        ("🎬" * 35, "UCS-2", 70, 1),
        ("🎬" * 36, "UCS-2", 72, 2),
        # 67 is odd, too: 33 surrogate pairs fit into a segment.
        ("🎬" * 66, "UCS-2", 132, 2),
        ("🎬" * 67, "UCS-2", 134, 3),
        ("a" * 159 + "ж", "UCS-2", 160, 3),
        ("`", "UCS-2", 1, 1),
        ("\t", "UCS-2", 1, 1),
    ],
)
def test_a_text_takes_so_many_segments(text: str, encoding: str, units: int, segments: int) -> None:
    size = measure(text)
    assert (size.encoding, size.units, size.segments) == (encoding, units, segments)


@given(st.text(alphabet=st.sampled_from("aé€[🎬жÜ\n 1"), max_size=700))
def test_segments_are_those_of_a_plain_count(text: str) -> None:
    size = measure(text)
    costs = [
        (2 if c in EXTENSION else 1) if size.encoding == "GSM-7" else len(c.encode("utf-16-le")) // 2 for c in text
    ]
    assert size.units == sum(costs)
    if size.units <= ALONE[size.encoding]:
        assert size.segments == 1
        return
    room = [0]
    for cost in costs:
        if room[-1] + cost > EACH[size.encoding]:
            room.append(0)
        room[-1] += cost
    assert size.segments == len(room)


# Cleaning and typography


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("a\r\nb\rc\u2028d", "a\nb\nc\nd"),
        ("  hello \n", "hello"),
        ("nul\x00 and bell\x07 and feed\x0c", "nul and bell and feed"),
        ("half \ud83c of an emoji", "half \ufffd of an emoji"),
        ("two halves \ud83c\udfac", "two halves 🎬"),
        ("u\u0308ber", "über"),
    ],
)
def test_a_text_is_cleaned(text: str, cleaned: str) -> None:
    assert clean(text) == cleaned


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("“Solaris” – it’s out…", '"Solaris" - it\'s out...'),  # noqa: RUF001
        ("«à»\u00a0\u200bx", '"à" x'),
        ("10\u202f€", "10 €"),
        ("tab\there", "tab here"),
        # It needs UCS-2 anyway: the quotation marks stay.
        ("“Солярис”", "“Солярис”"),
        ("“🎬”", "“🎬”"),
        ("plain", "plain"),
    ],
)
def test_typography_goes_where_that_saves_segments(text: str, plain: str) -> None:
    assert without_typography(text) == plain


# The limit


def test_a_text_that_fits_stays_as_it_is() -> None:
    text = "a" * 153 * 3
    assert fit(text, segments=3, characters=1600, cut=False) == text


def test_a_longer_one_is_refused_with_its_size() -> None:
    with pytest.raises(TooLong, match="307 characters and takes 3 segments of GSM-7; 2 segments"):
        fit("a" * 307, segments=2, characters=1600, cut=False)
    with pytest.raises(TooLong, match="100 characters are allowed"):
        fit("a" * 101, segments=2, characters=100, cut=False)


@pytest.mark.parametrize(
    ("text", "segments", "expected"),
    [
        ("a" * 161, 1, "a" * 157 + "..."),
        ("ж" * 71, 1, "ж" * 69 + "…"),
        ("word " * 40, 1, ("word " * 31).strip() + "..."),
        ("€" * 90, 1, "€" * 78 + "..."),
        ("🎬" * 40, 1, "🎬" * 34 + "…"),
        # An accent, a skin tone and a joined emoji stay whole.
        ("ж" * 66 + "👩\u200d🚀" + "ж" * 20, 1, "ж" * 66 + "…"),
        ("ж" * 67 + "👍🏽" + "ж" * 20, 1, "ж" * 67 + "…"),
        # So do flags, of countries and of their parts, and families.
        ("ж" * 60 + "🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f" * 2, 1, "ж" * 60 + "…"),
        ("ж" * 63 + "🇩🇪🇫🇷" + "ж" * 20, 1, "ж" * 63 + "🇩🇪…"),
        ("ж" * 61 + "👨\u200d👩\u200d👧\u200d👦" + "ж" * 20, 1, "ж" * 61 + "…"),
        ("ж" * 68 + "क\u094dषि" + "ж" * 20, 1, "ж" * 68 + "…"),
        # An accent on a blank makes it one sign with it.
        ("ж" * 60 + " \u0301" + "ж" * 20, 1, "ж" * 60 + " \u0301" + "ж" * 7 + "…"),
    ],
)
def test_a_text_is_cut_with_an_ellipsis(text: str, segments: int, expected: str) -> None:
    assert fit(text, segments=segments, characters=1600, cut=True) == expected


@given(
    st.text(alphabet=st.sampled_from("abc dé€[🎬ж👩\u200d🚀🏽\u0301\n"), max_size=900),
    st.integers(1, 5),
    st.integers(20, 400),
)
def test_what_is_cut_fits_and_is_a_beginning(text: str, segments: int, characters: int) -> None:
    cut = fit(text, segments=segments, characters=characters, cut=True)
    assert measure(cut).segments <= segments
    assert len(cut) <= max(characters, 0) or cut == text
    if cut != text:
        beginning = cut.removesuffix("...").removesuffix("…")
        assert text.startswith(beginning)
        ends = {0, *(found.end() for found in regex.finditer(r"\X", text))}
        assert len(beginning) in ends
