"""More models found by a hunt from outside: each was admitted once and failed at its load, or led
the loader out of its folder."""

import os
from pathlib import Path

from tests.engine.admission.case import BACKEND, BROKEN, UNSAFE, Case
from tests.engine.admission.folder_corpus import file
from tests.engine.admission.gguf_corpus import gguf, with_
from tests.engine.admission.models import tensors, write_folder
from tests.forge import Tensor, array

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


def elsewhere(name: str) -> dict[str, object]:
    return {"fast_tokenizer_files": ["tokenizer.json", name]}


FOLDERS_FURTHER: dict[str, Case] = {
    "a template that is a FIFO": Case(waiting_template, UNSAFE, "safe"),
    "a template linked out": Case(led_out_template, UNSAFE, "safe"),
    "a tokenizer of another folder": Case(
        file("tokenizer_config.json", elsewhere("../other/tokenizer.4.0.json")), UNSAFE, "safe"
    ),
    "a tokenizer for another version": Case(
        file("tokenizer_config.json", elsewhere("tokenizer.4.0.json"))
    ),
}
