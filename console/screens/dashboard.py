"""The dashboard: Models, Canary, Quarantine and Registry, the event line and the keys."""

from collections.abc import Hashable
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar, cast

from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Container, Vertical
from textual.screen import Screen

from console.bindings import bindings_for
from console.commands import DASHBOARD
from console.masthead import header_line, notice_lines
from console.news import headline
from console.presenter import (
    SORTS,
    Pulse,
    ViewOptions,
    arrange,
    beat,
    event_line,
    moment,
    present,
    simulated_ids,
    visible,
)
from console.remnants import drop_watchers, share_backgrounds
from console.whereabouts import missed
from console.widgets.canary import CanaryPanel
from console.widgets.event_line import EventLine, NoteLines
from console.widgets.filter import FilterBar
from console.widgets.footer import FooterLine, footer_line
from console.widgets.header import HeaderLine, NoticeLines
from console.widgets.lines import LinePanel
from console.widgets.models import ModelsPanel
from console.widgets.quarantine import QuarantinePanel
from console.widgets.registry import RegistryPanel
from engine import EngineSnapshot, ModelView

if TYPE_CHECKING:
    from console.app import LmxApp

_Found = tuple[tuple[EngineSnapshot, str, tuple[str, ...]], tuple[ModelView, ...]]
_BELOW = ("registry", "canary", "quarantine")


