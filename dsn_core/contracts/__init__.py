"""What a plugin author subclasses, returns and is given: plain data, no Django model, no I/O.

Everything public is importable from :mod:`dsn_core`.
"""
