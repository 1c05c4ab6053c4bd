"""The house rules a reader forgets, as tests: who may know whom, how long a file may be."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import engine

ROOT = Path(engine.__file__).parent.parent
NATIVE = {"mlx", "mlx_lm", "llama_cpp", "transformers", "torch", "numpy", "tokenizers"}
SCREEN = {"textual", "rich", "console"}
CLUSTER = {"ray"}
SERVER = {"fastapi", "starlette", "uvicorn", "prometheus_client"}
CHILD_SIDE = {"engine.workers.child", "engine.workers.loop"}
BANNED_NAMES = {"utils", "helpers", "manager", "common", "misc"}
SOURCES = sorted(p for room in ("engine", "console") for p in (ROOT / room).rglob("*.py"))


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def runs_in_a_worker(name: str) -> bool:
    return name in CHILD_SIDE or name.startswith("engine.backends")


def held_after_importing(modules: list[str]) -> set[str]:
    code = (
        "import sys, importlib\n"
        f"for name in {modules!r}: importlib.import_module(name)\n"
        "print('\\n'.join({n.partition('.')[0] for n in sys.modules}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    return set(done.stdout.split())


def imports_of(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
    return found


def test_the_engine_never_holds_a_backend_or_a_screen() -> None:
    parent_side = [module_name(p) for p in SOURCES if p.relative_to(ROOT).parts[0] == "engine"]
    parent_side = [name for name in parent_side if not runs_in_a_worker(name)]
    assert not held_after_importing(parent_side) & (NATIVE | SCREEN | CLUSTER)


def test_the_console_never_holds_a_backend() -> None:
    assert not held_after_importing(["console.cli", "console.app"]) & (NATIVE | CLUSTER)


def test_the_command_line_does_not_import_textual_before_it_opens_a_screen() -> None:
    assert not held_after_importing(["console.cli"]) & {"textual", "rich"}


def test_no_server_is_imported_before_the_first_paint() -> None:
    assert not held_after_importing(["console.cli", "console.app"]) & SERVER


def test_a_command_over_the_api_imports_no_more_than_it_must() -> None:
    commands = ["console.cli.status", "console.cli.action", "console.cli.chat", "engine.home.home"]
    assert not held_after_importing(commands) & {"pydantic", "textual", "rich", "jinja2", *SERVER}


def test_the_engine_never_imports_its_api() -> None:
    parent_side = [module_name(p) for p in SOURCES if "engine" in p.parts]
    below = [n for n in parent_side if not runs_in_a_worker(n) and "engine.http" not in n]
    assert not held_after_importing(below) & SERVER


def test_a_worker_needs_only_pydantic_until_it_imports_its_backend() -> None:
    allowed_elsewhere = {"pydantic_settings", "psutil", "textual", "rich", "jinja2"} | NATIVE
    assert not held_after_importing(["engine.workers.protocol"]) & allowed_elsewhere


@pytest.mark.parametrize(
    "path", [p for p in SOURCES if p.relative_to(ROOT).parts[0] == "console"], ids=module_name
)
def test_the_console_knows_only_the_engines_face(path: Path) -> None:
    rooms = {name for name in imports_of(path) if name.startswith("engine.")}
    assert not rooms, f"{module_name(path)} reaches into {rooms}"


@pytest.mark.parametrize("path", SOURCES, ids=module_name)
def test_a_file_is_one_noun_of_bearable_length(path: Path) -> None:
    assert path.stem not in BANNED_NAMES
    assert not path.stem.endswith("_impl")
    assert len(path.read_text().splitlines()) <= 400


def test_the_face_exports_what_it_says() -> None:
    for name in engine.__all__:
        assert getattr(engine, name) is not None
    with pytest.raises(AttributeError):
        _ = engine.nothing_of_this_name
