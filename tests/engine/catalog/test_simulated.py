import os
from pathlib import Path

import pytest

from engine.catalog.simulated import Fault, ScriptError, read_script
from tests.forge import write_simulated


def test_everything_but_the_kind_may_be_left_out(tmp_path: Path) -> None:
    script = read_script(write_simulated(tmp_path))
    assert script.faults == ()
    assert script.say


def test_reads_a_whole_script(tmp_path: Path) -> None:
    folder = write_simulated(
        tmp_path,
        weights_gb=120,
        load_seconds=2.5,
        tokens_per_second=40,
        context=8192,
        say=["It", " works", "."],
        tool_format="minimax_m2",
        backend_version="1.0",
        faults=[{"when": "token", "after": 3, "do": "segv", "times": 2}],
    )
    script = read_script(folder)
    assert script.weight_bytes == 120 * 10**9
    assert script.say == ("It", " works", ".")
    assert script.faults == (Fault(when="token", after=3, do="segv", times=2),)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"kind": "real"}, "kind"),
        ({"wieghts_gb": 3}, "wieghts_gb"),
        ({"weights_gb": -1}, "weights_gb"),
        ({"tokens_per_second": 0}, "tokens_per_second"),
        ({"context": 0}, "context"),
        ({"say": []}, "say"),
        ({"faults": [{"when": "token", "do": "explode"}]}, "faults.0.do"),
        ({"faults": [{"when": "never", "do": "segv"}]}, "faults.0.when"),
        ({"faults": [{"when": "load", "do": "segv", "times": 0}]}, "faults.0.times"),
        ({"faults": [{"when": "load", "do": "segv", "unless": 1}]}, "faults.0.unless"),
    ],
)
def test_says_which_key_does_not_fit(tmp_path: Path, change: dict[str, object], word: str) -> None:
    with pytest.raises(ScriptError, match=word):
        read_script(write_simulated(tmp_path, **change))


def test_says_what_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ScriptError, match="nothing there"):
        read_script(tmp_path)
    (tmp_path / "simulated.json").write_text("{")
    with pytest.raises(ScriptError, match="JSON"):
        read_script(tmp_path)
    (tmp_path / "simulated.json").unlink()
    os.mkfifo(tmp_path / "simulated.json")
    with pytest.raises(ScriptError, match="FIFO"):
        read_script(tmp_path)
