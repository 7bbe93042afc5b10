"""Helpers for plugins: what more than one plugin needs, and what the core has already.

Importing it needs no Django that is set up, and no library of an extra: what needs one says so when it is used.
:mod:`dsn_core.kit.http` and :mod:`dsn_core.kit.database` are modules of their own.
"""

from __future__ import annotations

from dsn_core.contracts.html import Element, Piece, html_to_text, read_html
from dsn_core.contracts.messages import clean_text
from dsn_core.exceptions import nearest
from dsn_core.kit.accounts import CONFIGURATION_PAUSE, accounts_of, options_of
from dsn_core.kit.cutting import LINE, PARAGRAPH, WORD, cluster_ends, place_to_cut, without_leading_space
from dsn_core.kit.parallel import in_parallel
from dsn_core.masking import causes_of
from dsn_core.plugins.errors import describe

__all__ = [
    "CONFIGURATION_PAUSE",
    "LINE",
    "PARAGRAPH",
    "WORD",
    "Element",
    "Piece",
    "accounts_of",
    "causes_of",
    "clean_text",
    "cluster_ends",
    "describe",
    "html_to_text",
    "in_parallel",
    "nearest",
    "options_of",
    "place_to_cut",
    "read_html",
    "without_leading_space",
]
