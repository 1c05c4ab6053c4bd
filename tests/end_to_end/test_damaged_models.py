"""Damaged and odd models on real backends: each is caught where it should be, or proves itself.

Every file is made of the starter's own bytes; nothing is mocked. All cases of a backend go through
one engine, two at a time, because starting and loading is most of the cost.
"""

import asyncio
import json
import os
import random
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from engine import Code, Decision, Engine, EngineError, ModelView, Readiness, load_settings
from tests.end_to_end import damage
from tests.end_to_end.damage import Gguf, ones, shuffled, shuffled_rows, zeros

pytestmark = [pytest.mark.real, pytest.mark.xdist_group("damaged")]
ACTOR = "tester@local"
TEMPLATE_S = 1.0
BOMB = (
    "{% for a in range(99999) %}{% for b in range(99999) %}{% for c in range(99999) %}"
    "{% endfor %}{% endfor %}{% endfor %}"
)
DOUBLING = (
    "{% set ns = namespace(x='xxxxxxxx') %}{% for i in range(60) %}"
    "{% set ns.x = ns.x ~ ns.x %}{% endfor %}"
)
BROKEN = "{% for message in messages %}{{ message.content }}"
RAISING = "{{ raise_exception('only tools may speak') }}"
DEAF = "<|im_start|>user\nGood day.<|im_end|>\n<|im_start|>assistant\n"
ENDLESS = (
    "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"
    "{% if add_generation_prompt %}assistant:{% endif %}"
)
LAST_OF_FIVE = ("model.layers.2.", "model.layers.3.", "model.layers.4.")
Q4_ROW, Q8_ROW = 576 // 32 * 20, 576 // 32 * 34
"""Bytes of a row of 576 weights, the width of the starter."""


@dataclass(frozen=True)
class Outcome:
    """How a load ended."""

    model: ModelView
    decision: Decision | None

    @property
    def where(self) -> str:
        """What caught it: ``gate complete``, ``load``, ``canary logits`` or ``nothing``."""
        decision = self.decision
        if decision is None:
            return "nothing"
        if decision.code is Code.MODEL_CANARY_FAILED:
            return f"canary {decision.check}"
        return decision.check if decision.check == "load" else f"gate {decision.check}"

    @property
    def warnings(self) -> set[str]:
        """The canary's steps that warned, ``memory`` apart."""
        steps = self.model.canary.steps if self.model.canary else ()
        return {s.name for s in steps if s.result.value == "warn" and s.name != "memory"}


async def load_each(folder: Path, names: list[str], **canary: float) -> dict[str, Outcome]:
    """Load every model of a folder through one engine; a routable one is unloaded again.

    Args:
        canary: Bounds of the canary's that differ.
    """
    settings = load_settings(
        home=folder.parent / "home",
        folders=(folder,),
        lmstudio=folder.parent / "none",
        starter=False,
        spare=True,
        context=512,
        threads=1,
        deadlines={"template_s": TEMPLATE_S},
        canary=canary,
    )
    engine = Engine(settings)
    await engine.start()
    room = asyncio.Semaphore(2)
    outcomes: dict[str, Outcome] = {}

    async def load(name: str) -> None:
        async with room:
            decision = None
            try:
                async with asyncio.timeout(180):
                    await engine.load(name, actor=ACTOR, wait=True)
            except EngineError as error:
                decision = error.decision
            model = engine.snapshot().model(name)
            assert model is not None
            outcomes[name] = Outcome(model, decision)
            if model.readiness is Readiness.ROUTABLE:
                await engine.unload(name, actor=ACTOR)

    try:
        found = {model.id for model in engine.snapshot().models}
        assert found == set(names)
        await asyncio.gather(*map(load, names))
    finally:
        await engine.stop()
    return outcomes


