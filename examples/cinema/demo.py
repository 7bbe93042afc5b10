"""``make demo``: releases a movie, and shows its messages by e-mail, Telegram and SMS, over real SMTP and HTTP.

Exit status 1, with the reason, unless every expected message arrived exactly once and no other, every delivery has the
expected result, and no secret is in the logs.
"""

from __future__ import annotations

import argparse
import sys
import textwrap
from pathlib import Path

from walkthrough import connecting, expected, outcome, releasing, setting_up
from walkthrough.output import WIDTH, say, step
from walkthrough.world import World, running


def main() -> int:
    """Run the demo, and return the exit status."""
    arguments = parse_arguments()
    # Not every terminal can show every character.
    sys.stdout.reconfigure(errors="replace")  # type: ignore[union-attr]  # a text file
    with running(arguments.refuse, arguments.log) as world:
        problems = show(world)
    return conclude(problems)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Release a movie, and show its messages.")
    parser.add_argument(
        "--refuse",
        action="append",
        default=[],
        metavar="ADDRESS",
        help="let the mail server refuse this address, to show the result: the demo then fails, as it should",
    )
    parser.add_argument("--log", type=Path, metavar="FILE", help="write the records of all loggers to FILE")
    return parser.parse_args()


def show(world: World) -> list[str]:
    """Run all steps. Returns the problems found."""
    setting_up.migrate()
    if problems := setting_up.show_plugins():
        return problems
    setting_up.make_cinema()
    problems += releasing.release_in_vain(world)
    problems += connecting.connect_eve(world)
    problems += releasing.release(world)
    problems += releasing.show_mails(world)
    problems += releasing.show_telegram(world)
    problems += releasing.show_sms(world)
    problems += outcome.show_deliveries(world)
    return problems + outcome.search_for_secrets(world)


def conclude(problems: list[str]) -> int:
    from cinema.example_data import ADMIN

    sys.stdout.flush()
    if problems:
        print("\nTHE DEMO FAILED", file=sys.stderr)
        for problem in problems:
            print(textwrap.fill(problem, WIDTH, initial_indent="  - ", subsequent_indent="    "), file=sys.stderr)
        return 1
    step("Done")
    say(f"All {len(expected.MAILS)} expected e-mails arrived, each exactly once, and no other.")
    say(f"So did {len(expected.CHATS)} Telegram messages and {len(expected.NUMBERS)} SMS about {expected.MOVIE}.")
    print()
    say("Click through it yourself:    make serve")
    say("and open the admin:           http://127.0.0.1:8000/admin/")
    say(f"with:                         user {ADMIN[0]}, password {ADMIN[1]}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
