"""The classes that plugins subclass, return and are given: plain data, no Django model, no I/O.

Everything public is importable from :mod:`dsn_core`.
"""