def load_all(folder: Path, names: list[str], **canary: float) -> dict[str, Outcome]:
    """See :func:`load_each`, on a machine with no other models."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LMX_HOME", str(folder.parent / "home"))
        patch.setenv("HF_HUB_CACHE", str(folder.parent / "no-hub"))
        return asyncio.run(load_each(folder, names, **canary))


def permuted(tokens: list[Any]) -> list[Any]:
    """A vocabulary whose ordinary tokens changed places; the 17 control tokens keep theirs."""
    rest = tokens[17:]
    random.Random(3).shuffle(rest)
    return tokens[:17] + rest


# -- GGUF ---------------------------------------------------------------------------------------

Write = Callable[[Gguf, Path], object]
ODD_NAMES = (
    "with spaces  and (brackets) [x]",
    "模型-Ünïcode-🙂",
    "-leading-dash",
    "100%d %s {0} $HOME `id`",
    "n" * 200,
)


def no_bytes(starter: Gguf) -> dict[str, bytes]:
    """A vocabulary in which no character stands for itself: nothing can be spelled."""
    tokens = damage.texts_of(starter.pairs[damage.TOKENS])
    junk = [f"<junk{i}>".encode() if len(t.decode()) == 1 else t for i, t in enumerate(tokens)]
    return {"tokenizer__ggml__tokens": damage.strings(junk)}


def template(text: str) -> Write:
    return lambda g, to: g.but(tokenizer__chat_template=damage.string(text)).write(to)


def patched(patch: damage.Patch, where: str) -> Write:
    return lambda g, to: g.write(to, patch, where)


def permute(starter: Gguf, to: Path) -> None:
    tokens = permuted(damage.texts_of(starter.pairs[damage.TOKENS]))
    starter.but(tokenizer__ggml__tokens=damage.strings(tokens)).write(to)


def silence(starter: Gguf, to: Path) -> None:
    """Make the first word of its greedy answer the token that ends one."""
    first = damage.texts_of(starter.pairs[damage.TOKENS]).index(FIRST_WORD)
    starter.but(tokenizer__ggml__eos_token_id=damage.number(first)).write(to)


def endless(starter: Gguf, to: Path) -> None:
    """Give the token that ends its answers another name, and call a rare token the end."""
    tokens = damage.texts_of(starter.pairs[damage.TOKENS])
    tokens[2] = b"<|zz|>"
    turns = starter.pairs[damage.TEMPLATE][12:].decode().replace("<|im_end|>", "<|zz|>")
    starter.but(
        tokenizer__ggml__tokens=damage.strings(tokens),
        tokenizer__chat_template=damage.string(turns),
        tokenizer__ggml__eos_token_id=damage.number(9),
    ).write(to)


def cut(starter: Gguf, to: Path) -> None:
    starter.write(to)
    os.truncate(to, to.stat().st_size - 5_000_000)


FIRST_WORD = b"L"
GGUF_CASES: dict[str, tuple[Write, str]] = {
    "nan weights": (patched(ones, "blk."), "canary logits"),
    "one nan matrix": (patched(ones, "blk.29.ffn_down"), "canary logits"),
    "zero weights": (patched(zeros, "blk.|token_embd"), "canary logits"),
    "a hole of three layers": (patched(zeros, "blk.27.|blk.28.|blk.29."), "canary logits"),
    "shuffled bytes": (patched(shuffled, "blk.0."), "canary logits"),
    "shuffled rows": (patched(shuffled_rows(Q4_ROW), "blk.1"), "canary perplexity"),
    "shuffled embedding": (patched(shuffled_rows(Q8_ROW), "token_embd"), "canary perplexity"),
    "permuted vocabulary": (permute, "canary perplexity"),
    "spelling nothing": (lambda g, to: g.but(**no_bytes(g)).write(to), "canary tokenizer"),
    "bomb": (template(BOMB), "canary template"),
    "doubling": (template(DOUBLING), "canary template"),
    "broken template": (template(BROKEN), "canary template"),
    "raising template": (template(RAISING), "canary template"),
    "empty rendering": (template("{% if false %}x{% endif %}"), "canary template"),
    "silent": (silence, "canary decode"),
    "truncated": (cut, "gate complete"),
}
WARNED: dict[str, tuple[Write, str]] = {
    "one empty matrix": (patched(zeros, "blk.12.ffn_up"), "logits"),
    "never stops": (endless, "template"),
    "no end of turn": (template(ENDLESS), "template"),
    "deaf": (template(DEAF), "template"),
}
GOOD: dict[str, Write] = {
    "base": lambda g, to: g.but(tokenizer__chat_template=None).write(to),
    "no eos": lambda g, to: g.but(tokenizer__ggml__eos_token_id=None).write(to),
}


@pytest.fixture(scope="module")
def gguf(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Outcome]:
    folder = tmp_path_factory.mktemp("gguf") / "models"
    folder.mkdir()
    starter = Gguf.read(damage.starter_gguf())
    cases: dict[str, Write] = {name: write for name, (write, _) in GGUF_CASES.items()}
    cases |= {name: write for name, (write, _) in WARNED.items()} | GOOD
    cases |= dict.fromkeys(ODD_NAMES, lambda g, to: shutil.copyfile(g.source, to))
    for name, write in cases.items():
        write(starter, folder / f"{name}.gguf")
    return load_all(folder, list(cases))


@pytest.mark.parametrize("name", GGUF_CASES)
def test_a_damaged_gguf_is_caught(name: str, gguf: dict[str, Outcome]) -> None:
    outcome = gguf[name]
    assert outcome.where == GGUF_CASES[name][1], outcome.decision
    assert outcome.decision is not None
    assert outcome.decision.expected
    assert outcome.decision.found
    assert outcome.decision.remedy
    canary = outcome.where.startswith("canary")
    expected = Readiness.QUARANTINED if canary else Readiness.UNLOADED
    assert outcome.model.readiness is expected
    if not canary:
        assert outcome.decision.code is Code.MODEL_INCOMPLETE


@pytest.mark.parametrize("name", WARNED)
def test_a_strange_gguf_serves_with_a_warning(name: str, gguf: dict[str, Outcome]) -> None:
    assert gguf[name].where == "nothing", gguf[name].decision
    assert gguf[name].warnings == {WARNED[name][1]}


@pytest.mark.parametrize("name", [*GOOD, *ODD_NAMES])
def test_a_good_gguf_of_any_kind_and_name_proves_itself(
    name: str, gguf: dict[str, Outcome]
) -> None:
    outcome = gguf[name]
    assert outcome.where == "nothing", outcome.decision
    assert outcome.model.readiness is Readiness.ROUTABLE
    assert outcome.warnings == set()
    assert outcome.model.chat is (name != "base")
    assert outcome.model.canary is not None
    steps = {step.name: step for step in outcome.model.canary.steps}
    assert steps["template"].result.value == ("skipped" if name == "base" else "pass")
    assert "completions only" in steps["template"].detail or name != "base"
    assert all(step.ms is not None for step in outcome.model.canary.steps)


# -- MLX ----------------------------------------------------------------------------------------

Parts = dict[str, damage.Part]
Make = Callable[[Path, Path], None]
SHARD = "model-00001-of-00001.safetensors"
FEW = 2
"""Layers kept where it does not matter that so few know no English: MLX is slow on a CPU."""
FEW_KNOW_NO_ENGLISH = {"perplexity_max": 1e12, "decode_tokens": 4}
"""What the canary may ask of them."""


def weights(patch: damage.Patch, where: tuple[str, ...], layers: int = FEW) -> Make:
    def make(starter: Path, to: Path) -> None:
        parts = damage.copy_mlx(starter, to, layers)
        for name, part in parts.items():
            if name.startswith(where):
                parts[name] = replace(part, data=patch(part.data))
        damage.write_safetensors(to / "model.safetensors", parts)

    return make


def lost_shard(lost: tuple[str, ...]) -> Make:
    """Two shards, the one with the ``lost`` deleted, and the index mended to name the other."""

    def make(starter: Path, to: Path) -> None:
        parts = damage.copy_mlx(starter, to, FEW)
        first = {name: part for name, part in parts.items() if not name.startswith(lost)}
        damage.write_safetensors(to / SHARD, first)
        total = sum(len(part.data) for part in first.values())
        index = {"metadata": {"total_size": total}, "weight_map": dict.fromkeys(first, SHARD)}
        (to / "model.safetensors.index.json").write_text(json.dumps(index))

    return make


def fewer_layers(starter: Path, to: Path) -> None:
    """The lost shard papered over in the config too."""
    damage.write_safetensors(to / "model.safetensors", damage.copy_mlx(starter, to, 24))


def permute_mlx(starter: Path, to: Path) -> None:
    damage.write_safetensors(to / "model.safetensors", damage.copy_mlx(starter, to))
    vocabulary = json.loads((to / "tokenizer.json").read_text())
    words = vocabulary["model"]["vocab"]
    mixed = permuted(sorted(words, key=lambda word: int(words[word])))
    vocabulary["model"]["vocab"] = {word: number for number, word in enumerate(mixed)}
    (to / "tokenizer.json").write_text(json.dumps(vocabulary))


def template_mlx(text: str) -> Make:
    def make(starter: Path, to: Path) -> None:
        damage.write_safetensors(to / "model.safetensors", damage.copy_mlx(starter, to, FEW))
        damage.edit_json(to / "tokenizer_config.json", chat_template=text)

    return make


def silence_mlx(starter: Path, to: Path) -> None:
    """Every token ends the answer."""
    parts = damage.copy_mlx(starter, to, FEW)
    damage.write_safetensors(to / "model.safetensors", parts)
    damage.edit_json(to / "generation_config.json", eos_token_id=list(range(49_152)))


def base_mlx(starter: Path, to: Path) -> None:
    parts = damage.copy_mlx(starter, to, FEW, eos_token_id=None)
    damage.write_safetensors(to / "model.safetensors", parts)
    damage.edit_json(to / "tokenizer_config.json", chat_template=None, eos_token=None)
    damage.edit_json(to / "generation_config.json", eos_token_id=None)


def configured(**config: object) -> Make:
    """The first layers under another config."""

    def make(starter: Path, to: Path) -> None:
        parts = damage.copy_mlx(starter, to, FEW, **config)
        damage.write_safetensors(to / "model.safetensors", parts)

    return make


def strange(change: Callable[[Parts], object], **config: object) -> Make:
    """The first layers with their tensors changed."""

    def make(starter: Path, to: Path) -> None:
        parts = damage.copy_mlx(starter, to, FEW, **config)
        change(parts)
        damage.write_safetensors(to / "model.safetensors", parts)

    return make


def swapped(parts: Parts) -> None:
    """Two matrices under each other's names."""
    one, other = "model.layers.0.mlp.up_proj.", "model.layers.0.self_attn.q_proj."
    for piece in ("weight", "scales", "biases"):
        parts[one + piece], parts[other + piece] = parts[other + piece], parts[one + piece]


