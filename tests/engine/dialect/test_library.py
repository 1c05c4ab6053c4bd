"""mlx-lm's parsers are used without mlx-lm; each claim is about a process of its own."""

import subprocess
import sys
from pathlib import Path

import pytest

import engine
from engine.dialect.library import _folder, foreign_parser

ROOT = Path(engine.__file__).parent.parent
FORBIDDEN = {"mlx", "mlx_lm", "transformers", "tokenizers", "torch", "numpy", "llama_cpp"}


def run(code: str, *path: Path) -> set[str]:
    """What a fresh interpreter prints, in words, with these folders before all others."""
    prelude = "import sys\n" + "".join(f"sys.path.insert(0, {str(place)!r})\n" for place in path)
    done = subprocess.run(
        [sys.executable, "-c", prelude + code],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
        timeout=60,
    )
    return set(done.stdout.split())


def known() -> list[str]:
    folder = _folder()
    assert folder is not None
    return sorted(path.stem for path in folder.glob("*.py") if path.stem != "__init__")


def test_all_parsers_load_and_bring_no_backend_with_them() -> None:
    names = known()
    assert {"minimax_m2", "kimi_k2", "glm47", "qwen3_coder", "mistral"} <= set(names)
    held = run(
        "from engine.dialect.library import foreign_parser\n"
        f"assert all(foreign_parser(name) for name in {names!r})\n"
        "print(*{name.partition('.')[0] for name in sys.modules})\n"
    )
    assert "regex" in held
    assert not held & FORBIDDEN


def test_importing_the_room_loads_no_parser_yet() -> None:
    held = run("import engine.dialect\nprint(*{n.partition('.')[0] for n in sys.modules})\n")
    assert not held & (FORBIDDEN | {"regex", "mlx_lm_tool_parsers"})


def test_without_mlx_lm_only_plain_json_is_read() -> None:
    said = run(
        "sys.modules['mlx_lm'] = None\n"
        "from engine.dialect import forced_opening\n"
        "from engine.dialect.parsers import parser_for\n"
        "print(parser_for('minimax_m2'), parser_for('json_tools') is not None)\n"
        "assert forced_opening('minimax_m2', 'now') == ''\n"
        "assert forced_opening('json_tools', 'now')\n"
    )
    assert said == {"None", "True"}


@pytest.mark.parametrize(
    "source",
    [
        "import a_module_nobody_has",
        "raise RuntimeError('half installed')",
        "tool_call_start = '<x>'",
        "not python",
    ],
)
def test_a_broken_parser_costs_its_format_and_nothing_else(tmp_path: Path, source: str) -> None:
    parsers = tmp_path / "mlx_lm" / "tool_parsers"
    parsers.mkdir(parents=True)
    (tmp_path / "mlx_lm" / "__init__.py").write_text("raise SystemExit('mlx-lm was imported')")
    (parsers / "__init__.py").write_text("raise SystemExit('its package was imported')")
    (parsers / "broken.py").write_text(source)
    (parsers / "good.py").write_text(
        "from .parts import tool_call_start\ntool_call_end = None\nparse_tool_call = print\n"
    )
    (parsers / "parts.py").write_text("tool_call_start = '<good>'\n")
    said = run(
        "from engine.dialect.library import foreign_parser\n"
        "print(foreign_parser('broken'), foreign_parser('good').start)\n",
        tmp_path,
    )
    assert said == {"None", "<good>"}


@pytest.mark.parametrize("name", ["", ".", "..", "../glm47", "__init__", "glm47.py", "a" * 99, "é"])
def test_a_name_that_is_none_opens_no_file(name: str) -> None:
    assert foreign_parser(name) is None


def test_a_parser_is_prepared_beside_the_event_loop() -> None:
    said = run(
        "import asyncio, threading\n"
        "from engine.dialect import prepare\n"
        "class Watch:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'regex': print(threading.current_thread() is threading.main_thread())\n"
        "sys.meta_path.insert(0, Watch())\n"
        "asyncio.run(prepare('minimax_m2'))\n"
        "from engine.dialect.parsers import parser_for\n"
        "assert parser_for('minimax_m2')\n"
    )
    assert said == {"False"}
