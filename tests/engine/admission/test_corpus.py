"""Every damaged, hostile and healthy file of the corpus through the gate: one code, the right one,
the same twice, bounded, and nothing a terminal would obey."""

import unicodedata
from pathlib import Path

import pytest

from engine.errors import Code
from engine.types import CheckResult, Explanation
from tests.engine.admission.corpus import ALL
from tests.engine.admission.models import Ask, named

KNOWN = frozenset({"llama", "qwen2", "gemma3", "phi3", "granite", "mistral", "pre:gpt-2"})


def supports(question: str) -> bool:
    """What a runtime that knows a few architectures answers."""
    return question.partition("/")[0] in KNOWN


def shown(explanation: Explanation) -> str:
    """Every text of an explanation that reaches people."""
    decision = explanation.decision
    texts = [explanation.model_id]
    for check in explanation.checks:
        texts += [check.check, check.expected, check.found, check.message, check.remedy]
    if decision is not None:
        texts += [decision.message, decision.expected, decision.found, decision.remedy]
    return "".join(texts)


@pytest.mark.parametrize("name", ALL)
def test_the_corpus(ask: Ask, tmp_path: Path, name: str) -> None:
    case = ALL[name]
    path = case.make(tmp_path)
    explanation = ask(path, supports=supports)
    assert explanation == ask(path, supports=supports)
    decision = explanation.decision
    told = None if decision is None else (decision.code, decision.check)
    assert told == (None if case.code is None else (case.code, case.check)), decision
    assert all(check.code is not Code.UNKNOWN_FAILURE for check in explanation.checks)
    assert not {unicodedata.category(c) for c in shown(explanation)} & {"Cc", "Cs", "Co", "Cn"}
    warned = [c.check for c in explanation.checks if c.result is CheckResult.WARN]
    if case.warns:
        assert case.warns in warned, named(explanation, case.warns)
    elif case.code is None:
        assert set(warned) <= {"memory"}