def one_too_many(parts: Parts) -> None:
    parts["model.layers.0.self_attn.more.weight"] = parts["model.norm.weight"]


def other_type(parts: Parts) -> None:
    name = "model.layers.0.mlp.up_proj.weight"
    parts[name] = replace(parts[name], dtype="I32")


def without_norm(parts: Parts) -> None:
    del parts["model.norm.weight"]


def sharded_mlx(starter: Path, to: Path) -> None:
    """Three shards with an index, and the code that such folders carry and nobody needs."""
    parts = damage.copy_mlx(starter, to, FEW, auto_map={"AutoModel": "modeling_llama.Llama"})
    weight_map: dict[str, str] = {}
    for number in range(3):
        name = f"model-{number + 1:05d}-of-00003.safetensors"
        some = {key: part for n, (key, part) in enumerate(parts.items()) if n % 3 == number}
        damage.write_safetensors(to / name, some)
        weight_map |= dict.fromkeys(some, name)
    total = sum(len(part.data) for part in parts.values())
    index = {"metadata": {"total_size": total}, "weight_map": weight_map}
    (to / "model.safetensors.index.json").write_text(json.dumps(index))
    for name in ("modeling_llama.py", "configuration_llama.py"):
        (to / name).write_text("raise SystemExit('this must never run')\n")


