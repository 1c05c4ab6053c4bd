"""Would loading run code from the model's folder, or reach outside it. Never overridable."""

import stat
from collections.abc import Iterable
from pathlib import Path

from engine.admission import answer
from engine.admission.presence import PICKLED
from engine.admission.question import NAME, tokenizer_question
from engine.admission.subject import MOST_SPLITS, TOKENIZER, Subject
from engine.catalog.folder import CONFIG, INDEX, TOKENIZER_CONFIG, names_in, plain_name
from engine.catalog.gguf import split_of
from engine.errors import Code
from engine.text import clean_line
from engine.types import Check

CHECK = "safe"
TEMPLATES = "additional_chat_templates"
_EXPECTED = "regular files inside the model's root that run no code"
_SPECIALS = (
    (stat.S_ISFIFO, "a FIFO"),
    (stat.S_ISCHR, "a character device"),
    (stat.S_ISBLK, "a block device"),
    (stat.S_ISSOCK, "a socket"),
)


def check(subject: Subject) -> Check:
    """Refuse special files, links out of the roots, paths in an index, and code in "data".

    What ``mlx-lm`` and ``transformers`` would run if they were allowed: ``model_file``
    (CVE-2026-5843) and a tokenizer class only the folder has. A model ``auto_map`` and stray
    ``*.py`` files are never read by them and only warn.
    """
    try:
        return _places(subject) or _code(subject)
    except OSError as error:
        why = error.strerror or type(error).__name__
        return _unsafe(f"its place on the disk cannot be made out: {why}", str(why))


def _unsafe(message: str, found: str, remedy: str = "") -> Check:
    return answer.failed(
        CHECK,
        Code.MODEL_UNSAFE,
        message,
        expected=_EXPECTED,
        found=found,
        remedy=remedy or "use a model that comes without it; this is never overridden",
    )


# -- where the files are --------------------------------------------------------------------------


def _places(subject: Subject) -> Check | None:
    roots = _resolved({subject.entry.root, *subject.facts.roots})
    source = subject.source
    if subject.is_gguf:
        if subject.builds:  # the engine's own starter, in the installed package
            return _place(source, roots, _mode(source), link=False)
        for path in (source, *_siblings(source)):
            if refusal := _place(path, roots, _mode(path), link=True):
                return refusal
        return None
    if refusal := _place(source, roots, _mode(source), link=True):
        return refusal
    for name in subject.names().values():
        if refusal := _place(source / name.name, roots, name.mode, name.link):
            return refusal
    for path in _templates(subject):
        if refusal := _place(path, roots, _mode(path), link=True):
            return refusal
    return None


def _templates(subject: Subject) -> list[Path]:
    """The only files below the folder that a loader opens: transformers reads every one."""
    if TEMPLATES not in subject.names():
        return []
    folder = subject.source / TEMPLATES
    return [folder / name for name in names_in(folder)]


def _siblings(source: Path) -> list[Path]:
    """The other splits that the first one's name promises, as far as they are there."""
    named = split_of(source.name)
    if named is None:
        return []
    stem, _, count = named
    ending = source.name[-5:]
    last = min(count, MOST_SPLITS)
    return [source.with_name(f"{stem}-{n:05d}-of-{count:05d}{ending}") for n in range(2, last + 1)]


def _mode(path: Path) -> int | None:
    try:
        return path.stat().st_mode
    except OSError:
        return None


def _place(path: Path, roots: list[Path], mode: int | None, link: bool) -> Check | None:
    if link:
        try:
            target = path.resolve(strict=False)
        except (OSError, RuntimeError):  # Python 3.11 tells a loop by RuntimeError
            return _unsafe(f"{path.name} is a loop of symbolic links", "a loop of links")
        if not any(target.is_relative_to(root) for root in roots):
            return _unsafe(
                f"{path.name} is a symbolic link out of the model's root",
                f"{path.name} leads to {target}",
                "copy the file into the folder, or add the folder it leads to to `folders`",
            )
    if mode is None or stat.S_ISREG(mode) or stat.S_ISDIR(mode):
        return None
    what = next((words for test, words in _SPECIALS if test(mode)), "a special file")
    return _unsafe(f"{path.name} is {what}", what, "replace it with the real file")


