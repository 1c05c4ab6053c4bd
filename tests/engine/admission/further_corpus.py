"""More models found by a hunt from outside: each was admitted once and failed at its load, or led
the loader out of its folder."""

import os
from pathlib import Path

from tests.engine.admission.case import BACKEND, BROKEN, KIND, UNSAFE, Case, Make
from tests.engine.admission.folder_corpus import file, folder
from tests.engine.admission.gguf_corpus import LFS, content, gguf, with_
from tests.engine.admission.models import CONFIG, LAYERS, TOKENIZER, tensors, write_folder
from tests.forge import Tensor, array, gguf_bytes, safetensors_bytes

UP = "blk.0.ffn_up.weight"

GGUF_FURTHER: dict[str, Case] = {
    # A segmentation fault in the first computation.
    "weights in Q8_1": Case(gguf(parts=with_(UP, type=9, size=64 * 36)), BACKEND, "backend"),
    # GGML_ASSERT in ggml-backend.cpp: buffer pointer must be aligned.
    "aligned to one byte": Case(gguf({"general.alignment": 1}, alignment=1), BACKEND, "backend"),
    "aligned to 64 bytes": Case(gguf({"general.alignment": 64}, alignment=64)),
    "a vision encoder inside": Case(
        gguf(parts=[*tensors(), Tensor("v.patch_embd.weight", (4,))]), BACKEND, "backend", row=5
    ),
    "layers it does not name": Case(gguf({"llama.block_count": 1}), BROKEN, "complete", row=5),
    "heads of one layer": Case(
        gguf({"llama.attention.head_count": array("u32", [2])}), BROKEN, "complete"
    ),
    "heads of every layer": Case(
        gguf({"llama.attention.head_count": array("u32", [2, 2])}),
    ),
    "no feed-forward length": Case(
        gguf({"llama.feed_forward_length": None}), BROKEN, "complete", row=20
    ),
    "control vector": Case(
        content(gguf_bytes({"general.architecture": "controlvector"})), KIND, "architecture"
    ),
    "a tokenizer to be ignored": Case(
        gguf({"tokenizer.ggml.model": "no_vocab"}), BROKEN, "complete", row=20
    ),
}


def waiting_template(root: Path) -> Path:
    """transformers opens every template of this folder, and this one for ever."""
    path = write_folder(root / "m")
    (path / "additional_chat_templates").mkdir()
    os.mkfifo(path / "additional_chat_templates" / "tool.jinja")
    return path


def led_out_template(root: Path) -> Path:
    path = write_folder(root / "m")
    (path / "additional_chat_templates").mkdir()
    (root / "secret").write_text("not of this model")
    (path / "additional_chat_templates" / "tool.jinja").symlink_to(root / "secret")
    return path


def vocabulary(**changes: object) -> Make:
    """A folder with another vocabulary in its tokenizer."""
    model = {"type": "BPE", "vocab": {"a": 0, "b": 1}, "merges": [], **changes}
    return file("tokenizer.json", {**TOKENIZER, "model": model})


def packed(**config: object) -> Make:
    """A folder whose embedding is stored as MLX quantises it."""
    stem = "model.embed_tokens"
    parts = {
        f"{stem}.weight": ("U32", (2,), 8),
        f"{stem}.scales": ("F16", (2,), 4),
        f"{stem}.biases": ("F16", (2,), 4),
        **{f"model.layers.{number}.w": ("F32", (2,), 8) for number in range(LAYERS)},
    }
    return file("model.safetensors", safetensors_bytes(parts), **config)


def awq(root: Path) -> Path:
    """A folder with one matrix as AWQ packs it."""
    path = write_folder(root / "m", quantization_config={"quant_method": "awq", "bits": 4})
    name = "model.layers.{}.mlp.up_proj.qweight"
    parts = {name.format(number): ("I32", (2,), 8) for number in range(LAYERS)}
    (path / "model.safetensors").write_bytes(safetensors_bytes(parts))
    return path


def elsewhere(name: str) -> dict[str, object]:
    return {"fast_tokenizer_files": ["tokenizer.json", name]}


FOLDERS_FURTHER: dict[str, Case] = {
    "a template that is a FIFO": Case(waiting_template, UNSAFE, "safe"),
    "a template linked out": Case(led_out_template, UNSAFE, "safe"),
    "a tokenizer of another folder": Case(
        file("tokenizer_config.json", elsewhere("../other/tokenizer.4.0.json")), UNSAFE, "safe"
    ),
    "a tokenizer list of junk": Case(
        file("tokenizer_config.json", {"fast_tokenizer_files": [7]}), UNSAFE, "safe"
    ),
    "a tokenizer for another version": Case(
        file("tokenizer_config.json", elsewhere("tokenizer.4.0.json"))
    ),
    # What mlx-lm and transformers take apart unseen.
    "architectures a number": Case(folder(architectures=5), BROKEN, "complete"),
    "text config a list": Case(folder(text_config=[]), BROKEN, "complete"),
    "text config null": Case(
        file("config.json", {**CONFIG, "text_config": None}), BROKEN, "complete"
    ),
    "rope scaling a text": Case(folder(rope_scaling="linear"), BROKEN, "complete"),
    "end token a text": Case(folder(eos_token_id="</s>"), BROKEN, "complete"),
    "fewer layers than weights": Case(folder(num_hidden_layers=1), BROKEN, "complete"),
    "added tokens cut short": Case(file("added_tokens.json", "{"), BROKEN, "complete"),
    "special tokens cut short": Case(file("special_tokens_map.json", "{"), BROKEN, "complete"),
    "end token by number": Case(
        file("tokenizer_config.json", {"eos_token": 5}), BROKEN, "complete"
    ),
    "template a pointer": Case(file("chat_template.jinja", LFS), BROKEN, "complete", row=12),
    "template no UTF-8": Case(file("chat_template.jinja", b"\xff\xfe"), BROKEN, "complete"),
    "template empty": Case(file("chat_template.jinja", b"")),
    "template plain": Case(file("chat_template.jinja", "<|x|>{{ messages }}")),
    # tokenizer.json
    "vocabulary a list": Case(vocabulary(vocab=["a", "b"]), BROKEN, "complete", row=47),
    "token below zero": Case(vocabulary(vocab={"a": -1}), BROKEN, "complete", row=47),
    "merge of no token": Case(vocabulary(merges=["a z"]), BROKEN, "complete", row=47),
    "merge into no token": Case(vocabulary(merges=[["a", "b"]]), BROKEN, "complete", row=47),
    "merge of three": Case(vocabulary(merges=["a b c"]), BROKEN, "complete", row=47),
    "a merge": Case(vocabulary(vocab={"a": 0, "b": 1, "ab": 2}, merges=["a b"])),
    "tokenizer of the future": Case(
        file("tokenizer.json", {**TOKENIZER, "version": "9.0"}), BROKEN, "complete", row=47
    ),
    # how the weights are stored
    "header of two bytes": Case(
        file("model.safetensors", b"\x02" + bytes(7) + b"{}"), BROKEN, "complete", row=25
    ),
    "packed and not told": Case(packed(), BACKEND, "backend"),
    "packed and told": Case(packed(quantization={"bits": 4, "group_size": 32})),
    "modelopt of another kind": Case(
        file("hf_quant_config.json", {"quantization": {"quant_algo": "FP8"}}), BACKEND, "backend"
    ),
    "modelopt cut short": Case(file("hf_quant_config.json", "{"), BROKEN, "complete"),
    "awq": Case(awq),
    "gptq unpacked": Case(
        folder(quantization_config={"quant_method": "gptq", "bits": 4}), BACKEND, "backend"
    ),
}
