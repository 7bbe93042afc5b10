"""Where texts are cut."""

from __future__ import annotations

import regex
from hypothesis import given
from hypothesis import strategies as st

from dsn_core.kit import LINE, PARAGRAPH, WORD, cluster_ends, place_to_cut, without_leading_space

FAMILY = "👨\u200d👩\u200d👧\u200d👦"
ALL = [(PARAGRAPH, 0.5), (LINE, 0.5), (WORD, 0.0)]


def test_what_looks_like_one_sign_ends_once() -> None:
    assert list(cluster_ends(f"a{FAMILY}e\u0301b")) == [1, 8, 10, 11]
    assert list(cluster_ends(f"a{FAMILY}b", 1)) == [8, 9]


def test_the_best_place_is_taken_first() -> None:
    text = "one two\n\nthree four\nfive six"
    assert text[: place_to_cut(text, 24, between=ALL)] == "one two\n\nthree four"
    assert text[: place_to_cut(text, 14, between=ALL)] == "one two"
    assert text[: place_to_cut(text, 17, between=[(WORD, 0.0)])] == "one two\n\nthree"
    assert text[: place_to_cut(text, 13, between=[(WORD, 0.9)])] == "one two\n\nthre"
    assert text[: place_to_cut(text, 13, between=[])] == "one two\n\nthre"


def test_a_piece_in_the_middle_counts_from_where_it_begins() -> None:
    text = "one two three four"
    assert text[8 : place_to_cut(text, 16, 8, between=ALL)] == "three"


def test_only_a_cluster_that_is_longer_than_the_piece_is_cut() -> None:
    assert place_to_cut(f"ab{FAMILY}", 5, between=ALL) == 2
    assert place_to_cut(f"{FAMILY}ab", 5, between=ALL) == 5


def test_white_space_with_an_accent_is_none() -> None:
    assert place_to_cut("one \u0301two three", 8, between=ALL) == 8
    assert without_leading_space("  \n one", 0) == 4
    assert without_leading_space(" \u0301one", 0) == 0


@given(st.text(alphabet="ab \n\u0301👨\u200d👩🇩🇪", min_size=1, max_size=60), st.integers(1, 60))
def test_pieces_are_whole_clusters_within_reach_and_nothing_is_empty(text: str, reach: int) -> None:
    cut = place_to_cut(text, min(reach, len(text)), between=ALL)
    assert 0 <= cut <= reach
    whole = {0, *(found.end() for found in regex.finditer(r"\X", text))}
    first = regex.match(r"\X", text)
    assert first is not None
    assert cut in whole or first.end() > reach
