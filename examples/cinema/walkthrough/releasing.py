"""The steps in which movies are released: one in vain, and one of which people hear."""

from __future__ import annotations

import contextlib
import io

from walkthrough import expected
from walkthrough.expected import MOVIE
from walkthrough.output import WIDTH, quote, say, step
from walkthrough.world import World


class ProjectorBrokeError(Exception):
    """What goes wrong in the release that is rolled back."""


def release_in_vain(world: World) -> list[str]:
    from django.contrib.auth.models import User
    from django.db import transaction

    from cinema.models import Movie
    from dsn_core.models import Delivery, Event

    step("A release that fails half-way")
    say("Stalker is released, but then the projector breaks and the transaction rolls back.")
    with contextlib.suppress(ProjectorBrokeError), transaction.atomic():
        Movie.objects.get(name="Stalker").release(by=User.objects.get(username="admin"))
        raise ProjectorBrokeError
    found = {"events": Event.objects.count(), "deliveries": Delivery.objects.count()} | world.arrived()
    say(f"It left {', '.join(f'{number} {name}' for name, number in found.items())}.")
    return [f"The release that was rolled back left {number} {name}." for name, number in found.items() if number]


def release(world: World) -> list[str]:
    from django.contrib.auth.models import User
    from django.core.management import call_command

    from cinema.models import Movie
    from dsn_core.models import Delivery

    step(f"{MOVIE} is released")
    say("Mail server, Bot API and SMS provider are stand-ins on this machine; all else is what you would install.")
    say("The movie is saved, which fires post_save (the built-in console messenger prints it below), "
        "and then the cinema sends its own signal, movie_released.")  # fmt: skip
    print()
    Movie.objects.get(name=MOVIE).release(by=User.objects.get(username="admin"))

    def is_sent() -> bool:
        # Eve's chat takes one message a second. What waits for its turn is sent by a worker, which a site has.
        call_command("dsn_worker", once=True, stdout=io.StringIO())
        return not Delivery.objects.filter(finished_at=None).exists()

    return [] if world.wait_for(is_sent) else ["Not all deliveries came to an end."]


def show_mails(world: World) -> list[str]:
    step("The e-mails, as the mail server received them")
    for mail in sorted(world.smtp.mails, key=lambda item: item.to):
        because = (expected.MAILS | expected.NO_MAIL).get(mail.receivers[0], "not expected")
        print(f"  To: {mail.to}  ({because})"[:WIDTH])
        print(f"  Subject: {mail.subject}"[:WIDTH])
        for line in mail.first_lines(3):
            print(f"  | {line.rstrip()}"[:WIDTH])
        print()
    say(f"{len(world.smtp.mails)} e-mails, each with its text and the same as HTML.")
    return expected.wrong_mails(world.smtp.mails)


def show_telegram(world: World) -> list[str]:
    step("The Telegram messages, as the Bot API received them")
    messages = [message for message in world.bot.ask("/_messages") if MOVIE in message["text"]]
    for message in sorted(messages, key=lambda item: str(item["chat"])):
        print(f"  To: chat {message['chat']}  ({expected.CHATS.get(message['chat'], 'not expected')})")
        quote(message["text"])
        print()
    say(f"{len(messages)} messages. Hal has blocked the bot: the Bot API answered 403, and he is not tried again.")
    return expected.wrong_messages("Telegram message", expected.CHATS, [item["chat"] for item in messages])


def show_sms(world: World) -> list[str]:
    from dsn_core.models import Delivery

    step("The SMS, as the provider received them, and its reports")
    messages = world.sms.ask("/_messages")
    for message in sorted(messages, key=lambda item: str(item["to"])):
        print(f"  To: {message['to']}  ({expected.NUMBERS.get(message['to'], 'not expected')})")
        quote(message["text"])
        print()
    say(f"{len(messages)} SMS. Ida has answered STOP to an earlier one: the provider refused hers (21610).")
    sent = Delivery.objects.filter(messenger="sms", status="sent")
    before = sorted(sent.values_list("report", flat=True))
    answers = world.sms.ask("/_report", {})
    after = sorted(sent.values_list("report", flat=True))
    print()
    say("Then the telephones got them, and the provider tells the site so, by requests that it signs:")
    for delivery in sent.select_related("user").order_by("id"):
        print(f"  {delivery.user}: sent -> {delivery.report or 'no report'}")
    problems = expected.wrong_messages("SMS", expected.NUMBERS, [item["to"] for item in messages])
    if any(before) or set(after) != {"delivered"} or set(answers) != {204}:
        problems.append(f"The reports must change the SMS from sent to delivered; the site answered {answers}.")
    return problems