def untied_mlx(starter: Path, to: Path) -> None:
    """A head of its own, which the starter, being tied, has not."""
    parts = damage.copy_mlx(
        starter,
        to,
        FEW,
        tie_word_embeddings=False,
        quantization={
            "group_size": 32,
            "bits": 4,
            "model.embed_tokens": {"group_size": 32, "bits": 8},
            "lm_head": {"group_size": 32, "bits": 8},
        },
    )
    tied = "model.embed_tokens."
    head = {name.replace(tied, "lm_head."): p for name, p in parts.items() if tied in name}
    damage.write_safetensors(to / "model.safetensors", parts | head)


LAYER = ("model.layers.",)
WHOLE: dict[str, tuple[Make, str]] = {
    "permuted vocabulary": (permute_mlx, "canary perplexity"),
    "fewer layers": (fewer_layers, "canary perplexity"),
}
"""What is found out only beside a model that knows English."""
MLX_CASES: dict[str, tuple[Make, str]] = WHOLE | {
    "nan weights": (weights(ones, LAYER), "canary logits"),
    "zero weights": (weights(zeros, ("model.",)), "canary logits"),
    "a hole of three layers": (weights(zeros, LAST_OF_FIVE, 5), "canary logits"),
    "shuffled bytes": (weights(shuffled, LAYER[:1]), "canary logits"),
    "lost shard": (lost_shard(("model.layers.1.",)), "gate complete"),
    "lost half a layer": (lost_shard(("model.layers.1.mlp",)), "load"),
    "bomb": (template_mlx(BOMB), "canary template"),
    "broken template": (template_mlx(BROKEN), "canary template"),
    "silent": (silence_mlx, "canary decode"),
}
BASE_MLX = "base [x] 100% 模型"
UNFIT: dict[str, tuple[Make, str, Code]] = {
    "another width": (configured(hidden_size=512), "gate complete", Code.MODEL_INCOMPLETE),
    "another vocabulary": (configured(vocab_size=32_000), "gate complete", Code.MODEL_INCOMPLETE),
    "other heads": (configured(num_attention_heads=3), "gate complete", Code.MODEL_INCOMPLETE),
    "other shared heads": (configured(num_key_value_heads=1), "gate complete",
                           Code.MODEL_INCOMPLETE),
    "swapped matrices": (strange(swapped), "gate complete", Code.MODEL_INCOMPLETE),
    "words for a number": (configured(rms_norm_eps="small"), "gate complete",
                           Code.MODEL_INCOMPLETE),
    "no final norm": (strange(without_norm), "load", Code.MODEL_INCOMPLETE),
    "no final norm, another width": (strange(without_norm, hidden_size=512), "load",
                                     Code.MODEL_UNSUPPORTED_BACKEND),
    "untied without a head": (configured(tie_word_embeddings=False), "load",
                              Code.MODEL_INCOMPLETE),
    "one tensor too many": (strange(one_too_many), "load", Code.MODEL_UNSUPPORTED_BACKEND),
    "no quantisation told": (configured(quantization=None), "gate backend",
                             Code.MODEL_UNSUPPORTED_BACKEND),
    "no such rope": (configured(rope_scaling={"rope_type": "nonesuch", "factor": 2.0}), "load",
                     Code.MODEL_UNSUPPORTED_BACKEND),
    "words in its rope": (configured(rope_scaling={"rope_type": "linear", "factor": "two"}),
                          "load", Code.UNKNOWN_FAILURE),
    "matrices of signed numbers": (strange(other_type), "canary logits",
                                   Code.MODEL_CANARY_FAILED),
}  # fmt: skip
"""Weights and config that do not belong together: what says so, and how."""
GOOD_MLX: dict[str, Make] = {
    "sharded  (v2) Ünïcode 模型": sharded_mlx,
    "untied": untied_mlx,
}


