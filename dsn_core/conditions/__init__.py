"""Conditions: what must hold of a signal besides the parts that its trigger names.

:mod:`operators` (as data), :mod:`path_types` (what a path leads to), :mod:`validation` (what is refused when it is
saved), :mod:`wording` (as people type and read them), :mod:`evaluation` (asked of a :mod:`signal_call`),
:mod:`values` (the one table of conversions), :mod:`patterns` (regular expressions with a bounded worst case).
"""
