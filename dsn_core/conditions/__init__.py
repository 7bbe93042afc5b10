"""Conditions on a signal, in addition to the parts that its trigger names.

:mod:`operators` (conditions as data), :mod:`path_types` (the types that paths lead to), :mod:`validation` (when they
are saved), :mod:`wording` (as texts in forms), :mod:`evaluation` (for a :mod:`signal_call`), :mod:`values` (conversions
between types), :mod:`patterns` (regular expressions with a bounded worst case).
"""
