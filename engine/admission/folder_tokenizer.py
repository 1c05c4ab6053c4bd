"""Completeness of a folder's tokenizer: its files, and what a loader takes apart unseen."""

from collections.abc import Iterator, Mapping

from engine.admission.gap import Gap, gap_of
from engine.admission.subject import TOKENIZER, Subject
from engine.catalog.folder import TOKENIZER_CONFIG
from engine.catalog.header import SNIFF_BYTES, HeaderError, sniff
from engine.catalog.regular import read_bounded

TEMPLATE = "chat_template.jinja"
TEMPLATE_CAP = 4 * 1024 * 1024
"""The longest in use have some 20 KiB."""
_OTHER_TOKENIZERS = ("tokenizer.model", "tiktoken.model", "spiece.model", "vocab.txt")
_TOKENIZER_TYPES = frozenset({"BPE", "WordPiece", "WordLevel", "Unigram"})
_BESIDE = ("added_tokens.json", "special_tokens_map.json")
"""Read by transformers where they are, with or without a tokenizer.json."""
_SPECIAL = ("bos", "eos", "unk", "sep", "pad", "cls", "mask")
_VERSION = "1.0"
"""The only version of a tokenizer.json there is."""


def gaps(subject: Subject) -> Iterator[Gap]:
    """The gaps in the tokenizer and its chat template, in the order in which they matter."""
    settings = subject.json(TOKENIZER_CONFIG)
    if isinstance(settings, HeaderError):
        yield gap_of(TOKENIZER_CONFIG, settings)
    elif settings is not None:
        yield from _settings(settings)
    for name in _BESIDE:
        if isinstance(beside := subject.json(name), HeaderError):
            yield gap_of(name, beside)
    yield from _template(subject)
    content = subject.json(TOKENIZER)
    if isinstance(content, HeaderError):
        yield gap_of(TOKENIZER, content)
    elif isinstance(content, dict):
        if (version := content.get("version", _VERSION)) != _VERSION:
            words = "tokenizer.json is of a version nothing reads"
            yield Gap(words, f"version {_VERSION}", repr(version)[:60])
        model = content.get("model")
        if not isinstance(model, dict):
            yield Gap("tokenizer.json holds no tokenizer", "model as an object", "none")
        elif str(kind := model.get("type", "BPE")) not in _TOKENIZER_TYPES:
            expected = ", ".join(sorted(_TOKENIZER_TYPES))
            yield Gap("its tokenizer is of no known type", expected, repr(kind)[:60])
        elif not isinstance(model.get("vocab"), dict | list) or not model["vocab"]:
            yield Gap("tokenizer.json holds no vocabulary", "vocab in its model", "none")
        else:
            yield from _vocabulary(model)
        if not isinstance(content.get("added_tokens"), list):
            yield Gap("tokenizer.json is not whole", "added_tokens as a list", "none")
    else:
        names = subject.names()
        plain = any(name in names for name in _OTHER_TOKENIZERS)
        pairs = "vocab.json" in names and "merges.txt" in names
        if not (plain or pairs or any(name.endswith(".tiktoken") for name in names)):
            yield Gap("it has no tokenizer", f"{TOKENIZER} or tokenizer.model", "none")


def _vocabulary(model: Mapping[str, object]) -> Iterator[Gap]:
    """What the tokenizers library refuses in a vocabulary."""
    kind, vocabulary = model.get("type"), model["vocab"]
    fitting = list if kind == "Unigram" else dict
    if kind is not None and not isinstance(vocabulary, fitting):
        words = f"vocab as {'a list' if fitting is list else 'an object'}"
        yield Gap("the vocabulary in tokenizer.json is damaged", words, type(vocabulary).__name__)
        return
    if not isinstance(vocabulary, dict):
        return
    for token, number in vocabulary.items():
        if type(number) is not int or not 0 <= number < 2**32:
            found = f"{number!r:.40} for {token!r:.40}"
            yield Gap("a token in tokenizer.json has no proper number", "0 to 2^32", found)
            return
    merges = model.get("merges")
    if kind != "BPE" or not isinstance(merges, list) or model.get("continuing_subword_prefix"):
        return
    for merge in merges:
        pair = merge.split(" ") if isinstance(merge, str) else merge
        if not isinstance(pair, list) or len(pair) != 2 or not all(type(p) is str for p in pair):
            yield Gap("a merge in tokenizer.json is no pair", "two tokens", repr(merge)[:60])
            return
        lost = [token for token in (*pair, "".join(pair)) if token not in vocabulary]
        if lost:
            found = f"no {lost[0]!r:.40}"
            yield Gap("a merge in tokenizer.json names a token it lacks", "its tokens", found)
            return


def _template(subject: Subject) -> Iterator[Gap]:
    if TEMPLATE not in subject.names():
        return
    try:
        data = read_bounded(subject.source / TEMPLATE, TEMPLATE_CAP)
    except HeaderError as error:
        yield gap_of(TEMPLATE, error)
        return
    what, _ = sniff(data[:SNIFF_BYTES], len(data))
    if data and not what.startswith("the bytes"):
        yield Gap(f"{TEMPLATE} is damaged: {what}", "a chat template", what)
        return
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as error:
        yield Gap(f"{TEMPLATE} is damaged: it is no UTF-8", "UTF-8", error.reason)


def _settings(settings: Mapping[str, object]) -> Iterator[Gap]:
    """What transformers takes apart in tokenizer_config.json without looking first."""
    for key, kinds, words in (
        ("added_tokens_decoder", (dict,), "an object"),
        ("chat_template", (str, list, dict), "a text, or several by name"),
        ("tokenizer_class", (str,), "a text"),
        *((f"{name}_token", (str, dict), "a text") for name in _SPECIAL),
    ):
        value = settings.get(key)
        if value is not None and not isinstance(value, kinds):
            found = type(value).__name__
            yield Gap(f"{key} in {TOKENIZER_CONFIG} is damaged", f"{key} as {words}", found)
