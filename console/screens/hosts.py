"""The hosts models run on: state, memory, devices, versions, and the way to one's models."""

from collections import Counter
from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING, ClassVar, cast

from textual.app import ComposeResult
from textual.binding import Binding, BindingType

from console.bindings import bindings_for
from console.commands import HOSTS
from console.hosts import ALONE, Census, census_of, host_heading, host_line, host_note
from console.line import DrawnLines, Line
from console.paragraph import paragraph
from console.screens.listing import Listing
from console.screens.page import MOVES
from console.search import HOST
from console.status import HOST_SIGNS
from console.widgets.event_line import NoteLines
from engine import HostState, HostView

if TYPE_CHECKING:
    from console.screens.dashboard import DashboardScreen


class HostsScreen(Listing):
    """One row for each host, the engine's own first; the chosen one is told in full below."""

    BINDINGS: ClassVar[list[BindingType]] = [
        *bindings_for(HOSTS),
        *MOVES,
        Binding("enter", "models", "models", id="hosts.models", show=False),
    ]
    KEYS = (("enter", "models"),)
    EMPTY = "no host is known before the engine has started"
    where = HOSTS

    def compose(self) -> ComposeResult:
        """The note under the sheet, which scrolls by itself."""
        header, sheet, *rest = super().compose()
        yield header
        yield sheet
        yield NoteLines(id="note")
        yield from rest

    def rows(self, width: int, now: float) -> tuple[Sequence[Hashable], Sequence[Line]]:
        """The hosts that the filter lets through; a lone one with how to get more."""
        snapshot, glyphs = self.lmx.snapshot, self.glyphs
        hosts = [host for host in snapshot.hosts if self.matches(*_texts(host))]
        census = census_of(snapshot.models)

        def draw(index: int) -> Line:
            host = hosts[index]
            counted = census.get(host.name, Census())
            return host_line(host, counted, snapshot.hosts, width, now, glyphs)

        lines: Sequence[Line] = DrawnLines(len(hosts), draw)
        if len(snapshot.hosts) == 1 and hosts:
            lines = (*lines, (), *paragraph(ALONE, width, "dim"))
        return [host.name for host in hosts], lines

    def caption(self) -> tuple[str, str]:
        """How many, and how many of them are not well."""
        hosts = self.lmx.snapshot.hosts
        counts = Counter(host.state for host in hosts)
        unwell = (state for state in (HostState.STALE, HostState.LOST) if counts[state])
        words = [f"{counts[state]} {HOST_SIGNS[state].word}" for state in unwell]
        if self.filter:
            words.append(f"filter: {self.filter[:30]}")
        shown = f"{len(self._keys):,}/" if self.filter else ""
        return f"Hosts {shown}{len(hosts):,}", ", ".join(words)

    def heading(self, width: int) -> Line:
        """The column heads."""
        return host_heading(self.lmx.snapshot.hosts, width)

    def drawn(self) -> None:
        """Tell the chosen host in full."""
        super().drawn()
        self.query_one(NoteLines).show(self._note())

    def _note(self) -> tuple[Line, ...]:
        host = self._host
        if host is None:
            return ()
        models = [model for model in self.lmx.snapshot.models if model.host == host.name]
        census = census_of(models).get(host.name, Census())
        return host_note(host, census, self.size.width, self.glyphs)

    @property
    def _host(self) -> HostView | None:
        hosts = self.lmx.snapshot.hosts
        return next((host for host in hosts if host.name == self.chosen), None)

    def action_models(self) -> None:
        """Go to the models of the chosen host."""
        app = self.lmx
        if self._host is None:
            app.report("no host is chosen", "warn")
            return
        name = self._host.name
        while len(app.screen_stack) > 1:
            app.pop_screen()
        cast("DashboardScreen", app.screen).narrow(HOST + name)


def _texts(host: HostView) -> tuple[str, ...]:
    versions = (runtime.version for runtime in host.runtimes)
    return (host.name, host.address, HOST_SIGNS[host.state].word, *host.devices, *versions)
