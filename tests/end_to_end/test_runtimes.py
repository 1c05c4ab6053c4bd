"""Another interpreter for a backend: its own versions and verdicts, chosen by load or settings.

The second environment is a real one, made here without a network: it borrows this one's packages
and says of one of them that it is another version.
"""

import os
import site
import subprocess
import sys
import venv
from pathlib import Path
from typing import Any

import psutil
import pytest

import engine as package
from engine import Archive, Code, EngineError, LoadOptions, Outcome, Readiness, Trials
from engine.settings import RuntimeSettings
from engine.types import Backend
from engine.workers.capability import Capabilities
from tests.end_to_end.conftest import ACTOR, Opener, until, until_readiness
from tests.end_to_end.test_lifecycle import rows_of
from tests.process import command_of

GGUF = "SmolLM2-135M-Instruct.Q4_1"
NEXT = "llama-cpp-python 99.0"
Simulate = Any


def environment(folder: Path, **versions: str) -> Path:
    """A virtual environment that has this one's packages, some under another version."""
    venv.EnvBuilder(symlinks=True).create(folder)
    packages = next(folder.glob("lib/python*/site-packages"))
    (packages / "borrowed.pth").write_text("\n".join(site.getsitepackages()))
    for name, version in versions.items():
        shadow = packages / f"{name}-{version}.dist-info"
        shadow.mkdir()
        plain = name.replace("_", "-")
        (shadow / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {plain}\nVersion: {version}\n"
        )
    return folder / "bin" / "python"


@pytest.fixture
def other(tmp_path: Path) -> Path:
    return environment(tmp_path / "other", llama_cpp_python="99.0")


def runtime(python: Path, backend: Backend = Backend.GGUF, **more: Any) -> dict[str, Any]:
    return {"next": RuntimeSettings(backend=backend, python=python, **more)}


# -- what another interpreter sees of us --------------------------------------------------------


def test_another_interpreter_sees_the_engine_and_nothing_that_lies_beside_it(
    tmp_path: Path,
) -> None:
    """As installed: every package of ours lies in one folder."""
    venv.EnvBuilder(symlinks=True).create(tmp_path / "bare")
    installed = tmp_path / "site-packages"
    installed.mkdir()
    (installed / "engine").symlink_to(Path(package.__file__).parent)
    (installed / "neighbour.py").write_text("")
    code = (
        "import sys, runpy\n"
        "sys.argv = ['entrance', 'engine.text']\n"
        f"runpy.run_path({str(installed / 'engine/workers/entrance.py')!r}, run_name='__main__')\n"
        "import engine, importlib.util as u\n"
        "print(engine.__file__, u.find_spec('neighbour'), u.find_spec('pydantic'))"
    )
    done = subprocess.run(
        [str(tmp_path / "bare" / "bin" / "python"), "-P", "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd="/",
        env={"PATH": os.environ["PATH"]},
    )
    assert done.stdout.split() == [str(installed / "engine" / "__init__.py"), "None", "None"]


def test_an_interpreter_without_the_backend_says_so(tmp_path: Path) -> None:
    venv.EnvBuilder(symlinks=True).create(tmp_path / "bare")
    python = tmp_path / "bare" / "bin" / "python"
    view = Capabilities(tmp_path).versions(Backend.GGUF, python, "bare")
    assert view.error == "llama-cpp-python is not installed"


def test_versions_come_from_the_interpreter_itself(tmp_path: Path, other: Path) -> None:
    capabilities = Capabilities(tmp_path)
    assert capabilities.versions(Backend.GGUF, other, "next").version == NEXT
    assert capabilities.versions(Backend.GGUF, Path(sys.executable)).version != NEXT


# -- which runtime a load takes -----------------------------------------------------------------


async def test_a_worker_runs_in_the_interpreter_that_was_chosen(
    open_engine: Opener, simulate: Simulate, other: Path
) -> None:
    simulate("m")
    engine = await open_engine(runtimes=runtime(other, Backend.SIMULATED))
    await engine.load("m", LoadOptions(runtime="next"), actor=ACTOR, wait=True)
    view = engine.snapshot().model("m")
    assert view is not None
    assert view.runtime == "next"
    assert psutil.Process(view.pid).cmdline()[0] == str(other)
    await engine.unload("m", actor=ACTOR)
    await until(engine, lambda s: s.model("m").runtime == "default")  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("settings", "chosen"),
    [
        ({}, "default"),
        ({"model": {"m": {"runtime": "next"}}}, "next"),
        ({"default": True}, "next"),
        ({"default": True, "model": {"m": {"runtime": "default"}}}, "default"),
    ],
)
async def test_model_and_default_choose_where_the_load_does_not(
    settings: dict[str, Any],
    chosen: str,
    open_engine: Opener,
    simulate: Simulate,
    other: Path,
) -> None:
    simulate("m")
    default = settings.pop("default", False)
    engine = await open_engine(
        runtimes=runtime(other, Backend.SIMULATED, default=default), **settings
    )
    view = engine.snapshot().model("m")
    assert view is not None
    assert view.runtime == chosen


