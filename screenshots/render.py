"""Render the pictures of the README from the very snapshots the tests compare.

    uv run --with resvg-py==0.5.0 python screenshots/render.py

A picture therefore cannot drift from the screen: change the screen and the test fails, update the
snapshot and this script draws it anew. Needs the font DejaVu Sans Mono on the machine.
"""

import sys
from pathlib import Path

import resvg_py

HERE = Path(__file__).parent
SNAPSHOTS = HERE.parent / "tests/console/snapshots/__snapshots__"
FONT = "DejaVu Sans Mono"
"""Its glyphs are all one cell wide, the state glyphs included; Fira Code lacks some of them."""
WIDTH = 1400
PICTURES = {
    "dashboard": "test_dashboard/test_large",
    "dashboard-80x24": "test_dashboard/test_small",
    "light": "test_dashboard/test_themes[light]",
    "refused": "test_dashboard/test_refused",
    "load": "test_modals/test_load",
    "override": "test_modals/test_override_mixed",
    "chat": "test_screens/test_chat_with_an_answer",
    "crash": "test_screens/test_chat_after_a_crash",
    "quarantine": "test_screens/test_detail_quarantined",
    "evidence": "test_screens/test_detail_evidence",
    "explain": "test_screens/test_explain_refused",
    "registry": "test_screens/test_registry",
    "help": "test_screens/test_help",
}


def main() -> int:
    """Draw every picture as SVG and PNG; returns 1 when a snapshot is missing."""
    missing = 0
    for name, snapshot in PICTURES.items():
        source = SNAPSHOTS / f"{snapshot}.svg"
        if not source.is_file():
            print(f"no snapshot {source}", file=sys.stderr)
            missing = 1
            continue
        svg = source.read_text(encoding="utf-8")
        (HERE / f"{name}.svg").write_text(svg, encoding="utf-8")
        drawn = resvg_py.svg_to_bytes(svg_string=svg.replace("Fira Code", FONT), width=WIDTH)
        (HERE / f"{name}.png").write_bytes(bytes(drawn))
    return missing


if __name__ == "__main__":
    sys.exit(main())
