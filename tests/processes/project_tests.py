"""The tests of somebody's project. Copied to a folder of their own, and run there: see test_projects.py.

In every kind of test, one defines a trigger for each model that it names, and another one looks whether it
is still there.
"""

from __future__ import annotations

import pytest
from django.db import connection
from django.test import SimpleTestCase, TestCase, TransactionTestCase

from dsn_core.models import Event, Trigger
from tests.testapp.models import Movie, Place, TestModel1

MODELS = (Movie, Place, TestModel1)


def define(model):
    Trigger.objects.define("post_save", action_object=model).subscribe()


def check(*expected):
    """Just these models have triggers: the rows say so, and what is saved."""
    labels = Trigger.objects.order_by("action_object_model").values_list("action_object_model", flat=True)
    assert list(labels) == sorted(model._meta.label_lower for model in expected)
    for model in MODELS:
        before = Event.objects.count()
        model.objects.create(name="N")
        assert (Event.objects.count() - before) == (model in expected), model


class TestCaseTests(TestCase):
    @classmethod
    def setUpTestData(cls):
        define(Movie)

    def test_a(self):
        define(Place)
        check(Movie, Place)

    def test_b(self):
        Trigger.objects.all().delete()
        check()

    def test_c(self):
        check(Movie)
        self.client.get("/plain/")
        check(Movie)

    def test_d_on_commit(self):
        with self.captureOnCommitCallbacks(execute=True):
            define(TestModel1)
        check(Movie, TestModel1)


class OtherTestCaseTests(TestCase):
    def test_a(self):
        check()
        with self.assertNumQueries(1):
            Place.objects.count()
        with self.assertNumQueries(0):
            self.client.get("/plain/")


class TransactionTestCaseTests(TransactionTestCase):
    def test_a(self):
        check()
        define(Movie)
        define(TestModel1)
        check(Movie, TestModel1)

    def test_b(self):
        check()
        with self.assertNumQueries(0):
            self.client.get("/plain/")

    def test_c_opens_its_connection_while_it_counts(self):
        connection.close()
        with self.assertNumQueries(1):
            Place.objects.count()


class SerializedTests(TransactionTestCase):
    serialized_rollback = True

    def test_a(self):
        check()
        define(Place)
        check(Place)

    def test_b(self):
        check()


class SimpleTestCaseTests(SimpleTestCase):
    def test_a(self):
        assert self.client.get("/plain/").status_code == 200


@pytest.mark.django_db
class TestWithPytest:
    def test_a(self):
        define(Movie)
        check(Movie)

    def test_b(self, django_assert_num_queries, client):
        check()
        with django_assert_num_queries(0):
            client.get("/plain/")


@pytest.mark.django_db(transaction=True)
class TestCommittingWithPytest:
    def test_a(self):
        define(Place)
        check(Place)

    def test_b(self):
        check()


@pytest.mark.django_db(transaction=True, serialized_rollback=True)
class TestSerializedWithPytest:
    def test_a(self):
        define(Movie)
        check(Movie)

    def test_b(self):
        check()


def test_without_a_database(client):
    assert client.get("/plain/").status_code == 200
