"""Regular expressions of conditions: what could take long is refused before it is tried."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsn_core.conditions.patterns import MAX_PATTERN, MAX_TEXT, bounded
from dsn_core.exceptions import ConfigurationError

#: Seconds for searches that take milliseconds; a catastrophic one takes longer than anybody lives.
PATIENCE = 60


@pytest.mark.parametrize(
    "pattern",
    [
        r"(a+)+$", r"(a|a)*$", r"(a|aa)+$", r"(.*a){20}", r"^(\w+\s?)*$", r"(a?){30}a{30}", r".*.*.*=.*", r"(x+x+)+y",
        r"(a*)*b", r"^((ab)*)*$", r"(?:a{0,500}){2}$", r"a*a*a*b", r"(?s:.*)*b", r"^(?:a?b?c?d?){8}x", r"([a-z]+)*\d",
        r"(?:(?:a|b|ab)+)+$", r"^(([a-z])+.)+[A-Z]([a-z])+$", r"(a+?)+?$",
    ],
)  # fmt: skip
def test_catastrophic_patterns_are_refused(pattern):
    with pytest.raises(ConfigurationError, match=r"could take too long to search for\. Begin it with"):
        bounded(pattern)


@pytest.mark.parametrize(
    ("pattern", "reason"),
    [
        ("(", "is no regular expression"),
        ("a{1,99999999999}", "is no regular expression"),
        ("[[a]", "is no regular expression: Possible nested set"),
        (r"(a)\1", "uses groupref, which is not supported"),
        ("(?=a)b", "uses assert, which is not supported"),
        ("(?<!a)b", "uses assert not, which is not supported"),
        ("(a)?(?(1)b|c)", "which is not supported"),
        ("a" * (MAX_PATTERN + 1), "longer than 255"),
    ],
)
def test_what_cannot_be_bounded_is_refused(pattern, reason):
    with pytest.raises(ConfigurationError, match=reason):
        bounded(pattern)


@pytest.mark.parametrize(
    ("pattern", "text", "found"),
    [
        ("urgent|critical", "it is critical", True),
        (r"(?i)\bfree\b", "Get it FREE now", True),
        (r"^[A-Z]{2}\d{6}$", "AB123456", True),
        (r"^[A-Z]{2}\d{6}$", "AB12345", False),
        (r"foo.*bar", "foo and bar", True),
        (r"^.*foo.*$", "no", False),
        (r"\d{4}-\d{2}", "in 2026-03", True),
        (r"(ab)+c", "xababc", True),
        (r"^(?>a+)b", "aaab", True),
        (r"^a++b", "aaab", True),
        ("z$", "a" * MAX_TEXT + "z", False),
    ],
)
def test_patterns_are_searched_for(pattern, text, found):
    assert bounded(pattern).search(text) is found


ATOMS = st.sampled_from(["a", "b", ".", "[ab]", r"\w", "a?", "(a|b)", "(?:ab)", "^", "$", "aa"])
REPEATS = st.sampled_from(["", "", "*", "+", "?", "{0,3}", "{2}", "*?", "{5,}"])
PATTERNS = st.recursive(
    st.tuples(ATOMS, REPEATS).map("".join),
    lambda inner: (
        st.lists(inner, min_size=1, max_size=4).map("".join)
        | st.tuples(inner, REPEATS).map(lambda pair: f"({pair[0]}){pair[1]}")
        | st.tuples(inner, inner).map(lambda pair: f"(?:{pair[0]}|{pair[1]})")
    ),
    max_leaves=6,
)
SEARCHING = """
import json, sys
from dsn_core.conditions.patterns import bounded
for pattern in json.load(sys.stdin):
    for text in ("a" * 500, "ab" * 250, "a" * 499 + "!", "b" * 250 + "a" * 250):
        bounded(pattern).search(text)
print("done")
"""


def test_whatever_is_accepted_is_searched_for_in_time():
    """In another process, since nothing can stop a search that does not end."""
    import json

    accepted: set[str] = set()
    refused: set[str] = set()

    @given(PATTERNS)
    def choose(pattern):
        try:
            bounded(pattern)
        except ConfigurationError:
            refused.add(pattern)
        else:
            accepted.add(pattern)

    choose()
    assert len(accepted) > 20
    assert refused
    done = subprocess.run(
        [sys.executable, "-c", SEARCHING],
        input=json.dumps(sorted(accepted)), capture_output=True, text=True, timeout=PATIENCE, check=False,
    )  # fmt: skip
    assert done.stdout.strip() == "done", done.stderr
