"""Damaged, hostile and healthy model folders, each with the code the gate must give."""

import json
import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.engine.admission.case import BACKEND, BROKEN, GONE, KIND, UNSAFE, Case, Make
from tests.engine.admission.gguf_corpus import HTML, LFS, content, gguf
from tests.engine.admission.models import LAYERS, TOKENIZER, write_folder
from tests.forge import gguf_bytes, safetensors_bytes


def folder(**config: object) -> Make:
    """A small model folder with some of its config changed."""
    return lambda root: write_folder(root / "m", **config)


def file(name: str, data: bytes | str | object, **config: object) -> Make:
    """The folder with one more, or another, file."""

    def make(root: Path) -> Path:
        path = write_folder(root / "m", **config)
        text = data if isinstance(data, bytes | str) else json.dumps(data)
        (path / name).write_bytes(text.encode() if isinstance(text, str) else text)
        return path

    return make


def lost(*names: str) -> Make:
    def make(root: Path) -> Path:
        path = write_folder(root / "m")
        for name in names:
            (path / name).unlink()
        return path

    return make


def index(weight_map: Mapping[str, str]) -> Make:
    return file("model.safetensors.index.json", {"weight_map": weight_map})


def weights(**options: object) -> Make:
    return file("model.safetensors", safetensors_bytes(**options))  # type: ignore[arg-type]


NAMES = ["model.embed_tokens.weight", *(f"model.layers.{n}.w" for n in range(LAYERS))]


