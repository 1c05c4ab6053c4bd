"""Pictures taken apart and put together again."""

import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from textual.app import App, ComposeResult
from textual.widgets import Static

from console.demo.film import Film, Picture, Run, picture_of

SNAPSHOTS = Path(__file__).parent.parent / "snapshots" / "__snapshots__"
SVG = "{http://www.w3.org/2000/svg}"


class Plain(App[None]):
    """Two words, one of them bold on a colour, and characters XML knows."""

    def compose(self) -> ComposeResult:
        yield Static("one & <two>\n[bold #112233 on #445566]wide 你[/] end")


async def taken() -> Picture:
    app = Plain()
    async with app.run_test(size=(40, 6)) as pilot:
        await pilot.pause()
        return picture_of(app.export_screenshot())


def texts_of(picture: Picture) -> list[str]:
    rows = []
    for row in picture.rows:
        line = ""
        for run in sorted((run for run in row if run.text), key=lambda run: run.column):
            line = line.ljust(run.column) + run.text.replace("\xa0", " ")
        rows.append(line)
    return rows


async def test_every_word_stands_where_it_stood() -> None:
    picture = await taken()
    assert (picture.columns, len(picture.rows)) == (40, 6)
    assert texts_of(picture)[0] == "one & <two>"
    styled = next(run for run in picture.rows[1] if run.text.startswith("wide"))
    assert styled.look == "fill:#112233;font-weight:bold"
    assert any(run.look == "#445566" and not run.text for run in picture.rows[1])


async def test_a_still_is_well_formed_and_needs_nothing_from_outside() -> None:
    svg = Film([await taken()]).still()
    root = ET.fromstring(svg)  # noqa: S314 - made a line above
    assert "one\xa0&\xa0<two>" in "".join(root.itertext())
    assert "http" not in svg.replace("http://www.w3.org/2000/svg", "")


def picture(*words: str) -> Picture:
    return Picture(tuple((Run(0, len(word), "fill:#fff", word),) for word in words), 10, "#000000")


def test_rows_that_pictures_share_are_written_once() -> None:
    svg = Film([picture("same", "first"), picture("same", "second")]).moving([1.0, 3.0])
    assert svg.count(">same<") == 1
    root = ET.fromstring(svg)  # noqa: S314
    frames = [g for g in root.iter(f"{SVG}g") if g.get("class") == "f"]
    ids = {g.get("id") for g in root.iter(f"{SVG}g")}
    used = {use.attrib["href"].removeprefix("#") for use in root.iter(f"{SVG}use")}
    assert len(frames) == 2
    assert used <= ids


def test_each_picture_stands_for_its_time_and_no_two_at_once() -> None:
    svg = Film([picture("a"), picture("b")]).moving([1.0, 3.0])
    assert "@keyframes k0{0%{visibility:visible}25%{visibility:hidden}}" in svg
    assert (
        "@keyframes k1{0%{visibility:hidden}25%{visibility:visible}100%{visibility:hidden}}" in svg
    )
    assert svg.count("4s step-end infinite") == 2


@pytest.mark.parametrize("path", sorted(SNAPSHOTS.rglob("*.svg")), ids=lambda path: path.stem)
def test_every_snapshot_can_be_drawn(path: Path) -> None:
    svg = path.read_text(encoding="utf-8")
    drawn = picture_of(svg)
    assert drawn.columns > 30
    assert ET.fromstring(Film([drawn]).still()) is not None  # noqa: S314


def test_what_is_no_screenshot_is_refused() -> None:
    with pytest.raises(ValueError, match="Rich"):
        picture_of("<svg/>")
