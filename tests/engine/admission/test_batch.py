"""Many models in one call: one child for each runtime, memory that does not grow with their number,
and paths that are no paths."""

import os
import sys
import tracemalloc
from pathlib import Path

import pytest

from engine import Inspection
from engine.settings import load_settings
from engine.types import Backend
from engine.workers.capability import Answer, Capabilities
from tests.engine.admission.corpus import ALL
from tests.engine.admission.models import write_folder, write_model


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Backend, frozenset[str]]]:
    """What was asked of runtimes, one entry for each child that would have been started."""
    calls: list[tuple[Backend, frozenset[str]]] = []

    def ask(self: Capabilities, backend: Backend, _: Path, names: object) -> Answer:
        questions = frozenset(names)  # type: ignore[call-overload]
        calls.append((backend, questions))
        version = self.versions(backend, Path(sys.executable)).version
        answer = Answer(version, supports=dict.fromkeys(questions, True), ggml_types=43)
        self._remember(backend, answer)
        return answer

    monkeypatch.setattr(Capabilities, "ask", ask)
    return calls


@pytest.fixture
def inspection(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Inspection:
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "user"))
    return Inspection(load_settings(home=tmp_path / "home", memory_gb=100))


def test_each_runtime_is_asked_once_about_all_models(
    inspection: Inspection, tmp_path: Path, asked: list[tuple[Backend, frozenset[str]]]
) -> None:
    paths = [write_folder(tmp_path / f"f{n}", model_type=f"type{n}") for n in range(30)]
    paths += [
        write_model(tmp_path / f"m{n}.gguf", tokenizer__ggml__pre=f"pre{n}") for n in range(30)
    ]
    found = list(inspection.explain([str(path) for path in paths]))
    assert len(found) == 60
    assert all(explanation.admitted for explanation in found)
    assert sorted(backend for backend, _ in asked) == [Backend.GGUF, Backend.MLX]
    assert {len(questions) for _, questions in asked} == {31, 30}


def test_a_runtime_that_cannot_answer_is_asked_once(
    inspection: Inspection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[Backend] = []

    def ask(_: Capabilities, backend: Backend, *__: object) -> Answer:
        calls.append(backend)
        return Answer("", "it died")

    monkeypatch.setattr(Capabilities, "ask", ask)
    paths = [write_folder(tmp_path / f"f{n}") for n in range(9)]
    for explanation in inspection.explain([str(path) for path in paths]):
        assert explanation.decision is not None
        assert explanation.decision.code == "model_unsupported_backend"
    assert calls == [Backend.MLX]


def test_memory_does_not_grow_with_the_number_of_models(
    inspection: Inspection, tmp_path: Path, asked: list[tuple[Backend, frozenset[str]]]
) -> None:
    path = write_model(tmp_path / "m.gguf")
    folder = write_folder(tmp_path / "f")
    list(inspection.explain([str(path), str(folder)]))
    tracemalloc.start()
    try:
        for explanation in inspection.explain([str(path), str(folder)] * 100):
            assert explanation.admitted
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
    finally:
        tracemalloc.stop()
    assert len(asked) == 2


@pytest.mark.parametrize(
    "name",
    ["", "\0", "a\0b", "x" * 5000, "~nobody-of-this-name/m", "/proc/self/mem", "/dev/zero", "/"],
)
def test_a_name_that_is_no_path_gets_an_answer(
    inspection: Inspection, asked: list[tuple[Backend, frozenset[str]]], name: str
) -> None:
    (explanation,) = inspection.explain([name])
    assert explanation.decision is not None
    assert explanation.decision.code in {"model_not_found", "model_unsafe", "model_incomplete"}
    assert not asked


def test_the_whole_corpus_in_one_call(
    inspection: Inspection, tmp_path: Path, asked: list[tuple[Backend, frozenset[str]]]
) -> None:
    paths = []
    for number, case in enumerate(ALL.values()):
        (tmp_path / f"c{number}").mkdir()
        paths.append(os.fspath(case.make(tmp_path / f"c{number}")))
    found = list(inspection.explain(paths))
    assert len(found) == len(paths)
    assert all(e.decision is None or e.decision.code != "unknown_failure" for e in found)
    assert len(asked) <= 2