def sharded(root: Path) -> Path:
    """Two shards and their index."""
    path = write_folder(root / "m")
    (path / "model.safetensors").unlink()
    weight_map: dict[str, str] = {}
    for number, names in enumerate((NAMES[:1], NAMES[1:]), 1):
        name = f"model-{number:05d}-of-00002.safetensors"
        data = safetensors_bytes(dict.fromkeys(names, ("BF16", (2,), 4)))
        (path / name).write_bytes(data)
        weight_map |= dict.fromkeys(names, name)
    (path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    return path


def shard_lost(root: Path) -> Path:
    path = sharded(root)
    (path / "model-00002-of-00002.safetensors").unlink()
    return path


def shard_lost_without_index(root: Path) -> Path:
    path = shard_lost(root)
    (path / "model.safetensors.index.json").unlink()
    return path


def shard_extra(root: Path) -> Path:
    path = sharded(root)
    data = safetensors_bytes({"extra": ("BF16", (2,), 4)})
    (path / "model-extra.safetensors").write_bytes(data)
    return path


def shard_twice(root: Path) -> Path:
    path = sharded(root)
    data = (path / "model-00001-of-00002.safetensors").read_bytes()
    (path / "model-again.safetensors").write_bytes(data)
    return path


def shard_linked_out(root: Path) -> Path:
    path = sharded(root)
    shard = path / "model-00002-of-00002.safetensors"
    shard.rename(root / "outside")
    shard.symlink_to(root / "outside")
    return path


def shard_linked_in(root: Path) -> Path:
    path = sharded(root)
    shard = path / "model-00002-of-00002.safetensors"
    shard.rename(path / "blob")
    shard.symlink_to("blob")
    return path


def hugging_face(root: Path) -> Path:
    repository = root / "models--org--name"
    path = sharded(repository / "snapshots")
    (repository / "blobs").mkdir()
    for number, each in enumerate(sorted(path.iterdir())):
        blob = each.rename(repository / "blobs" / f"{number:064x}")
        each.symlink_to(Path("../../blobs") / blob.name)
    return path


def stale(root: Path) -> Path:
    weight_map = dict.fromkeys(NAMES, "model-00001-of-00030.safetensors")
    return index(weight_map)(root)


def sparse(name: str) -> Make:
    def make(root: Path) -> Path:
        path = write_folder(root / "m")
        os.truncate(path / name, 4 * 1024**3)
        return path

    return make


def special(kind: str, name: str) -> Make:
    """Something that is no regular file under a name a loader would open."""

    def make(root: Path) -> Path:
        path = write_folder(root / "m")
        (path / name).unlink(missing_ok=True)
        if kind == "fifo":
            os.mkfifo(path / name)
        elif kind == "socket":
            here = Path.cwd()
            os.chdir(path)  # a socket's path may have 107 bytes only
            try:
                with socket.socket(socket.AF_UNIX) as listener:
                    listener.bind(name)
            finally:
                os.chdir(here)
        elif kind == "folder":
            (path / name).mkdir()
        else:
            (path / name).symlink_to({"dangling": "gone", "loop": name}.get(kind, kind))
        return path

    return make


def own_tokenizer(root: Path) -> Path:
    path = file("tokenizer_config.json", {"auto_map": {"AutoTokenizer": ["x.Y", None]}})(root)
    (path / "tokenizer.json").unlink()
    return path


def adapter(root: Path) -> Path:
    path = root / "m"
    path.mkdir()
    (path / "adapter_config.json").write_text("{}")
    (path / "adapters.safetensors").write_bytes(safetensors_bytes())
    return path


def pickled(root: Path) -> Path:
    path = write_folder(root / "m")
    (path / "model.safetensors").rename(path / "pytorch_model.bin")
    return path


def harmless(root: Path) -> Path:
    path = write_folder(root / "m", auto_map={"AutoModelForCausalLM": "modeling.M"})
    for name in ("README.md", ".gitattributes", "logo.png", "modeling.py", "LICENSE"):
        (path / name).write_bytes(b"\x89 anything")
    (path / ".cache").mkdir()
    return path


def odd_names(root: Path) -> Path:
    path = write_folder(root / "m\x1b]52;c;x\x07\u202e[red]\n")
    for name in (b"a\xff\xfe.txt", b"\x1b[2J.md", "\u202e.json".encode()):
        Path(os.fsdecode(os.fsencode(path) + b"/" + name)).write_bytes(b"{}")
    return path


def both(root: Path) -> Path:
    path = write_folder(root / "m")
    gguf()(root).rename(path / "m.gguf")
    return path


def nothing(root: Path) -> Path:
    (path := root / "m").mkdir()
    return path


def info(begin: int, end: int, dtype: str = "F32", shape: object = (2,)) -> dict[str, object]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def numbers(bits: object, size: object = 64, **more: object) -> dict[str, Any]:
    return {"bits": bits, "group_size": size, **more}


DEEP = '{"model_type": "llama", "x": ' + "[" * 900 + "]" * 900 + "}"
QUANTISATIONS: tuple[object, ...] = (
    *(numbers(7), numbers(4, 63), numbers(4, 64, mode="jang"), numbers("4"), numbers(0)),
    *(numbers(4, 32, mode="nvfp4"), {}, [], "4-bit", numbers(4, 64, layer=numbers(9))),
)
FOLDERS: dict[str, Case] = {
    # config
    "no config": Case(lost("config.json"), BROKEN, "complete"),
    "config of zeros": Case(file("config.json", bytes(500)), BROKEN, "complete", row=52),
    "config empty": Case(file("config.json", b""), BROKEN, "complete", row=52),
    "config deep": Case(file("config.json", DEEP), BROKEN, "complete"),
    "config deeper": Case(file("config.json", "[" * 10**6), BROKEN, "complete"),
    "config with NaN": Case(file("config.json", '{"a": NaN}'), BROKEN, "complete"),
    "config with a long number": Case(
        file("config.json", '{"a": ' + "9" * 9999 + "}"), BROKEN, "complete"
    ),
    "config that is a list": Case(file("config.json", "[1]"), BROKEN, "complete"),
    "config in UTF-16": Case(file("config.json", '{"a":1}'.encode("utf-16")), BROKEN, "complete"),
    "config too large": Case(
        file("config.json", b"{" + b" " * 5_000_000 + b"}"), BROKEN, "complete"
    ),
    "config of LFS": Case(file("config.json", LFS), BROKEN, "complete", row=12),
    **{
        f"{key} {value!r}": Case(folder(**{key: value}), BROKEN, "complete")
        for key, value in (
            ("num_hidden_layers", 10**9),
            ("num_hidden_layers", 0),
            ("num_hidden_layers", 2.0),
            ("num_hidden_layers", [2]),
            ("num_attention_heads", 0),
            ("num_attention_heads", 3),
            ("num_key_value_heads", 0),
            ("hidden_size", 10**12),
            ("hidden_size", "32"),
            ("vocab_size", -1),
            ("head_dim", True),
        )
    },
    "layers missing": Case(folder(num_hidden_layers=3), BROKEN, "complete", row=8),
    "no model_type": Case(folder(model_type=None), KIND, "architecture", row=4),
    "model_type a list": Case(folder(model_type=[[["x"]]]), KIND, "architecture", row=4),
    "unknown model_type": Case(folder(model_type="nonesuch"), KIND, "architecture", row=3),
    "helper module": Case(folder(model_type="base"), KIND, "architecture", row=4),
    "vision only": Case(folder(model_type="siglip_vision_model"), KIND, "architecture"),
    "encoder": Case(folder(model_type="bert", num_hidden_layers=None), KIND, "architecture"),
    "adapter": Case(adapter, KIND, "architecture"),
    # weights
    "no weights": Case(lost("model.safetensors"), BROKEN, "complete"),
    "weights of LFS": Case(file("model.safetensors", LFS), BROKEN, "complete", row=25),
    "weights empty": Case(file("model.safetensors", b""), BROKEN, "complete", row=25),
    "weights HTML": Case(file("model.safetensors", HTML), BROKEN, "complete", row=25),
    "weights are GGUF": Case(file("model.safetensors", gguf_bytes()), BACKEND, "backend", row=12),
    "weights are a zip": Case(
        file("model.safetensors", b"PK\x03\x04" + bytes(99)), BACKEND, "backend", row=12
    ),
    "weights cut": Case(weights(cut=1), BROKEN, "complete", row=25),
    "weights trailing": Case(weights(data=bytes(99)), BROKEN, "complete"),
    "header longer than the file": Case(weights(length=9999), BROKEN, "complete", row=25),
    "header of 100 MB and one": Case(weights(length=100_000_001), BROKEN, "complete"),
    "overlap": Case(
        weights(header={"a": info(0, 8), "b": info(0, 8)}, data=bytes(8)), BROKEN, "complete"
    ),
    "hole": Case(
        weights(header={"a": info(0, 8), "b": info(9, 17)}, data=bytes(17)), BROKEN, "complete"
    ),
    "dtype by shape": Case(
        weights(header={"a": info(0, 8, shape=[3])}, data=bytes(8)), BROKEN, "complete"
    ),
    "unknown dtype": Case(
        weights(header={"a": info(0, 8, "Q9")}, data=bytes(8)), BACKEND, "backend"
    ),
    "a name twice": Case(
        weights(header=b'{"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},' * 2),
        BROKEN,
        "complete",
    ),
    "64-bit floats": Case(
        weights(tensors=dict.fromkeys(NAMES, ("F64", (1,), 8))), BACKEND, "backend"
    ),
    "shard missing": Case(shard_lost, BROKEN, "complete", row=26),
    "shard missing, no index": Case(shard_lost_without_index, BROKEN, "complete", row=8),
    "shard twice": Case(shard_twice, BROKEN, "complete"),
    "shard linked out": Case(shard_linked_out, UNSAFE, "safe"),
    "index damaged": Case(file("model.safetensors.index.json", "{"), BROKEN, "complete"),
    "index without map": Case(file("model.safetensors.index.json", "{}"), BROKEN, "complete"),
    "index with numbers": Case(
        file("model.safetensors.index.json", {"weight_map": {"a": 7}}), BROKEN, "complete"
    ),
    "index with a lost tensor": Case(index({"z": "model.safetensors"}), BROKEN, "complete"),
    **{
        f"index names {name!r}": Case(index({"a": name}), UNSAFE, "safe")
        for name in (
            *("../x.safetensors", "/etc/passwd", "..", ".", "", "a/b", "a\\b", "a\0b", "a\x1bb"),
            *("a\u202eb.safetensors", "a\nb", "x" * 300),
        )
    },
    # tokenizer
    "no tokenizer": Case(lost("tokenizer.json"), BROKEN, "complete", row=47),
    "tokenizer damaged": Case(file("tokenizer.json", "{"), BROKEN, "complete", row=47),
    "tokenizer empty object": Case(file("tokenizer.json", "{}"), BROKEN, "complete", row=47),
    "tokenizer without tokens added": Case(
        file("tokenizer.json", {"model": TOKENIZER["model"]}), BROKEN, "complete", row=47
    ),
    "tokenizer of another type": Case(
        file("tokenizer.json", {"model": {"type": "Tik"}, "added_tokens": []}), BROKEN, "complete"
    ),
    "tokenizer without vocabulary": Case(
        file("tokenizer.json", {"model": {"type": "BPE"}, "added_tokens": []}), BROKEN, "complete"
    ),
    "tokenizer of 4 GiB": Case(sparse("tokenizer.json"), BROKEN, "complete"),
    "config of 4 GiB": Case(sparse("config.json"), BROKEN, "complete"),
    "own tokenizer": Case(own_tokenizer, UNSAFE, "safe", row=48),
    "tokenizer_config damaged": Case(file("tokenizer_config.json", "nul"), BROKEN, "complete"),
    "template a number": Case(
        file("tokenizer_config.json", {"chat_template": 7}), BROKEN, "complete"
    ),
    "added tokens a list": Case(
        file("tokenizer_config.json", {"added_tokens_decoder": [1]}), BROKEN, "complete"
    ),
    "generation_config damaged": Case(file("generation_config.json", "{"), BROKEN, "complete"),
    # quantisation
    **{
        f"quantisation {block}": Case(folder(quantization=block), BACKEND, "backend", row=17)
        for block in QUANTISATIONS
    },
    **{
        f"quantised by {block}": Case(folder(quantization_config=block), BACKEND, "backend", row=16)
        for block in (
            {"quant_method": "compressed-tensors", "format": "float-quantized"},
            {"quant_method": "compressed-tensors", "format": ["x"]},
            {"quant_method": "bitsandbytes", "load_in_4bit": True},
            {"quant_method": "gptq", "bits": 8},
            {"quant_method": "awq", "bits": 3},
            {"quant_method": ["fp8"]},
            {"quant_method": "modelopt", "quant_algo": "FP8"},
            {"quant_method": None},
            "fp8",
        )
    },
    # code and places
    "model_file": Case(folder(model_file="m.py"), UNSAFE, "safe"),
    "model_file elsewhere": Case(folder(model_file="../../m.py"), UNSAFE, "safe"),
    "pickled": Case(pickled, UNSAFE, "safe"),
    **{
        f"{kind} as {name}": Case(special(kind, name), UNSAFE, "safe")
        for kind in ("fifo", "socket", "loop", "/dev/zero", "/etc/passwd")
        for name in ("config.json", "tokenizer.json", "model.safetensors")
    },
    **{
        f"{kind} as {name}": Case(special(kind, name), BROKEN, "complete")
        for kind in ("folder", "dangling")
        for name in ("config.json", "tokenizer.json", "model.safetensors")
    },
    "fifo anywhere": Case(special("fifo", "pipe"), UNSAFE, "safe"),
    "empty folder": Case(nothing, GONE, "present"),
    "bare weights": Case(content(safetensors_bytes(), "x.safetensors"), BROKEN, "present"),
    # healthy
    "plain": Case(folder()),
    "sharded": Case(sharded),
    "one more shard than the index": Case(shard_extra),
    "linked shard": Case(shard_linked_in),
    "hugging face": Case(hugging_face),
    "stale index": Case(stale, warns="complete", row=27),
    "leftovers": Case(harmless, warns="safe"),
    "odd names": Case(odd_names),
    "gguf beside": Case(both),
    "its weights named": Case(lambda r: write_folder(r / "m") / "model.safetensors"),
    "4 bits": Case(folder(quantization=numbers(4))),
    "8 bits": Case(folder(quantization=numbers(8, 32))),
    "mixed": Case(folder(quantization=numbers(4, layer=numbers(8), head=False))),
    "mxfp4": Case(folder(quantization=numbers(4, 32, mode="mxfp4"))),
    "tied": Case(folder(tie_word_embeddings=True)),
    "mistral": Case(folder(model_type="mistral", num_key_value_heads=1)),
    "vision with a text half": Case(folder(vision_config={"depth": 2}), warns="architecture"),
    "template beside": Case(file("chat_template.jinja", "{{ messages }}"), row=45),
    "template": Case(file("tokenizer_config.json", {"chat_template": "{% bad"}), row=43),
    "named templates": Case(
        file("tokenizer_config.json", {"chat_template": [{"name": "default", "template": "x"}]})
    ),
    "generation config": Case(file("generation_config.json", {"eos_token_id": [3, 2]})),
    "ends that contradict": Case(
        file("generation_config.json", {"eos_token_id": 3}, eos_token_id=2),
        warns="complete",
        row=41,
    ),
    "odd bytes": Case(weights(tensors=dict.fromkeys([*NAMES, "\u202e\x1b[2J"], ("F32", (2,), 8)))),
}