async def test_a_runtime_nobody_knows_is_refused_by_name(
    open_engine: Opener, simulate: Simulate
) -> None:
    simulate("m")
    engine = await open_engine()
    with pytest.raises(EngineError) as refused:
        await engine.load("m", LoadOptions(runtime="no\x1bsuch"), actor=ACTOR)
    assert refused.value.decision.code is Code.MODEL_UNSUPPORTED_BACKEND
    assert "\x1b" not in refused.value.decision.message


# -- verdicts of its own ------------------------------------------------------------------------


@pytest.mark.real
async def test_a_trial_on_another_version_leaves_the_installed_one_as_it_was(
    open_engine: Opener, other: Path, home: Path
) -> None:
    engine = await open_engine(starter=True, runtimes=runtime(other))
    await engine.load(GGUF, actor=ACTOR, wait=True)
    await engine.unload(GGUF, actor=ACTOR)
    trials = Trials(engine, Archive(engine.settings), actor=ACTOR, runtime="next")
    assert trials.every_model() == (GGUF,)
    [trial] = [trial async for trial in trials.run([GGUF])]
    assert trial.outcome is Outcome.PASSED
    assert (trial.runtime, trial.backend_version) == ("next", NEXT)
    assert trial.before
    assert trial.before_version != NEXT
    first, second = rows_of(home)
    assert second["backend_version"] == NEXT
    assert first["backend_version"] != NEXT
    view = engine.snapshot().model(GGUF)
    assert view is not None
    assert view.readiness is Readiness.UNLOADED
    await until(engine, lambda s: s.model(GGUF).runtime == "default")  # type: ignore[union-attr]


DIES_LOADING = """
import os, signal, sys
if "engine.workers.child" in sys.orig_argv:
    import llama_cpp.llama_cpp as native
    native.llama_model_load_from_file = lambda *_: os.kill(os.getpid(), signal.SIGSEGV)
"""


@pytest.mark.real
async def test_what_dies_on_another_runtime_is_quarantined_there_and_runs_here(
    open_engine: Opener, other: Path, tmp_path: Path
) -> None:
    packages = next((tmp_path / "other").glob("lib/python*/site-packages"))
    (packages / "sitecustomize.py").write_text(DIES_LOADING)
    engine = await open_engine(starter=True, runtimes=runtime(other))
    trials = Trials(engine, Archive(engine.settings), actor=ACTOR, runtime="next")
    trial = await trials.prove(GGUF)
    assert trial.outcome is Outcome.FAILED
    assert "SIGSEGV" in trial.reason
    assert trial.backend_version == NEXT
    await until_readiness(engine, GGUF, Readiness.QUARANTINED)
    again = await trials.prove(GGUF)
    assert (again.outcome, again.code) == (Outcome.NEVER_TRIED, "model_unstable")
    await engine.load(GGUF, LoadOptions(runtime="default"), actor=ACTOR, wait=True)
    view = engine.snapshot().model(GGUF)
    assert view is not None
    assert (view.readiness, view.runtime) == (Readiness.ROUTABLE, "default")
    kept = await trials.prove(GGUF)
    assert (kept.outcome, kept.reason) == (Outcome.NEVER_TRIED, "in service on runtime default")


# -- after an upgrade ---------------------------------------------------------------------------


async def test_an_upgrade_lists_what_was_proved_on_the_version_before(
    open_engine: Opener, simulate: Simulate
) -> None:
    names = ("a", "b", "never")  # each of another content: a verdict is about the content
    for number, name in enumerate(names):
        simulate(name, backend_version="1.0", context=4096 + number)
    before = await open_engine()
    for name in ("a", "b"):
        await before.load(name, actor=ACTOR, wait=True)
    await before.stop()
    for number, name in enumerate(names):
        simulate(name, backend_version="2.0", context=4096 + number)
    engine = await open_engine()
    shown = await until(engine, lambda s: s.outdated == ("a", "b"))
    [notice] = [n for n in shown.notices if n.id.startswith("upgrade-")]
    assert notice.message == (
        "2 models were proved on simulated 1.0, not on simulated 2.0 as installed now; "
        "prove them again (A in the console, or `lmx canary --all`)"
    )
    for name in ("a", "b"):
        await engine.load(name, actor=ACTOR, wait=True)
    healed = await until(engine, lambda s: not s.outdated)
    assert not [n for n in healed.notices if n.id.startswith("upgrade-")]


async def test_a_spare_is_kept_only_where_a_model_is_to_run(
    open_engine: Opener, simulate: Simulate, other: Path
) -> None:
    simulate("m")
    engine = await open_engine(spare=True, runtimes=runtime(other, Backend.SIMULATED))

    def spares() -> list[psutil.Process]:
        pid = (view := engine.snapshot().model("m")) and view.pid
        found = psutil.Process().children()
        return [p for p in found if p.pid != pid and command_of(p)[:1] == [str(other)]]

    assert not spares()
    await engine.load("m", LoadOptions(runtime="next"), actor=ACTOR, wait=True)
    await until(engine, lambda _: len(spares()) == 1)
    await engine.unload("m", actor=ACTOR)
    await until(engine, lambda _: not spares())
