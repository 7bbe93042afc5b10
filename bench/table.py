"""The table that a bench prints, at most 80 columns wide."""

from __future__ import annotations

from dataclasses import dataclass

from bench.measure import Ratio

HEAD = f"{'row':<31}{'control':>9}{'ours':>9}{'ratio':>7}{'±':>6}{'cpu':>6}{'bound':>6} "


@dataclass(frozen=True)
class Row:
    """One line. ``ok`` is None where there is no bound: it is there for comparison."""

    name: str
    control: str
    ours: str
    ratio: str = ""
    spread: str = ""
    cpu: str = ""
    bound: str = ""
    ok: bool | None = None

    def __str__(self) -> str:
        verdict = "" if self.ok is None else "ok" if self.ok else "MISSED"
        cells = f"{self.control:>9}{self.ours:>9}{self.ratio:>7}{self.spread:>6}{self.cpu:>6}{self.bound:>6}"
        return f"{self.name:<31}{cells} {verdict}".rstrip()


def seconds(value: float) -> str:
    """A time, in the unit that suits it."""
    for unit, factor in (("s", 1.0), ("ms", 1e3)):
        if value * factor >= 1:
            return f"{value * factor:.3g} {unit}"
    return f"{value * 1e6:.3g} us"


def at_most(name: str, found: Ratio, bound: float | None) -> Row:
    """A row whose work may take ``bound`` times as long as its control."""
    return Row(
        name,
        seconds(found.control),
        seconds(found.ours),
        f"{found.ratio:.3f}",
        f"{found.spread:.3f}",
        f"{found.cpu:.3f}",
        "" if bound is None else f"<{bound:.2f}",
        None if bound is None else found.judged <= bound,
    )


def rates(name: str, control: float, ours: float, bound: float | None, spread: float | None = None) -> Row:
    """A row of two rates, pieces a second, of which ours must be ``bound`` times the control's."""
    ratio = ours / control
    return Row(
        name,
        f"{control:,.0f}/s",
        f"{ours:,.0f}/s",
        f"{ratio:.2f}",
        "" if spread is None else f"{spread:.2f}",
        "",
        "" if bound is None else f">{bound:.2g}",
        None if bound is None else ratio >= bound,
    )


def counts(name: str, control: int | str, ours: int, bound: int, *, unit: str = "") -> Row:
    """A row of two counts, of which ours may be at most ``bound``."""
    return Row(name, f"{control}{unit}", f"{ours}{unit}", bound=f"<={bound}", ok=ours <= bound)
