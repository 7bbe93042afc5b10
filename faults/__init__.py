"""Fault tests: workers are really killed, stopped and cut off, and losses and duplicates are counted.

``nox -s faults`` runs them in their short form; ``nox -s faults -- --full`` with the figures of the scorecard.
By hand: ``DSN_TEST_DATABASE=postgresql python -m pytest faults``. Each test prints its figures at the end.
"""
