"""The models of the demo: small files a healthy gate refuses, and scripts of simulated models.

Only headers are written; where a file claims to be large it is sparse and takes no room.
"""

import json
import struct
from collections.abc import Mapping
from pathlib import Path

HEALTHY = "MiniMax-M2.5-4bit"
OVERRIDDEN = "GLM-5-2.5bit"
CRASHING = "Kimi-K2.5-3bit"
NONSENSE = "midnight-merge-70B-4bit"
LARGE = "behemoth-2T-4bit"
TRUNCATED = "Qwen3-8B-Q4_K_M"
SHARDLESS = "Mistral-Small-24B-4bit"
UNSAFE = "helpful-13B-4bit"
UNKNOWN = "mystery-7B-Q8_0"

BUDGET_GB = 512
BEFORE, AFTER = "1.0", "2.0"
"""The simulated backend's versions before and after the upgrade."""
DEATHS = 3
"""How often the crashing model dies: the third strike quarantines, the release finds it mended."""
MIN_LOAD_S = 1.5
"""A load takes so long at any pace: a screen that pulls five times a second shall see it."""
SCRIPTS: dict[str, dict[str, object]] = {
    HEALTHY: {
        "weights_gb": 121,
        "load_seconds": 6.0,
        "tokens_per_second": 8,
        "context": 32768,
        "say": ["I", " am", " here", ",", " and", " I", " proved", " it", " first", "."],
    },
    OVERRIDDEN: {
        "weights_gb": 185,
        "load_seconds": 3.0,
        "architecture": "glm_moe_dsa",
        "context": 32768,
    },
    CRASHING: {
        "weights_gb": 340,
        "load_seconds": 2.0,
        "context": 65536,
        "say": ["The", " longer", " the", " prompt", ",", " the", " more"],
        "faults": [{"when": "token", "after": 6, "do": "abort", "times": DEATHS}],
    },
    NONSENSE: {
        "weights_gb": 40,
        "load_seconds": 3.0,
        # Once: the newer backend, which knows the same files, reads them well.
        "faults": [{"when": "canary", "do": "nan", "times": 1}],
    },
    LARGE: {"weights_gb": 1150, "load_seconds": 9.0},
}
SIGNATURES = """\
[[signature]]
id = "glm-dsa-on-simulated-1"
backend = "simulated"
architecture = "glm_moe_dsa"
package = "simulated"
versions = "<2"
reason = "its sparse attention answers with noise there"
reference = "a signature file of the demo's own"
"""
_U32, _TEXT, _ARRAY = 4, 8, 9
_Q8_0 = 8
_SHAPE = {
    "hidden_size": 5120,
    "intermediate_size": 32768,
    "num_attention_heads": 32,
    "num_hidden_layers": 40,
    "num_key_value_heads": 8,
    "rms_norm_eps": 1e-5,
    "vocab_size": 4,
}
"""What mlx-lm needs of a config, so that each model is refused for what its caption says."""


