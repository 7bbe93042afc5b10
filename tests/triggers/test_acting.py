"""Who acts: in requests, sync and async, in tasks and in commands."""

from __future__ import annotations

import asyncio
import threading

import django
import pytest
from asgiref.sync import async_to_sync, iscoroutinefunction, sync_to_async
from django.contrib.auth.models import AnonymousUser, User
from django.core.management import BaseCommand, call_command
from django.db import connection
from django.http import HttpResponse
from django.test import AsyncClient
from django.urls import path
from django.utils.functional import SimpleLazyObject

from dsn_core import acting, emit, muted
from dsn_core.context import acting_user, is_muted
from dsn_core.models import Event
from tests.testapp.models import Country, Movie

MIDDLEWARE = "dsn_core.middleware.ActingUserMiddleware"


def save(request):
    Movie.objects.create(name="M")
    return HttpResponse("saved")


async def asave(request):
    await Movie.objects.acreate(name="M")
    return HttpResponse("saved")


def nothing(request):
    return HttpResponse("nothing")


urlpatterns = [path("save/", save), path("asave/", asave), path("nothing/", nothing)]


@pytest.fixture
def ann(db):
    return User.objects.create_user("ann")


@pytest.fixture(autouse=True)
def pages(settings):
    settings.ROOT_URLCONF = __name__
    settings.DSN = {"RUNNER": "worker"}


@pytest.fixture
def with_middleware(settings):
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, MIDDLEWARE]


def actors():
    return [event.actor_object for event in Event.objects.order_by("id")]


@pytest.mark.parametrize("page", ["/save/", "/asave/"])
@pytest.mark.django_db(transaction=True)
def test_the_user_of_a_request_acts(listen, client, ann, with_middleware, page):
    listen("post_save", action_object=Movie)
    client.get(page)
    client.force_login(ann)
    client.get(page)
    assert actors() == [None, ann]
    assert acting_user() is None


@pytest.mark.parametrize("page", ["/save/", "/asave/"])
@pytest.mark.django_db(transaction=True)
def test_the_user_of_a_request_to_an_async_server_acts(listen, ann, with_middleware, page):
    listen("post_save", action_object=Movie)

    async def visit():
        client = AsyncClient()
        await client.get(page)
        await client.aforce_login(ann)
        await client.get(page)

    async_to_sync(visit)()
    assert actors() == [None, ann]


@pytest.mark.django_db(transaction=True)
def test_without_the_middleware_nobody_does(listen, client, ann):
    listen("post_save", action_object=Movie)
    client.force_login(ann)
    client.get("/save/")
    assert actors() == [None]


def test_triggers_can_ask_for_the_user_of_a_request(listen, client, ann, with_middleware, count):
    by_ann, by_staff = (
        listen("post_save", action_object=Movie, actor_object=ann),
        listen("post_save", action_object=Movie, conditions=[("actor_object.is_staff", "is true")]),
    )
    client.force_login(ann)
    client.get("/save/")
    assert (count(by_ann), count(by_staff)) == (1, 0)
    User.objects.filter(pk=ann.pk).update(is_staff=True)
    client.get("/save/")
    assert (count(by_ann), count(by_staff)) == (2, 1)


def test_the_middleware_asks_nobody_who_it_is_unless_a_trigger_wants_to_know(
    listen, client, ann, with_middleware, django_assert_num_queries
):
    listen("post_save", action_object=Country)
    client.force_login(ann)
    with django_assert_num_queries(0):
        client.get("/nothing/")
    with django_assert_num_queries(1):
        client.get("/save/")


def test_acting_holds_for_its_block_and_the_innermost_counts(listen, ann):
    bob = User.objects.create_user("bob")
    listen("post_save", action_object=Movie)
    movie = Movie(name="M")
    movie.save()
    with acting(ann):
        movie.save()
        with acting(bob):
            movie.save()
        with acting(None):
            movie.save()
        movie.save()
    with pytest.raises(ZeroDivisionError), acting(ann):
        raise ZeroDivisionError
    movie.save()
    assert actors() == [None, ann, bob, None, ann, None]


def test_who_can_act(listen, ann):
    listen("post_save", action_object=Movie)
    movie = Movie.objects.create(name="M")
    Event.objects.all().delete()
    for user in (SimpleLazyObject(lambda: ann), AnonymousUser(), SimpleLazyObject(AnonymousUser), movie):
        with acting(user):
            movie.save()
    assert actors() == [ann, None, None, movie]
    for wrong in ("ann", 5, User):
        with pytest.raises(TypeError, match="takes a user"):
            acting(wrong)


def test_what_a_signal_says_itself_counts_more(listen, ann, released, client):
    bob = User.objects.create_user("bob")
    listen("released")
    listen("user_logged_in")
    with acting(bob):
        released.send(sender=None, who=ann)
        released.send(sender=None, who=None)
        released.send(sender=None)
        emit("released", actor_object=ann)
        emit("released")
        client.force_login(ann)
    assert actors() == [ann, None, bob, ann, bob, ann]


class Command(BaseCommand):
    """A project's command."""

    def handle(self, *args, **options):
        with acting(User.objects.get(username="ann")):
            Movie.objects.create(name="M")


def test_a_command_acts_for_somebody(listen, ann):
    listen("post_save", action_object=Movie)
    call_command(Command())
    with acting(ann):
        call_command(Command())
    assert actors() == [ann, ann]


def release():
    """A task."""
    Movie.objects.create(name="M")


@pytest.mark.skipif(django.VERSION < (6, 0), reason="Django 5.2 has no tasks.")
def test_a_task_acts_for_somebody(listen, ann, settings):
    from django.tasks import task

    settings.TASKS = {"default": {"BACKEND": "django.tasks.backends.immediate.ImmediateBackend"}}
    listen("post_save", action_object=Movie)
    with acting(ann):
        task(release).enqueue()
    assert actors() == [ann]


@pytest.mark.parametrize("block", [acting, lambda user: muted()])
def test_blocks_decorate_functions_and_async_ones(ann, block):
    def state():
        return acting_user() or is_muted()

    @block(ann)
    def plain():
        return state()

    @block(ann)
    async def later():
        await asyncio.sleep(0)
        return state(), await sync_to_async(state)()

    assert iscoroutinefunction(later)
    expected = ann if block is acting else True
    assert (plain(), plain(), state()) == (expected, expected, False)
    assert async_to_sync(later)() == (expected, expected)
    assert plain.__name__ == "plain"


def test_tasks_and_threads_have_their_own(ann):
    bob = User(pk=77, username="bob")
    seen = []

    async def act(user, pause):
        with acting(user):
            await asyncio.sleep(pause)
            seen.append(acting_user())

    async def together():
        await asyncio.gather(act(ann, 0.02), act(bob, 0.01))

    async_to_sync(together)()
    assert seen == [bob, ann]
    with acting(ann):
        thread = threading.Thread(target=lambda: seen.append(acting_user()))
        thread.start()
        thread.join(10)
    assert seen[-1] is None


@pytest.mark.django_db(transaction=True)
def test_whoever_acts_reaches_what_is_sent_from_a_coroutine(listen, ann, released):
    listen("released")

    async def work():
        with acting(ann):
            await released.asend(sender=None)
            await released.asend_robust(sender=None)

    async_to_sync(work)()
    assert actors() == [ann, ann]
    assert connection.in_atomic_block is False
