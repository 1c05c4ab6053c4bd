"""The commands a script relies on: what is on stdout, what is not, and the exit status."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from console.cli import main
from console.cli.registry import moment
from engine.home.home import Home

Lmx = Callable[..., tuple[int, list[Any], str]]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home whose only models are those a test makes."""
    folder = tmp_path / "home"
    folder.mkdir()
    (tmp_path / "models").mkdir()
    monkeypatch.setenv("LMX_HOME", str(folder))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "no-hub"))
    monkeypatch.setenv("LMX_LMSTUDIO", str(tmp_path / "no-lmstudio"))
    monkeypatch.setenv("LMX_STARTER", "false")
    monkeypatch.setenv("LMX_FOLDERS", json.dumps([str(tmp_path / "models")]))
    monkeypatch.setenv("LMX_QUARANTINING__BACKOFF_S", "[0.05, 0.05, 0.05]")
    return folder


@pytest.fixture
def simulate(tmp_path: Path) -> Callable[..., None]:
    """Make a simulated model."""

    def make(model_id: str, **script: Any) -> None:
        folder = tmp_path / "models" / model_id
        folder.mkdir(exist_ok=True)
        quick = {"kind": "simulated", "weights_gb": 0.1, "load_seconds": 0.05}
        speed = {"tokens_per_second": 500, "say": ["It", " works", "."]}
        (folder / "simulated.json").write_text(json.dumps(quick | speed | script))

    return make


@pytest.fixture
def lmx(capfd: pytest.CaptureFixture[str]) -> Lmx:
    """Run a command with ``--json``; every line of stdout must be an object."""

    def run(*arguments: str) -> tuple[int, list[Any], str]:
        capfd.readouterr()
        status = main([*arguments, "--json"])
        out, err = capfd.readouterr()
        rows = [json.loads(line) for line in out.splitlines()]
        assert all(isinstance(row, dict) for row in rows)
        return status, rows, err

    return run


# -- canary -------------------------------------------------------------------------------------