def write_models(folder: Path, pace: float) -> None:
    """Write every model of the demo.

    Args:
        folder: An empty folder.
        pace: Loads are so many times as fast, as far as they can still be seen.
    """
    for name, script in SCRIPTS.items():
        seconds = max(float(str(script["load_seconds"])) / pace, MIN_LOAD_S)
        more = {"load_seconds": seconds, "backend_version": BEFORE}
        _write_script(folder / name, script | more)
    header, size = _gguf("qwen3", 5_000_000_000)
    _write_sparse(folder / f"{TRUNCATED}.gguf", header, size // 3)
    _write_sparse(folder / f"{UNKNOWN}.gguf", *_gguf("mystery", 7_600_000_000))
    _write_shardless(folder / SHARDLESS)
    _write_unsafe(folder / UNSAFE)


def upgrade(folder: Path) -> None:
    """Install a newer simulated backend: every simulated model runs on it from its next load."""
    for name in SCRIPTS:
        path = folder / name / "simulated.json"
        script = json.loads(path.read_text(encoding="utf-8"))
        _write_script(path.parent, script | {"backend_version": AFTER})


def _write_script(folder: Path, script: Mapping[str, object]) -> None:
    folder.mkdir(exist_ok=True)
    text = json.dumps({"kind": "simulated", **script}, indent=1)
    (folder / "simulated.json").write_text(text, encoding="utf-8")


def _write_shardless(folder: Path) -> None:
    folder.mkdir()
    names = [f"model-{number:05d}-of-00003.safetensors" for number in (1, 2, 3)]
    for number, name in enumerate(names[:2]):
        _write_sparse(folder / name, *_safetensors(f"layer.{number}", 4_500_000_000))
    weights = {f"layer.{number}": name for number, name in enumerate(names)}
    index = {"metadata": {"total_size": 13_500_000_000}, "weight_map": weights}
    _write_json(folder / "model.safetensors.index.json", index)
    _write_json(folder / "config.json", {"model_type": "mistral", **_SHAPE})
    _write_json(folder / "tokenizer.json", {"model": {"type": "BPE", "vocab": {}, "merges": []}})


def _write_unsafe(folder: Path) -> None:
    folder.mkdir()
    _write_json(
        folder / "config.json", {"model_type": "llama", "model_file": "helpful.py", **_SHAPE}
    )
    (folder / "helpful.py").write_text("raise SystemExit  # never run: that is the point\n")
    _write_sparse(folder / "model.safetensors", *_safetensors("layer.0", 7_400_000_000))


def _write_json(path: Path, content: object) -> None:
    path.write_text(json.dumps(content), encoding="utf-8")


def _write_sparse(path: Path, header: bytes, size: int) -> None:
    """Write a file of ``size`` bytes of which only the header takes room."""
    with path.open("wb") as file:
        file.write(header)
        file.truncate(size)


def _safetensors(name: str, size: int) -> tuple[bytes, int]:
    """The header of a file with one tensor of ``size`` bytes, and the whole file's size."""
    tensor = {"dtype": "U8", "shape": [size], "data_offsets": [0, size]}
    text = json.dumps({name: tensor}).encode()
    text += b" " * (-len(text) % 8)
    header = struct.pack("<Q", len(text)) + text
    return header, len(header) + size


# -- GGUF ---------------------------------------------------------------------------------------


def _letters() -> list[str]:
    """The 256 characters that byte-level BPE spells bytes with, in its own order."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = iter(range(256, 512))
    return [chr(byte if byte in plain else next(others)) for byte in range(256)]


_TOKENS = [*_letters(), "ab", "<|end|>"]
_BLOCK, _BLOCK_BYTES = 32, 34
"""A block of Q8_0: so many weights in so many bytes."""
_WIDTH = 4096


def _gguf(architecture: str, size: int) -> tuple[bytes, int]:
    """The header of a file with a tokenizer and one layer, and the whole file's size.

    Args:
        size: About how many bytes its tensors take.
    """
    pairs = {
        "general.architecture": _text(architecture),
        f"{architecture}.context_length": _number(32768),
        f"{architecture}.embedding_length": _number(_WIDTH),
        f"{architecture}.block_count": _number(1),
        "tokenizer.ggml.model": _text("gpt2"),
        "tokenizer.ggml.tokens": _texts(_TOKENS),
        "tokenizer.ggml.merges": _texts(["a b"]),
    }
    row = _WIDTH // _BLOCK * _BLOCK_BYTES
    layer = size // row
    tensors = {"token_embd.weight": len(_TOKENS), "blk.0.ffn_up.weight": layer}
    header = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(pairs))
    header += b"".join(_string(key) + value for key, value in pairs.items())
    offset = 0
    for name, rows in tensors.items():
        header += _string(name) + struct.pack("<IQQIQ", 2, _WIDTH, rows, _Q8_0, offset)
        offset += rows * row
        offset += -offset % 32
    header += bytes(-len(header) % 32)
    return header, len(header) + offset


def _string(text: str) -> bytes:
    data = text.encode()
    return struct.pack("<Q", len(data)) + data


def _text(text: str) -> bytes:
    return struct.pack("<I", _TEXT) + _string(text)


def _number(value: int) -> bytes:
    return struct.pack("<II", _U32, value)


def _texts(texts: list[str]) -> bytes:
    head = struct.pack("<IIQ", _ARRAY, _TEXT, len(texts))
    return head + b"".join(map(_string, texts))
