"""Render the pictures of the README: the tests' own snapshots, and the demo.

    uv run --with resvg-py==0.5.0 python screenshots/render.py

A picture therefore cannot drift from the screen: change the screen and the test fails, update the
snapshot and this script draws it anew. The demo is recorded anew each time, which takes a minute.
Needs the font DejaVu Sans Mono on the machine; its glyphs are all one cell wide.
"""

import asyncio
import shutil
import sys
from pathlib import Path

import resvg_py

from console.demo.film import Film, picture_of
from console.demo.recorder import MOVING, record

HERE = Path(__file__).parent
SNAPSHOTS = HERE.parent / "tests/console/snapshots/__snapshots__"
WIDTH = 1400
PICTURES = {
    "dashboard": "test_dashboard/test_large",
    "dashboard-80x24": "test_dashboard/test_small",
    "light": "test_dashboard/test_themes[light]",
    "refused": "test_dashboard/test_refused",
    "quarantine": "test_dashboard/test_quarantined_small",
    "load": "test_modals/test_load",
    "override": "test_modals/test_override_mixed",
    "chat": "test_screens/test_chat_with_an_answer",
    "detail": "test_screens/test_detail_quarantined",
    "evidence": "test_screens/test_detail_evidence",
    "explain": "test_screens/test_explain_refused",
    "registry": "test_screens/test_registry",
    "help": "test_screens/test_help",
    "hosts": "test_screens/test_hosts",
}
FROM_DEMO = ("crash",)
"""Beats of the demo that have a picture of their own as well."""


def main() -> int:
    """Draw every picture as SVG and PNG, and the demo; returns 1 when a snapshot is missing."""
    missing = 0
    for name, snapshot in PICTURES.items():
        source = SNAPSHOTS / f"{snapshot}.svg"
        if not source.is_file():
            print(f"no snapshot {source}", file=sys.stderr)
            missing = 1
            continue
        draw(name, Film([picture_of(source.read_text(encoding="utf-8"))]).still())
    series = HERE / "demo"
    shutil.rmtree(series, ignore_errors=True)
    asyncio.run(record(series))
    (series / MOVING).replace(HERE / MOVING)
    for name in FROM_DEMO:
        beat = next(series.glob(f"*-{name}.svg"))
        draw(name, beat.read_text(encoding="utf-8"))
    return missing


def draw(name: str, svg: str) -> None:
    """Write one picture as SVG and PNG."""
    (HERE / f"{name}.svg").write_text(svg, encoding="utf-8")
    drawn = resvg_py.svg_to_bytes(svg_string=svg, width=WIDTH)
    (HERE / f"{name}.png").write_bytes(bytes(drawn))


if __name__ == "__main__":
    sys.exit(main())
