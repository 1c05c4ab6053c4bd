"""Which shapes belong to a config, in every packing, and when nothing is said."""

import pytest

from engine.admission.folder_shapes import Shape, gap

CONFIG: dict[str, object] = {
    "model_type": "llama",
    "num_hidden_layers": 2,
    "hidden_size": 64,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 128,
    "vocab_size": 100,
}
LAYER = {
    "input_layernorm": (64,),
    "post_attention_layernorm": (64,),
    "self_attn.q_proj": (64, 64),
    "self_attn.k_proj": (32, 64),
    "self_attn.v_proj": (32, 64),
    "self_attn.o_proj": (64, 64),
    "mlp.gate_proj": (128, 64),
    "mlp.up_proj": (128, 64),
    "mlp.down_proj": (64, 128),
}


def dense() -> dict[str, Shape]:
    shapes: dict[str, Shape] = {"model.embed_tokens.weight": (100, 64), "model.norm.weight": (64,)}
    for number in range(2):
        for name, shape in LAYER.items():
            shapes[f"model.layers.{number}.{name}.weight"] = shape
    return shapes


def packed(bits: int, group: int) -> dict[str, Shape]:
    shapes = dense()
    for name, shape in dense().items():
        if len(shape) == 2:
            rows, columns = shape
            shapes[name] = (rows, columns * bits // 32)
            shapes[name.removesuffix("weight") + "scales"] = (rows, columns // group)
    return shapes


def test_dense_weights_fit() -> None:
    assert gap(CONFIG, dense()) is None


@pytest.mark.parametrize("bits", [2, 3, 4, 5, 6, 8])
@pytest.mark.parametrize("group", [16, 32, 64])
def test_packed_weights_fit(bits: int, group: int) -> None:
    quantised = CONFIG | {"quantization": {"bits": bits, "group_size": group}}
    assert gap(quantised, packed(bits, group)) is None


@pytest.mark.parametrize("kind", ["llama", "mistral", "qwen2", "qwen3"])
def test_a_head_of_its_own_size_counts_where_the_model_type_has_one(kind: str) -> None:
    config = CONFIG | {"model_type": kind, "head_dim": 8}
    assert (gap(config, dense()) is None) is (kind == "qwen2")


@pytest.mark.parametrize(
    "change",
    [
        {"hidden_size": 32},
        {"hidden_size": 128},
        {"vocab_size": 101},
        {"num_attention_heads": 2, "num_key_value_heads": 2},
        {"num_key_value_heads": None},
        {"intermediate_size": 256},
    ],
    ids=str,
)
@pytest.mark.parametrize("shapes", [dense(), packed(4, 32)], ids=["dense", "packed"])
def test_another_config_does_not_fit(change: dict[str, object], shapes: dict[str, Shape]) -> None:
    found = gap(CONFIG | change, shapes)
    assert found is not None
    assert found.message == "its weights do not fit its config.json"
    assert found.expected
    assert found.found


def test_a_head_for_the_words_is_held_against_them() -> None:
    untied = CONFIG | {"tie_word_embeddings": False}
    assert gap(untied, dense() | {"lm_head.weight": (100, 64)}) is None
    assert gap(untied, dense() | {"lm_head.weight": (99, 64)}) is not None


@pytest.mark.parametrize(
    "change",
    [
        {"model_type": "deepseek_v3"},
        {"model_type": ["llama"]},
        {"quantization_config": {"quant_method": "awq"}},
        {"intermediate_size": None},
        {"num_hidden_layers": 3},
        {"tie_word_embeddings": False},
    ],
    ids=str,
)
def test_what_is_built_or_named_otherwise_is_left_to_the_load(change: dict[str, object]) -> None:
    assert gap(CONFIG | {"hidden_size": 32} | change, dense()) is None