class DashboardScreen(Screen[None]):
    """Shows ``app.snapshot``; never calls the engine itself."""

    BINDINGS: ClassVar[list[BindingType]] = bindings_for(DASHBOARD)
    AUTO_FOCUS = "#models"
    where = DASHBOARD

    @property
    def lmx(self) -> "LmxApp":
        """The application, by its own type."""
        return cast("LmxApp", self.app)

    def __init__(self) -> None:
        super().__init__()
        share_backgrounds()
        self.target_id: str | None = None
        self._filter = ""
        self._sort = SORTS[0]
        self._order: tuple[str, ...] = ()
        self._beat: Hashable = None
        self._found: _Found | None = None
        self._drawn: object = None
        """What the last drawing was made of, but for the operator's own doing."""

    def compose(self) -> ComposeResult:
        """Every panel once; the style sheet decides where it stands."""
        # Textual sets these with the first resize, which comes after the first paint.
        size = self.app.size
        for breakpoints, extent in (
            (self.app.HORIZONTAL_BREAKPOINTS or (), size.width),
            (self.app.VERTICAL_BREAKPOINTS or (), size.height),
        ):
            self.add_class(*[name for least, name in breakpoints if extent >= least][-1:])
        yield HeaderLine(id="header")
        yield NoticeLines(id="notices")
        with Container(id="body"):
            with Vertical(id="left"):
                yield ModelsPanel(id="models", classes="panel")
                yield RegistryPanel(id="registry", classes="panel")
            with Vertical(id="right"):
                yield CanaryPanel(id="canary", classes="panel")
                yield QuarantinePanel(id="quarantine", classes="panel")
        yield NoteLines(id="note")
        yield FilterBar(id="filter")
        yield EventLine(id="event")
        yield FooterLine(id="footer")

    def on_mount(self) -> None:
        """Follow the app's snapshot; figures, ages and countdowns once a second."""
        self.query_one(RegistryPanel).title("Registry")
        self.watch(self.app, "snapshot", self._on_snapshot)
        self.watch(self.app, "news", self._on_news, init=False)
        for kind in (ModelsPanel, CanaryPanel, QuarantinePanel):
            panel = self.query_one(kind)
            self.watch(panel, "scroll_y", panel.place, init=False)
        self.set_interval(1.0, self._second, name="second")

    # Drawing

    def _on_snapshot(self, snapshot: EngineSnapshot) -> None:
        """Repaint at once when a state changed; mere figures wait for the next second."""
        now_beat = beat(snapshot)
        if now_beat != self._beat:
            self._beat = now_beat
            self.redraw()

    def _on_news(self) -> None:
        self.redraw()

    def _second(self) -> None:
        """Draw what a second has changed; on most of an idle console's it is nothing."""
        if self._seen(self.lmx.clock(), self.lmx.pulse) != self._drawn:
            self.redraw()

    def _seen(self, now: float, pulse: Pulse) -> object:
        """All that can change without a key or a resize, each of which draws by itself."""
        app, snapshot = self.lmx, self.lmx.snapshot
        width = self.query_one(ModelsPanel).size.width
        age = round(max(pulse.age_s, app.pump.period_s), 1)
        return (
            *(snapshot, moment(snapshot, width, now), headline(snapshot, app.news, now)),
            *(age, replace(pulse, age_s=0.0), missed(snapshot, now)),
        )

    @on(LinePanel.Resized)
    def redraw(self) -> None:
        """Draw the present snapshot into the panels; unchanged cells cost nothing."""
        if not self.is_mounted:
            return
        app, snapshot, now = self.lmx, self.lmx.snapshot, self.lmx.clock()
        models = self.query_one(ModelsPanel)
        self._keep_selection(snapshot)
        options = self._options(now)
        picture = present(snapshot, options)
        models.show_models(picture.ids, picture.rows, picture.heading, self.target_id)
        models.title(picture.models_title, picture.models_subtitle, placed=True)
        canary = self.query_one(CanaryPanel)
        canary.show(picture.canary)
        canary.title(picture.canary_title, placed=True)
        quarantine = self.query_one(QuarantinePanel)
        quarantine.show(picture.quarantine)
        quarantine.title(picture.quarantine_title, placed=True)
        self.query_one(RegistryPanel).show(picture.registry)
        self.query_one(NoteLines).show(picture.note)
        pulse, width = app.pulse, self.size.width
        period = app.pump.period_s
        head = header_line(snapshot, pulse, width, period, app.glyphs, now)
        self.query_one(HeaderLine).show((head,))
        self.set_class(pulse.stale, "-stale")
        notices = notice_lines(snapshot, width, app.glyphs)
        banner = self.query_one(NoticeLines)
        banner.styles.height = len(notices)
        banner.show(notices)
        news = headline(snapshot, app.news, now, me=app.known_as)
        if news is not None:
            line = event_line(
                *(news.ts, news.model_id, news.message, news.level, width, now, app.glyphs),
                simulated=news.model_id in simulated_ids(snapshot),
                actor=news.actor,
            )
            self.query_one(EventLine).show((line,))
        # Behind a dialog, too: the size may change there.
        self.query_one(FooterLine).show((footer_line(app.selection(self), width),))
        self._drawn = self._seen(now, pulse)

    def _options(self, now: float) -> ViewOptions:
        side = self.query_one(CanaryPanel).size.width or self.query_one(QuarantinePanel).size.width
        width = self.query_one(ModelsPanel).size.width
        return ViewOptions(
            width=width,
            side_width=side or width,
            note_width=self.size.width,
            now=now,
            filter=self._filter,
            sort=self._sort,
            order=self._order,
            selected=self.target_id,
            seen=self._listed(),
            glyphs=self.lmx.glyphs,
        )

    def _listed(self) -> tuple[ModelView, ...]:
        """The models of the list; looked through once for each snapshot, filter and order."""
        asked = (self.lmx.snapshot, self._filter, self._order)
        if self._found is None or any(
            a is not b for a, b in zip(asked, self._found[0], strict=True)
        ):
            options = ViewOptions(0, 0, 0, 0.0, filter=self._filter, order=self._order)
            self._found = (asked, visible(asked[0], options))
        return self._found[1]

    def _keep_selection(self, snapshot: EngineSnapshot) -> None:
        """Keep the selected id; if its row is gone without the operator's doing, select none.

        A selection that slid to a neighbour by itself would aim the next key at another model.
        """
        first = not self._order
        self._order = arrange(snapshot.models, self._sort, self._order)
        ids = [model.id for model in self._listed()]
        if self.target_id not in ids:
            self.target_id = ids[0] if first and ids else None

    def on_screen_resume(self) -> None:
        """Back in front: everything may have changed."""
        drop_watchers(self.app)
        self.redraw()

    @property
    def copy_text(self) -> str:
        """The selected row as text, or the id alone if it is not in sight."""
        panel = self.query_one(ModelsPanel)
        if self.target_id not in panel.ids:
            return ""
        row = panel.lines[panel.ids.index(self.target_id)]
        return f"{self.target_id}  " + " ".join("".join(cell.text for cell in row[1:]).split()[1:])

    # Commands that concern this screen alone

    def _move(self, how: str) -> None:
        panel = self.query_one(ModelsPanel)
        focused = self.focused
        if isinstance(focused, LinePanel) and focused is not panel:
            focused.move(how)
            return
        self.target_id = panel.neighbour(self.target_id, how)
        self.redraw()

    def command_up(self) -> None:
        """One line up."""
        self._move("up")

    def command_down(self) -> None:
        """One line down."""
        self._move("down")

    def command_page_up(self) -> None:
        """One page up."""
        self._move("page_up")

    def command_page_down(self) -> None:
        """One page down."""
        self._move("page_down")

    def command_first(self) -> None:
        """To the first line."""
        self._move("first")

    def command_last(self) -> None:
        """To the last line."""
        self._move("last")

    def _panel(self, name: str) -> None:
        """Show a panel where only one fits, and give it the focus."""
        below = name if name in _BELOW else "registry"
        for each in _BELOW:
            self.set_class(each == below, f"-show-{each}")
        self.query_one(f"#{name}", LinePanel).focus()

    def command_panel_models(self) -> None:
        """The Models panel."""
        self._panel("models")

    def command_panel_canary(self) -> None:
        """The Canary panel."""
        self._panel("canary")

    def command_panel_quarantine(self) -> None:
        """The Quarantine panel."""
        self._panel("quarantine")

    def command_panel_registry(self) -> None:
        """The Registry panel."""
        self._panel("registry")

    def command_sort(self) -> None:
        """Order by the next key: name, state, size."""
        self._sort = SORTS[(SORTS.index(self._sort) + 1) % len(SORTS)]
        self._order = arrange(self.lmx.snapshot.models, self._sort)
        self.lmx.report(f"ordered by {self._sort}")
        self.redraw()

    def command_filter(self) -> None:
        """Type a filter."""
        self.query_one(FilterBar).open()

    def command_back(self) -> None:
        """Clear the filter, then return to the models; never leave."""
        if self._filter:
            self.query_one(FilterBar).clear()
        else:
            self._panel("models")

    def narrow(self, text: str) -> None:
        """Show the models that this filter finds."""
        self.query_one(FilterBar).put(text)
        self._panel("models")

    @on(FilterBar.Changed)
    def _filtered(self, event: FilterBar.Changed) -> None:
        """The operator's own doing: the selection may move to what is left."""
        self._filter = event.text
        ids = [model.id for model in self._listed()]
        if self.target_id not in ids:
            self.target_id = ids[0] if ids else None
        self.redraw()

    @on(FilterBar.Left)
    def _typed(self) -> None:
        self.query_one(ModelsPanel).focus()

    @on(ModelsPanel.Chosen)
    def _chosen(self, event: ModelsPanel.Chosen) -> None:
        self.target_id = event.model_id
        self.redraw()
