"""The demo recorded: every beat has its picture, and nothing of this machine is in them."""

import time
import xml.etree.ElementTree as ET
from pathlib import Path

import psutil

import engine
from console.demo.recorder import MOVING, record
from console.demo.script import SCRIPT
from tests.process import workers_below

PROGRAM = Path(engine.__file__).parent.parent
SVG = "{http://www.w3.org/2000/svg}"
MOST_BYTES = 1_000_000
"""What a README may ask a reader to load for one picture."""


def words_of(path: Path) -> str:
    root = ET.parse(path).getroot()  # noqa: S314 - written by the recorder
    drawn = {g.get("id"): "".join(g.itertext()) for g in root.iter(f"{SVG}g") if g.get("id")}
    used = [use.attrib["href"].removeprefix("#") for use in root.iter(f"{SVG}use")]
    return "\n".join(drawn[name] for name in used).replace("\xa0", " ")


async def test_a_recording_tells_the_story_and_nothing_of_the_machine(tmp_path: Path) -> None:
    zone = time.tzname
    script = SCRIPT[: [beat.name for beat in SCRIPT].index("crash") + 1]
    written = await record(tmp_path / "pictures", script=script)
    assert time.tzname == zone
    names = [f"{number:02d}-{beat.name}.svg" for number, beat in enumerate(script, 1)]
    assert [path.name for path in written] == [*names, MOVING]
    assert written[-1].stat().st_size < MOST_BYTES

    told = {path.name[3:-4]: words_of(path) for path in written[:-1]}
    for beat in script:
        assert beat.caption.split()[0] in told[beat.name]
    assert "loading 42 %" in told["loading"]
    assert "canary_pending 5/9" in told["canary"]
    assert "back-off 1 s" in told["crash"]
    assert "14:02:11" in told["welcome"]
    assert "mono512" in told["welcome"]

    whole = "\n".join(path.read_text(encoding="utf-8") for path in written)
    for secret in (str(PROGRAM), "lmx-demo-", str(Path.home()) + "/"):
        assert secret not in whole, secret
    assert workers_below(psutil.Process()) == []
