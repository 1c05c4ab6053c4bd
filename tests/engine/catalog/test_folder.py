import json
from pathlib import Path

import pytest

from engine.catalog.folder import context_of, plain_name, quantisation_of, read_folder
from tests.forge import write_mlx


def test_reads_a_sharded_model(tmp_path: Path) -> None:
    config = {
        "model_type": "minimax_m2",
        "quantization": {"group_size": 64, "bits": 4},
        "max_position_embeddings": 196608,
    }
    folder = read_folder(
        write_mlx(tmp_path / "m", config, shards=3, chat_template__jinja=b"{{ x }}")
    )
    assert (folder.model_type, folder.quantisation, folder.context) == (
        "minimax_m2",
        "4-bit",
        196608,
    )
    assert folder.shards == tuple(f"model-0000{n}-of-00003.safetensors" for n in (1, 2, 3))
    assert folder.indexed
    assert folder.weight_bytes == sum(p.stat().st_size for p in (tmp_path / "m").glob("*-of-*"))
    assert folder.template
    assert folder.tokenizer
    assert folder.problems == ()


def test_damage_leaves_fields_empty(tmp_path: Path) -> None:
    folder = write_mlx(tmp_path, shards=2)
    (folder / "config.json").write_bytes(bytes(40))
    (folder / "model.safetensors.index.json").write_text('{"weight_map": {"a": 1}}')
    read = read_folder(folder)
    assert (read.model_type, read.context, read.indexed) == ("", None, False)
    assert len(read.shards) == 2  # what mlx-lm would find without the index
    assert [problem.split(":")[0] for problem in read.problems] == [
        "config.json",
        "model.safetensors.index.json",
    ]
    assert read_folder(tmp_path / "absent").files == ()


def test_shards_that_leave_the_folder_are_never_touched(tmp_path: Path) -> None:
    (tmp_path / "outside.safetensors").write_bytes(bytes(1000))
    folder = write_mlx(tmp_path / "m")
    hostile = ["../outside.safetensors", "/etc/passwd", "a\x1b.safetensors", ".."]
    index = {"weight_map": {str(n): name for n, name in enumerate(hostile)}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    read = read_folder(folder)
    assert read.shards == tuple(hostile)
    assert read.weight_bytes == 0


@pytest.mark.parametrize(
    "name", ["", ".", "..", "a/b", "/a", "a\\b", "a\0", "a\n", "a\u202e", "x" * 256]
)
def test_names_that_are_not_plain(name: str) -> None:
    assert not plain_name(name)


def test_what_a_config_says() -> None:
    assert quantisation_of({"quantization": {"bits": 8, "mode": "mxfp8"}}) == "8-bit mxfp8"
    assert quantisation_of({"quantization_config": {"quant_method": "fp8"}}) == "fp8"
    assert quantisation_of({"text_config": {"torch_dtype": "bfloat16"}}) == "bfloat16"
    assert quantisation_of({"quantization": {"bits": "4"}, "dtype": 7}) == ""
    assert context_of({"text_config": {"max_position_embeddings": 4096}}) == 4096
    assert context_of({"max_position_embeddings": True, "n_positions": 10**12}) is None


def test_a_template_in_the_tokenizers_config(tmp_path: Path) -> None:
    assert read_folder(
        write_mlx(tmp_path, tokenizer_config__json=b'{"chat_template": "x"}')
    ).template
    assert not read_folder(write_mlx(tmp_path, tokenizer_config__json=b"{broken")).template
