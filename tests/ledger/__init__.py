"""An app for tests with processes of their own: its messenger ``ledger`` writes down who sent what.

A test gives the processes that it starts the environment of :func:`tests.ledger.books.environment`,
and reads the book when they are done: what is missing is lost, what stands there twice is doubled.
"""
