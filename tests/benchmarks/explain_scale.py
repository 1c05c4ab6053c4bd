"""What the gate costs on large files against small ones, and on a thousand models in one call.

Run with ``python -m tests.benchmarks.explain_scale``. The large models are sparse: their headers
are whole and their weights take no room on disk. Rounds take turns between large and small, so
that a busy machine hurts both alike. Bar: 400 GB take ≤ 1.2 × what 100 MB take.
"""

import json
import math
import os
import resource
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from engine import Inspection, load_settings
from tests.benchmarks.report import Report, at_most
from tests.forge import Tensor, array, gguf_bytes

TAKES_S = 60
ROUNDS, MODELS = 15, 1000
RATIO_BAR = 1.2
LARGE, SMALL = 400 * 10**9, 100 * 10**6
LAYERS, SHARDS = 60, 80
TOKENIZER = {"added_tokens": [], "model": {"type": "BPE", "vocab": {"a": 0}, "merges": []}}
_MATRICES = ("q", "k", "v", "o", "gate", "up", "down")


def gguf(path: Path, size: int, tokens: int = 32_000) -> Path:
    """A llama of about so many bytes in 16-bit floats, whole but for its weights."""
    hidden = 256
    fixed = 2 * hidden * (tokens + 4 * hidden * LAYERS)
    wide = (size - fixed) // (2 * 3 * hidden * LAYERS)
    square, across = (hidden, hidden), (hidden, wide)
    layer = {"attn_norm": (hidden,), "ffn_norm": (hidden,), "ffn_down": (wide, hidden)}
    layer |= {f"attn_{part}": square for part in ("q", "k", "v", "output")}
    layer |= {"ffn_gate": across, "ffn_up": across}
    metadata = {
        "general.architecture": "llama",
        "llama.context_length": 4096,
        "llama.block_count": LAYERS,
        "llama.embedding_length": hidden,
        "llama.feed_forward_length": wide,
        "llama.attention.head_count": 16,
        "llama.attention.layer_norm_rms_epsilon": 1e-5,
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "default",
        "tokenizer.ggml.tokens": array("string", [f"t{i}" for i in range(tokens)]),
        "tokenizer.ggml.merges": array("string", ["t 1"]),
    }
    shapes = {"token_embd": (hidden, tokens), "output_norm": (hidden,)}
    for number in range(LAYERS):
        shapes |= {f"blk.{number}.{part}": shape for part, shape in layer.items()}
    tensors, offset = [], 0
    for name, shape in shapes.items():
        # The forge writes the bytes of a tensor; a size of 0 leaves them to truncate().
        kind, width = (0, 4) if len(shape) == 1 else (1, 2)
        tensors.append(Tensor(f"{name}.weight", shape, type=kind, offset=offset, size=0))
        offset += -(-width * math.prod(shape) // 32) * 32
    path.write_bytes(gguf_bytes(metadata, tensors))
    os.truncate(path, path.stat().st_size + offset)
    return path


def mlx(folder: Path, size: int, shards: int) -> Path:
    """A llama folder of about so many bytes in so many shards."""
    folder.mkdir(parents=True)
    config = {
        "model_type": "llama",
        "num_hidden_layers": LAYERS,
        "hidden_size": 1024,
        "num_attention_heads": 16,
        "vocab_size": 32_000,
        "max_position_embeddings": 4096,
    }
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "tokenizer.json").write_text(json.dumps(TOKENIZER))
    names = [
        f"model.layers.{layer}.self_attn.{matrix}_proj.weight"
        for layer in range(LAYERS)
        for matrix in _MATRICES
    ]
    each = size // len(names) // 2048 * 2048
    weight_map: dict[str, str] = {}
    for shard in range(shards):
        name = f"model-{shard + 1:05d}-of-{shards:05d}.safetensors"
        mine = names[shard::shards]
        about = {
            tensor: {
                "dtype": "BF16",
                "shape": [each // 2048, 1024],
                "data_offsets": [each * i, each * (i + 1)],
            }
            for i, tensor in enumerate(mine)
        }
        header = json.dumps(about).encode()
        header += b" " * (-len(header) % 8)
        (folder / name).write_bytes(struct.pack("<Q", len(header)) + header)
        os.truncate(folder / name, 8 + len(header) + each * len(mine))
        weight_map |= dict.fromkeys(mine, name)
    index = {"metadata": {"total_size": each * len(names)}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return folder


def ratio(report: Report, kind: str, large: Path, small: Path, inspection: Inspection) -> None:
    """Explain both in turns and tell how much longer the large one takes."""
    times: dict[Path, list[float]] = {large: [], small: []}
    codes: dict[Path, str] = {}
    for number in range(ROUNDS + 1):
        for path in (large, small):
            began = time.perf_counter()
            (found,) = inspection.explain([str(path)])
            if number:  # the first asks the runtime, later ones remember
                times[path].append((time.perf_counter() - began) * 1e3)
            codes[path] = found.decision.code.value if found.decision else "admitted"
    if codes[large] != codes[small]:
        raise SystemExit(f"{large.name} is {codes[large]}, {small.name} {codes[small]}")
    what, beside = f"{kind}, {large.name}", f"{small.name}"
    report.tell(what, times[large], "ms", times[small], beside, bar=at_most(RATIO_BAR))


def peak_mb() -> float:
    """The most this process ever held, in megabytes."""
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    # Where there is such a file, the other figure is inherited from the process before this one.
    return int(status.partition("VmHWM:")[2].split()[0]) / 1e3


def many(folder: Path, count: int) -> None:
    """Explain the first so many models of a folder in one call; prints one line of JSON."""
    paths = sorted(str(path) for path in folder.iterdir())[:count]
    inspection = Inspection(load_settings(home=folder.parent / "home", starter=False))
    before, began = peak_mb(), time.perf_counter()
    answers = sum(1 for _ in inspection.explain(paths))
    took = time.perf_counter() - began
    print(json.dumps({"answers": answers, "s": took, "before": before, "peak": peak_mb()}))


def main() -> int:
    """Measure and print; with ``many FOLDER COUNT`` the part that wants a process of its own."""
    if sys.argv[1:2] == ["many"]:
        many(Path(sys.argv[2]), int(sys.argv[3]))
        return 0
    report = Report()
    with tempfile.TemporaryDirectory(prefix="lmx-explain-") as place:
        folder = Path(place)
        os.environ["LMX_HOME"] = str(folder / "home")
        os.environ["HF_HUB_CACHE"] = str(folder / "none")
        inspection = Inspection(
            load_settings(lmstudio=folder / "none", starter=False, memory_gb=1000)
        )
        ratio(
            report,
            "GGUF",
            gguf(folder / "400-GB.gguf", LARGE),
            gguf(folder / "100-MB.gguf", SMALL),
            inspection,
        )
        large = mlx(folder / f"400-GB-{SHARDS}-shards", LARGE, SHARDS)
        ratio(report, "MLX", large, mlx(folder / "100-MB-1-shard", SMALL, 1), inspection)
        same = mlx(folder / f"100-MB-{SHARDS}-shards", SMALL, SHARDS)
        ratio(report, "MLX", large, same, inspection)
        models = folder / "models"
        models.mkdir()
        for number in range(MODELS):
            gguf(models / f"{number:04d}.gguf", SMALL, tokens=1000)
        for count in (MODELS // 100, MODELS):
            command = [sys.executable, "-m", "tests.benchmarks.explain_scale", "many"]
            run = subprocess.run(
                [*command, str(models), str(count)], check=True, capture_output=True, text=True
            )
            told = json.loads(run.stdout)
            what = f"{told['answers']:,} models in one call"
            report.tell(what, told["s"], "s")
            report.tell(f"{what}: memory", told["peak"], "MB", told["before"], "before it")
    return report.status


if __name__ == "__main__":
    sys.exit(main())
