"""The bench: the cost of dsn-core against plain Django code in the same run (``nox -s bench``, or ``python -m bench``).

Absolute times on a shared machine mean nothing; ratios of pieces of work that alternate every few milliseconds do.
"""
