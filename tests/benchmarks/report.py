"""The one way in which a benchmark tells a result: a line for people, and, when
``LMX_BENCH_REPORT`` names a file, one JSON object a line for the table of the README.

    report = Report()
    report.tell("first paint", seconds, "s", bar=at_most(0.6))
    report.tell("8 streams", ours, "tok/s", theirs, "llama-server", bar=at_least(1.0))
    return report.status

With a peer's figures beside ours the bar is one on the ratio of the two, ours over theirs, of the
measurements that stand in the same place: both sides take turns, and a busy machine hurts both.
"""

import asyncio
import json
import os
import statistics
import sys
from collections.abc import Callable, Coroutine, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

REPORT = "LMX_BENCH_REPORT"
MANY = 20
HEAD = ("what", "measured", "beside", "ratio", "bar", "kept")


@dataclass(frozen=True, slots=True)
class Bar:
    """What a figure, or a ratio, has to reach: a most, or a least."""

    value: float
    least: bool = False

    def holds(self, figure: float) -> bool:
        """Whether a figure keeps it."""
        return figure >= self.value if self.least else figure <= self.value

    def __str__(self) -> str:
        return f"{'≥' if self.least else '≤'} {self.value:,g}"


def at_most(value: float) -> Bar:
    """No figure above this."""
    return Bar(value)


def at_least(value: float) -> Bar:
    """No figure below this."""
    return Bar(value, least=True)


@dataclass(frozen=True, slots=True)
class Figure:
    """One result, every number already in the words it is told in; empty where there is none."""

    benchmark: str
    what: str
    ours: str
    theirs: str = ""
    ratio: str = ""
    bar: str = ""
    kept: bool | None = None
    """None without a bar."""

    def __str__(self) -> str:
        beside = f", {self.theirs}" if self.theirs else ""
        ratio = f", ratio {self.ratio}" if self.ratio else ""
        bar = f", bar {self.bar}" if self.bar else ""
        return f"{self.what}: {self.ours}{beside}{ratio}{bar}{self.mark}"

    @property
    def mark(self) -> str:
        """A miss cries."""
        return "  MISSED" if self.kept is False else ""


def rounded(value: float) -> str:
    """A number with as many digits as mean something."""
    size = abs(value)
    return f"{value:,.{0 if size >= 100 else 1 if size >= 10 else 2 if size >= 0.1 else 4}f}"


def spread(values: Sequence[float], unit: str = "") -> str:
    """The median with its unit, and the lowest and the highest of several.

    Of ``MANY`` and more the lowest and the highest twentieth are left out: they are the machine's.
    """
    told = f"{rounded(statistics.median(values))} {unit}".rstrip()
    if len(values) == 1:
        return told
    if len(values) < MANY:
        return f"{told} ({rounded(min(values))} to {rounded(max(values))})"
    parts = statistics.quantiles(values, n=20)
    return f"{told} ({rounded(parts[0])} to {rounded(parts[-1])}, 90 % of {len(values)})"


def _several(values: float | Iterable[float]) -> list[float]:
    return [float(values)] if isinstance(values, int | float) else list(values)


class Report:
    """What one benchmark found.

    Args:
        benchmark: Its name; by default the module that was started.
        file: Where the JSON goes; by default what the environment names.
    """

    def __init__(self, benchmark: str = "", file: Path | None = None) -> None:
        started = Path(getattr(sys.modules["__main__"], "__file__", None) or sys.argv[0]).stem
        named = os.environ.get(REPORT)
        self.figures: list[Figure] = []
        self._benchmark = benchmark or started
        self._file = file or (Path(named) if named else None)

    @property
    def status(self) -> int:
        """The exit status: 1 when a bar was missed."""
        return int(any(figure.kept is False for figure in self.figures))

    def tell(
        self,
        what: str,
        ours: float | Iterable[float],
        unit: str = "",
        theirs: float | Iterable[float] | None = None,
        peer: str = "",
        *,
        bar: Bar | None = None,
    ) -> Figure:
        """Print one result, and remember whether it kept its bar.

        Args:
            ours: One measurement or several: their median counts.
            theirs: The peer's, one for each of ours.
            bar: On the ratio where there is a peer, on ours where there is none.
        """
        mine = _several(ours)
        judged, beside, ratio = statistics.median(mine), "", ""
        if theirs is not None:
            others = _several(theirs)
            ratios = [a / b for a, b in zip(mine, others, strict=True)]
            judged, ratio = statistics.median(ratios), spread(ratios)
            beside = f"{peer} {spread(others, unit)}".lstrip()
        kept = None if bar is None else bar.holds(judged)
        told = str(bar or "") if theirs is not None else f"{bar or ''} {unit if bar else ''}"
        return self.add(what, spread(mine, unit), beside, ratio, told.strip(), kept=kept)

    def add(
        self,
        what: str,
        ours: str,
        theirs: str = "",
        ratio: str = "",
        bar: str = "",
        *,
        kept: bool | None = None,
    ) -> Figure:
        """Print a result that was judged and worded elsewhere."""
        figure = Figure(self._benchmark, what, ours, theirs, ratio, bar, kept)
        self.figures.append(figure)
        print(figure, flush=True)
        if self._file is not None:
            with self._file.open("a") as file:
                file.write(json.dumps(asdict(figure)) + "\n")
        return figure


def reported(measure: Callable[[Report], Coroutine[None, None, None]]) -> int:
    """Let a benchmark measure and tell; returns the exit status, 1 when a bar was missed."""
    report = Report()
    asyncio.run(measure(report))
    return report.status


def counted(count: int, noun: str) -> str:
    """A number of things in words: ``1 stream``, ``8 streams``."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


def read(file: Path) -> list[Figure]:
    """Every figure of a report file, in its order."""
    return [Figure(**json.loads(line)) for line in file.read_text().splitlines()]


def markdown(figures: Iterable[Figure]) -> str:
    """The figures as a table of Markdown, by benchmark in the order they came."""
    lines = ["| " + " | ".join(HEAD) + " |", "|" + "---|" * len(HEAD)]
    words = {True: "yes", False: "**no**", None: ""}
    for f in figures:
        cells = (f"{f.benchmark}: {f.what}", f.ours, f.theirs, f.ratio, f.bar, words[f.kept])
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n"
