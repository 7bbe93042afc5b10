"""A database that refuses events, with the errors of its driver."""

from __future__ import annotations

import sqlite3

from django.db import OperationalError, connection


def error_of(name):
    """What Django makes of the driver's error."""
    if connection.vendor == "sqlite":
        driver = sqlite3.OperationalError("database is locked")
        driver.sqlite_errorcode = {"busy": 5, "snapshot": 517}[name]
    elif connection.vendor == "postgresql":
        import psycopg

        driver = {
            "busy": psycopg.errors.LockNotAvailable,
            "slow": psycopg.errors.QueryCanceled,
            "serialization": psycopg.errors.SerializationFailure,
            "deadlock": psycopg.errors.DeadlockDetected,
            "lost": psycopg.OperationalError,
        }[name](name)
    else:
        from MySQLdb import OperationalError as Driver

        driver = Driver({"busy": 1205, "slow": 1969, "serialization": 1020, "deadlock": 1213, "lost": 2013}[name], name)
    error = OperationalError(*driver.args)
    error.__cause__ = driver
    return error


PASSING = ["busy", "snapshot"] if connection.vendor == "sqlite" else ["busy", "slow"]
CONFLICTS = ["serialization", "deadlock"]


class Database:
    """Refuses events while :attr:`error` says so, and counts what was tried."""

    def __init__(self, real):
        self.real = real
        self.error = None
        self.tries = 0
        self.ends_after = None

    def refuse(self, name, times=None):
        self.error, self.ends_after = error_of(name), times

    def write(self, events, using):
        self.tries += 1
        if self.error is not None:
            if self.ends_after is not None:
                self.ends_after -= 1
            error = self.error
            if self.ends_after == 0:
                self.error = None
            raise error
        self.real(events, using)
