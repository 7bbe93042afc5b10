"""A fan-out to very many takes no more memory than one to a few."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator

from bench.data import crowd
from bench.rows import Size
from bench.table import Row
from dsn_core.models import Trigger

#: Megabytes over the start.
BOUND = 50

#: What a worker's process does: after a small fan-out, by which all is loaded, the large one and its first sends.
PROGRAM = """
import json, os, sys
os.environ["DJANGO_SETTINGS_MODULE"] = "bench.settings"
import django
django.setup()
from dsn_core import emit
from dsn_core.models import Delivery
from dsn_core.runners import driver
def highest():
    # Linux's own figure: ru_maxrss begins with what the process had from which this one was started.
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmHWM")) / 1024
target, sends = sys.argv[1], int(sys.argv[2])
emit("released", target="few", film="Alien")
driver.drain("default")
start = highest()
emit("released", target=target, film="Alien")
driver.expand_due("default")
made = highest()
batches = iter(range(sends // 100))
driver.drain("default", stop=lambda: next(batches, None) is None)
print(json.dumps({"start": start, "made": made, "sent": highest(), "rows": Delivery.objects.count()}))
"""


def measure(size: Size) -> Iterator[Row]:
    number, sends = size.of(1_000_000, 20_000), size.of(20_000, 1_000)
    few, many = crowd(500, "few"), crowd(number, "many")
    backends = [("nothing", "greeting")]
    for target, how in (
        ("few", {"groups": [few]}),
        ("group", {"groups": [many]}),
        ("resolver", {"resolver": "everyone"}),
    ):
        Trigger.objects.define("released", target=target).subscribe(backends=backends, **how)
    for target, name in (("group", "a group"), ("resolver", "a resolver")):
        command = [sys.executable, "-c", PROGRAM, target, str(sends)]
        done = subprocess.run(command, check=True, capture_output=True, text=True, env=dict(os.environ))
        said = json.loads(done.stdout)
        assert said["rows"] >= number, said
        for what in ("made", "sent"):
            growth = said[what] - said["start"]
            label = f"{number:,} of {name}, {what}"
            yield Row(label, f"{said['start']:.0f} MB", f"+{growth:.1f} MB", bound=f"<={BOUND}", ok=growth <= BOUND)
