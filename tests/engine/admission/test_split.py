"""Whether a model may be split among ranks: what the runtime says, and the numbers."""

from pathlib import Path

import pytest

from engine.admission import gate
from engine.admission.facts import Facts
from engine.admission.questions import questions
from engine.catalog.scan import resolve_path
from engine.catalog.starter import starter_entries, starter_file
from engine.errors import Code
from engine.face import LoadOptions
from engine.settings import Settings
from engine.types import Backend, Check, CheckResult, Explanation
from tests.engine.admission.models import Ask, named, write_folder, write_model
from tests.forge import safetensors_bytes, write_simulated

THREE = LoadOptions(ranks=3)
SIZES = {"num_attention_heads": 9, "num_key_value_heads": 3, "hidden_size": 576}


def can_split(question: str) -> bool:
    """A runtime that splits every architecture and shares no head."""
    return not question.startswith("repeat:")


def ranks(count: int) -> LoadOptions:
    return LoadOptions(ranks=count)


def split_of(explanation: Explanation) -> Check:
    return named(explanation, "split")


def test_the_check_is_listed_only_for_a_load_that_wants_ranks(ask: Ask, tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "m", **SIZES)
    alone = [check.check for check in ask(folder, ranks(1)).checks]
    assert alone == list(gate.ORDER)
    split = ask(folder, THREE, supports=can_split)
    assert split.admitted, split.decision
    listed = [check.check for check in split.checks]
    assert listed[listed.index("backend") + 1] == "split"
    assert [name for name in listed if name != "split"] == alone


@pytest.mark.parametrize(
    ("config", "count", "found"),
    [
        ({}, 2, "3 key-value heads, 2 ranks"),
        ({"num_key_value_heads": None}, 2, "9 key-value heads, 2 ranks"),
        ({"kv_lora_rank": 32}, 2, "9 attention heads, 2 ranks"),
        ({"intermediate_size": 1537}, 3, "1,537 rows of the feed-forward, 3 ranks"),
        ({"moe_intermediate_size": 100}, 3, "100 rows of the feed-forward, 3 ranks"),
        ({"text_config": {"num_key_value_heads": 4}}, 3, "4 key-value heads, 3 ranks"),
        ({}, 65, "65 ranks"),
    ],
)
def test_numbers_that_do_not_divide_are_refused_and_no_override_helps(
    config: dict[str, object], count: int, found: str, ask: Ask, tmp_path: Path
) -> None:
    folder = write_folder(tmp_path / "m", **(SIZES | config))
    for override in (False, True):
        options = LoadOptions(ranks=count, allow_unsupported_runtime=override)
        explanation = ask(folder, options, supports=can_split)
        decision = explanation.decision
        assert decision is not None
        assert (decision.code, decision.check) == (Code.MODEL_UNSUPPORTED_BACKEND, "split")
        assert decision.found == found
        assert decision.expected
        assert not decision.overridable


def test_the_remedy_names_what_would_fit(ask: Ask, tmp_path: Path) -> None:
    sizes = {"num_attention_heads": 24, "num_key_value_heads": 12, "hidden_size": 768}
    folder = write_folder(tmp_path / "m", **sizes)
    decision = ask(folder, ranks(5), supports=can_split).decision
    assert decision is not None
    assert decision.remedy == "use 2 or 3 or 4 or 6 or 12 ranks, or one"


def test_groups_of_quantised_weights_go_to_a_rank_whole(ask: Ask, tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "m", **SIZES)
    name = "model.layers.0.mlp.down_proj.scales"
    (folder / "model.safetensors").write_bytes(safetensors_bytes({name: ("F16", (2, 4), 16)}))
    check = split_of(ask(folder, THREE, supports=can_split))
    assert check.found == f"4 groups of weights in {name}, 3 ranks"


def test_a_runtime_that_shares_heads_may_have_more_ranks_than_heads(
    ask: Ask, tmp_path: Path
) -> None:
    folder = write_folder(tmp_path / "m", num_attention_heads=8, num_key_value_heads=2)
    assert split_of(ask(folder, ranks(4), supports=can_split)).result is CheckResult.FAIL
    assert split_of(ask(folder, ranks(4), supports=lambda _: True)).result is CheckResult.PASS
    assert split_of(ask(folder, ranks(3), supports=lambda _: True)).result is CheckResult.FAIL


