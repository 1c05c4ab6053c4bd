"""What a model file is for: text, or one of the things this engine does not serve."""

from collections.abc import Mapping

from engine.admission.subject import ADAPTER, Subject
from engine.catalog.folder import CONFIG

EMBEDDING = frozenset(
    {
        "bert",
        "nomic-bert",
        "nomic-bert-moe",
        "neo-bert",
        "modern-bert",
        "jina-bert-v2",
        "jina-bert-v3",
        "eurobert",
        "t5encoder",
        "gemma-embedding",
        "llama-embed",
        # and the names config.json uses for the same
        "roberta",
        "xlm-roberta",
        "distilbert",
        "albert",
        "deberta",
        "deberta-v2",
        "electra",
        "mpnet",
        "camembert",
        "modernbert",
        "nomic_bert",
        "neobert",
        "jina_embeddings_v3",
        "new",
        "gte",
    }
)
"""Encoders: they turn text into vectors. Loaded for chat, llama.cpp aborts (facts, row 34)."""
PROJECTOR = frozenset(
    {
        "clip",
        "mmproj",
        "siglip",
        "clip_vision_model",
        "siglip_vision_model",
        "siglip2",
        "siglip2_vision_model",
    }
)
VISION = frozenset(
    {
        "vit",
        "dinov2",
        "dinov3_vit",
        "beit",
        "swinv2",
        "vit_mae",
        "yolos",
        "segformer",
        "detr",
        "swin",
        "sam",
        "convnext",
        "resnet",
        "depth_anything",
    }
)
_ENCODER_DECODER = "an encoder-decoder, and this engine runs decoders"
_DIFFUSION = "a diffusion language model, which does not write one token after another"
_DRAFT = "a draft model, which only helps the model it was trained for"
_STEERING = "a control vector, which only steers another model"
_SPEECH = "a model for speech, not for text"
OTHER = {
    **dict.fromkeys(("t5", "mt5", "bart"), _ENCODER_DECODER),
    **dict.fromkeys(("dream", "llada", "llada-moe", "rnd1"), _DIFFUSION),
    **dict.fromkeys(("eagle3", "dflash", "gemma4-assistant"), _DRAFT),
    "controlvector": _STEERING,
    **dict.fromkeys(("whisper", "wavtokenizer-dec", "qwen3tts", "pockettts"), _SPEECH),
}
_HEADLESS = ("ForSequenceClassification", "ForTokenClassification", "ForMaskedLM", "RewardModel")


def foreign_kind(subject: Subject) -> str:
    """What a model is if it is no text generator, in words; empty for one that is or may be.

    Told from the file's own words, so that the runtime need not be asked.
    """
    if subject.is_simulated:
        return ""
    if subject.is_gguf:
        return _gguf_kind(subject.metadata)
    return _folder_kind(subject)


def _by_name(name: str) -> str:
    if name in EMBEDDING:
        return "an embedding model: it turns text into vectors and cannot write"
    if name in PROJECTOR:
        return "the vision part (mmproj) of another model, not a model of its own"
    if name in VISION:
        return "a vision model without a text half"
    return OTHER.get(name, "")


def _gguf_kind(metadata: Mapping[str, object]) -> str:
    general = metadata.get("general.type")
    if general == "adapter" or "adapter.type" in metadata:
        return "a LoRA adapter, not a model of its own"
    if general in {"mmproj", "projector"}:
        return _by_name("mmproj")
    if general == "imatrix":
        return "an importance matrix for quantising, not a model"
    name = metadata.get("general.architecture")
    if not isinstance(name, str):
        return ""
    if words := _by_name(name):
        return words
    pooling = metadata.get(f"{name}.pooling_type")
    causal = metadata.get(f"{name}.attention.causal")
    # LLAMA_POOLING_TYPE_NONE is 0; every other kind makes one vector of the whole text.
    if causal is False or (isinstance(pooling, int) and pooling > 0):
        return _by_name("bert")
    return ""


def _folder_kind(subject: Subject) -> str:
    if ADAPTER in subject.names() and CONFIG not in subject.names():
        return "a LoRA adapter, not a model of its own"
    config = subject.config
    name = config.get("model_type")
    if isinstance(name, str) and (words := _by_name(name)):
        return words
    if "config_sentence_transformers.json" in subject.names():
        return _by_name("bert")
    classes = config.get("architectures")
    if isinstance(classes, list):
        heads = [c for c in classes if isinstance(c, str) and c.endswith(_HEADLESS)]
        if heads and len(heads) == len(classes):
            return "a classifier: it labels text and cannot write"
    return ""