def _resolved(roots: Iterable[Path]) -> list[Path]:
    resolved = []
    for root in sorted(roots):
        try:
            resolved.append(root.resolve())
        except (OSError, RuntimeError):
            continue
    return resolved


# -- what the files would make the libraries do ----------------------------------------------------


def _code(subject: Subject) -> Check:
    if subject.is_gguf or subject.is_simulated:
        return answer.passed(CHECK, _EXPECTED, "nothing in it can run")
    config = subject.json(CONFIG)
    if isinstance(config, dict) and config.get("model_file") is not None:
        found = f"model_file: {clean_line(str(config['model_file']), limit=100)}"
        return _unsafe("config.json names Python code to run (model_file)", found)
    names = subject.names()
    if refusal := _index(subject) or _pickled(names) or _tokenizer(subject) or _elsewhere(subject):
        return refusal
    odd = [name for name in names if name.endswith(".py")]
    if isinstance(config, dict) and config.get("auto_map"):
        odd.append("auto_map in config.json")
    if odd:
        listed = ", ".join(odd[:5])
        return answer.warned(CHECK, _EXPECTED, f"code that nothing runs is in it: {listed}")
    return answer.passed(CHECK, _EXPECTED, "nothing in it can run")


def _index(subject: Subject) -> Check | None:
    shards = subject.content(INDEX).get("weight_map")
    if not isinstance(shards, dict):
        return None
    for name in {str(shard) for shard in shards.values()}:
        if not plain_name(name):
            return _unsafe(
                "the index names a weight file outside the model's folder",
                f"{clean_line(name, limit=150)!r}",
                "download the model again from a source you trust",
            )
    return None


def _pickled(names: Iterable[str]) -> Check | None:
    listed = list(names)
    if any(name.endswith(".safetensors") for name in listed):
        return None
    pickles = [name for name in listed if name.endswith(PICKLED)]
    if not pickles:
        return None
    return _unsafe(
        "its only weights are pickled, and unpickling runs whatever code they hold",
        ", ".join(pickles[:3]),
        "download the safetensors version of this model",
    )


def _elsewhere(subject: Subject) -> Check | None:
    """``fast_tokenizer_files``: transformers joins these names to the folder unseen, so that
    ``../x/tokenizer.4.0.json`` is read from elsewhere (measured on 5.23)."""
    listed = subject.content(TOKENIZER_CONFIG).get("fast_tokenizer_files")
    for name in listed if isinstance(listed, list) else ():
        if not isinstance(name, str) or not plain_name(name):
            return _unsafe(
                "tokenizer_config.json names a tokenizer outside the model's folder",
                f"fast_tokenizer_files: {clean_line(str(name), limit=150)!r}",
                "download the model again from a source you trust",
            )
    return None


def _tokenizer(subject: Subject) -> Check | None:
    config = subject.content(TOKENIZER_CONFIG)
    maps = (config.get("auto_map"), subject.content(CONFIG).get("auto_map"))
    wanted = [m for m in maps if isinstance(m, dict) and m.get("AutoTokenizer")]
    if not wanted or TOKENIZER in subject.names():
        return None
    name = config.get("tokenizer_class")
    if isinstance(name, str) and NAME.fullmatch(name):
        # Not known yet counts as not there: what cannot be ruled out is not run.
        if subject.facts.supports(tokenizer_question(name)):
            return None
        found = f"tokenizer_class {name}, and no tokenizer.json"
    else:
        found = "an auto_map for the tokenizer, and no tokenizer.json"
    return _unsafe(
        "its tokenizer is Python code from its own folder",
        found,
        "convert the tokenizer to a tokenizer.json, or use a repository that has one",
    )