def test_an_architecture_without_a_split_is_refused_and_one_not_asked_yet_is_not(
    ask: Ask, tmp_path: Path
) -> None:
    folder = write_folder(tmp_path / "m", **SIZES)
    answers: dict[str, bool | None] = {"split:llama/LlamaForCausalLM": False}
    check = split_of(ask(folder, THREE, supports=lambda q: answers.get(q, True)))
    assert (check.result, check.code) == (CheckResult.FAIL, Code.MODEL_UNSUPPORTED_BACKEND)
    assert check.found == "llama, 3 ranks"
    answers["split:llama/LlamaForCausalLM"] = None
    check = split_of(ask(folder, THREE, supports=lambda q: answers.get(q, True)))
    assert check.result is CheckResult.UNKNOWN
    # But numbers that cannot divide need no runtime to say so.
    check = split_of(ask(folder, ranks(2), supports=lambda q: answers.get(q, True)))
    assert check.result is CheckResult.FAIL


@pytest.mark.parametrize(
    ("answer", "words"), [(False, "built without RPC"), (True, "does not drive")]
)
def test_a_gguf_is_refused_with_what_its_llama_cpp_says(
    answer: bool, words: str, ask: Ask, tmp_path: Path
) -> None:
    model = write_model(tmp_path / "m.gguf")
    assert "split:gguf" in questions(resolve_path(model), 2)
    assert "split:gguf" not in questions(resolve_path(model))
    explanation = ask(
        model, ranks(2), supports=lambda q: answer if q.startswith("split:") else True
    )
    decision = explanation.decision
    assert decision is not None
    assert (decision.code, decision.check) == (Code.MODEL_UNSUPPORTED_BACKEND, "split")
    assert words in decision.found


def test_the_starter_splits_in_three_before_it_is_built(tmp_path: Path) -> None:
    source = starter_file()
    assert source is not None
    entries = starter_entries(Settings(home=tmp_path), source)
    [entry] = [entry for entry in entries if entry.backend is Backend.MLX]
    assert {"split:llama", "repeat:llama"} <= set(questions(entry, 3))
    facts = Facts(backend_version="any 1", supports=can_split, budget=10**11)
    three = gate.explain(entry, facts, THREE)
    assert three.admitted, three.decision
    two = gate.explain(entry, facts, ranks(2)).decision
    assert two is not None
    assert two.found == "3 key-value heads, 2 ranks"
    assert two.remedy == "use 3 ranks, or one"
    alone = gate.explain(entry, facts).estimate
    split = three.estimate
    assert alone is not None
    assert split is not None
    # The embeddings, 49,152 rows of 576 weights in 8 bits, are kept by each of the three.
    assert split.weights - alone.weights == pytest.approx(2 * 49_152 * 576 // 32 * 34, rel=0.01)
    assert (split.ranks, split.overhead, split.cache) == (3, 3 * alone.overhead, alone.cache)
    assert split.per_rank * 3 >= split.total
    assert "3 ranks of" in named(three, "memory").found


def test_a_latent_cache_is_kept_by_every_rank(ask: Ask, tmp_path: Path) -> None:
    sizes = SIZES | {"kv_lora_rank": 32, "qk_rope_head_dim": 16}
    folder = write_folder(tmp_path / "m", **sizes)
    estimates = [ask(folder, ranks(n), supports=can_split).estimate for n in (1, 3)]
    one, three = (estimate.cache if estimate else 0 for estimate in estimates)
    assert three == 3 * one > 0


def test_a_simulated_model_is_split_into_as_many_processes_as_asked(
    ask: Ask, tmp_path: Path
) -> None:
    script = write_simulated(tmp_path / "s", weights_gb=3)
    explanation = ask(script, ranks(4))
    assert explanation.admitted
    assert explanation.estimate is not None
    assert (explanation.estimate.total, explanation.estimate.ranks) == (3 * 10**9, 4)