@pytest.fixture(scope="module")
def mlx(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Outcome]:
    place = tmp_path_factory.mktemp("mlx")
    starter = damage.build_mlx(place / "starter")
    cases: dict[str, Make] = {name: make for name, (make, _) in MLX_CASES.items()}
    cases |= {name: make for name, (make, _, _) in UNFIT.items()} | GOOD_MLX
    cases[BASE_MLX] = base_mlx
    outcomes: dict[str, Outcome] = {}
    bounds: dict[str, dict[str, float]] = {"whole": {}, "few": FEW_KNOW_NO_ENGLISH}
    for kind, bound in bounds.items():
        names = [name for name in cases if (name in WHOLE) is (kind == "whole")]
        for name in names:
            cases[name](starter, place / kind / "models" / name)
        outcomes |= load_all(place / kind / "models", names, **bound)
    return outcomes


@pytest.mark.parametrize("name", MLX_CASES)
def test_a_damaged_mlx_model_is_caught(name: str, mlx: dict[str, Outcome]) -> None:
    outcome = mlx[name]
    assert outcome.where == MLX_CASES[name][1], outcome.decision
    assert outcome.decision is not None
    assert outcome.decision.found
    if not outcome.where.startswith("canary"):
        assert outcome.decision.code is Code.MODEL_INCOMPLETE
        assert outcome.model.readiness is Readiness.UNLOADED
    else:
        assert outcome.model.readiness is Readiness.QUARANTINED


def test_an_mlx_base_model_of_an_odd_name_proves_itself(mlx: dict[str, Outcome]) -> None:
    outcome = mlx[BASE_MLX]
    assert outcome.where == "nothing", outcome.decision
    assert outcome.model.chat is False
    assert outcome.warnings == set()


@pytest.mark.parametrize("name", UNFIT)
def test_what_does_not_fit_its_config_is_refused_once_and_by_its_class(
    name: str, mlx: dict[str, Outcome]
) -> None:
    outcome, (_, where, code) = mlx[name], UNFIT[name]
    assert outcome.decision is not None
    assert (outcome.where, outcome.decision.code) == (where, code), outcome.decision
    assert outcome.decision.found
    assert outcome.model.strikes == 0, "it was loaded again and again"


@pytest.mark.parametrize("name", GOOD_MLX)
def test_a_good_mlx_folder_of_any_build_proves_itself(name: str, mlx: dict[str, Outcome]) -> None:
    outcome = mlx[name]
    assert outcome.where == "nothing", outcome.decision
    assert outcome.model.readiness is Readiness.ROUTABLE
    assert outcome.model.chat
    assert outcome.warnings == set()


def test_one_model_is_the_same_in_any_build(mlx: dict[str, Outcome]) -> None:
    """As few layers know no English, that they are read right is seen side by side."""
    figures = {
        step.detail.split()[0]
        for name in (*GOOD_MLX, BASE_MLX)
        if (canary := mlx[name].model.canary)
        for step in canary.steps
        if step.name == "perplexity"
    }
    assert len(figures) == 1, figures