def test_canary_proves_them_all_and_says_what_came_of_each(
    lmx: Lmx,
    simulate: Callable[..., None],
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    simulate("crash", faults=[{"when": "load", "do": "segv"}])
    simulate("good")
    simulate("huge", weights_gb=90_000)
    simulate("nan", faults=[{"when": "canary", "do": "nan"}])
    status, rows, words = lmx("canary", "--all")
    assert status == 1
    assert {row["model"]: row["outcome"] for row in rows} == {
        "crash": "failed",
        "good": "passed",
        "huge": "never_tried",
        "nan": "failed",
    }
    by_id = {row["model"]: row for row in rows}
    assert "SIGSEGV" in by_id["crash"]["reason"]
    assert by_id["huge"]["code"] == "insufficient_memory"
    assert by_id["good"]["tokens_per_second"] > 0
    assert "1 passed (0 slower than before), 2 failed, 1 never tried" in words
    # What failed is quarantined now, so it is left out and named; the slow one shows.
    simulate("good", backend_version="2.0")
    monkeypatch.setenv("LMX_CANARY__SLOWER_FACTOR", "9")  # whatever is not nine times as fast
    assert main(["canary", "--all"]) == 0
    out = capfd.readouterr().out
    lines = {line.split()[0]: line for line in out.splitlines()}
    assert "never tried" in lines["crash"]
    assert "quarantined" in lines["nan"]
    assert "passed, slower" in lines["good"]
    assert "(simulated 1.0)" in lines["good"]


def test_a_model_that_was_named_and_not_tried_is_a_refusal(
    lmx: Lmx, simulate: Callable[..., None]
) -> None:
    simulate("good")
    status, [good, none], _ = lmx("canary", "good", "nonesuch")
    assert status == 1
    assert good["outcome"] == "passed"
    assert none["code"] == "model_not_found"


@pytest.mark.parametrize("arguments", [[], ["--all", "m"], ["--all", "--on", "nonesuch"]])
def test_canary_wants_to_know_what_and_where(lmx: Lmx, arguments: list[str]) -> None:
    status, rows, words = lmx("canary", *arguments)
    assert (status, rows) == (2, [])
    assert words.startswith("lmx: ")


def test_canary_leaves_a_home_alone_that_an_engine_holds(
    lmx: Lmx, simulate: Callable[..., None], home: Path
) -> None:
    simulate("good")
    holder = Home(home)
    holder.take()
    try:
        status, rows, words = lmx("canary", "--all")
    finally:
        holder.let_go()
    assert (status, rows) == (3, [])
    assert "is in use by process" in words


# -- registry -----------------------------------------------------------------------------------


@pytest.fixture
def tried(lmx: Lmx, simulate: Callable[..., None]) -> None:
    """A registry with a pass and a failure in it."""
    simulate("good")
    simulate("nan", faults=[{"when": "canary", "do": "nan"}])
    lmx("canary", "--all")


@pytest.mark.usefixtures("tried")
def test_registry_list_filters(lmx: Lmx) -> None:
    def models(*arguments: str) -> list[str]:
        return [row["model_id"] for row in lmx("registry", "list", *arguments)[1]]

    assert models() == ["nan", "good"]
    assert models("--limit", "1") == ["nan"]
    assert models("--model", "good") == ["good"]
    assert models("--outcome", "fail") == ["nan"]
    assert models("--backend", "gguf") == []
    assert models("--since", "1h") == ["nan", "good"]
    assert models("--since", "2100-01-01") == []


@pytest.mark.usefixtures("tried")
def test_registry_summary_counts(lmx: Lmx) -> None:
    _, rows, _ = lmx("registry", "summary")
    assert [(r["model_id"], r["total"], r["pass"], r["fail"]) for r in rows] == [
        ("good", 1, 1, 0),
        ("nan", 1, 0, 1),
    ]
    assert all(row["latest_ts"] > 0 for row in rows)


@pytest.mark.usefixtures("tried")
def test_registry_goes_out_and_comes_in(
    lmx: Lmx, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "export.json"
    status, [exported], _ = lmx("registry", "export", str(target))
    assert (status, exported["rows"]) == (0, 2)
    capfd.readouterr()
    assert main(["registry", "export", "-"]) == 0
    assert json.loads(capfd.readouterr().out) == json.loads(target.read_text())
    target.write_text(target.read_text().replace(f'"{exported["host"]}"', '"elsewhere"'))
    added = [lmx("registry", "import", str(target))[1][0]["added"] for _ in range(2)]
    assert added == [2, 0]
    status, rows, words = lmx("registry", "import", str(tmp_path / "nonesuch"))
    assert (status, rows) == (1, [])
    assert "cannot be read" in words


@pytest.mark.usefixtures("tried")
def test_registry_verify_tells_damage_once(lmx: Lmx, home: Path) -> None:
    assert lmx("registry", "verify")[0] == 0
    with (home / "compatibility-registry.json").open("ab") as file:
        file.write(b"torn")
    status, [found], words = lmx("registry", "verify")
    assert (status, found["sound"], found["rows"]) == (1, False, 2)
    assert found["kept_in"][0] in words
    assert lmx("registry", "verify")[0] == 0


def test_an_empty_registry_is_no_error(lmx: Lmx) -> None:
    for asked in ("list", "summary", "verify"):
        assert lmx("registry", asked)[0] == 0


def test_moments() -> None:
    assert moment("90") == 90.0
    assert moment("2d", now=200_000.0) == 27_200.0
    assert moment("2026-11-23T00:00:00+00:00") == 1_795_392_000.0
    for text in ("yesterday", "nan", "1y", ""):
        with pytest.raises(Exception, match="neither a date nor a span"):
            moment(text)


# -- the rest -----------------------------------------------------------------------------------


def test_models_and_explain_answer_in_rows(lmx: Lmx, simulate: Callable[..., None]) -> None:
    simulate("m")
    assert [row["id"] for row in lmx("models")[1]] == ["m"]
    status, [row], _ = lmx("explain", "m")
    assert (status, row["model"], row["admitted"], row["code"]) == (0, "m", True, None)
    status, [row], _ = lmx("explain", "m", "--on", "nonesuch")
    assert (status, row["code"]) == (1, "model_unsupported_backend")


def test_settings_that_do_not_fit_are_a_usage_error(
    lmx: Lmx, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LMX_CONTEXT", "none")
    status, rows, words = lmx("models")
    assert (status, rows) == (2, [])
    assert "context" in words
