"""Is there a model at all."""

import errno
import os
import stat
from collections.abc import Iterable
from fnmatch import fnmatchcase
from pathlib import Path

from engine.admission import answer
from engine.admission.subject import ADAPTER, Subject
from engine.catalog.folder import CONFIG, SHARD_PATTERN
from engine.catalog.simulated import SCRIPT_NAME
from engine.errors import Code
from engine.types import Check

CHECK = "present"
PICKLED = (".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".npz", ".h5", ".msgpack")
"""Weights that only a format able to run code can read."""
WEIGHTS = (".safetensors", ".gguf", *PICKLED)
"""Endings of weight files of any format: a folder with one of them means to be a model."""
_RESCAN = "check the path, or rescan if the model was moved"


def check(subject: Subject) -> Check:
    """Something must be there, readable, and look like a model.

    Nothing there is ``model_not_found``, as is a folder that holds no model. What is there and
    may not be read, or is a link to nothing, is ``model_incomplete``: the model is known, and its
    files are not all to be had. A loop of links is ``model_unsafe``.
    """
    path = subject.source
    expected = "a readable model file" if subject.is_gguf else "a readable model folder"
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError) as error:
        return _absent(path, error, expected)
    if subject.is_gguf:
        return _file(path, mode, expected, builds=subject.builds)
    return _folder(subject, mode, expected)


def _file(path: Path, mode: int, expected: str, *, builds: bool) -> Check:
    if stat.S_ISDIR(mode):
        return _no_model(f"{path.name} is a folder, not a GGUF file", expected, "a folder")
    if stat.S_ISREG(mode) and not os.access(path, os.R_OK):
        return _forbidden(path, expected)
    found = f"to be built from {path.name}" if builds else path.name
    return answer.passed(CHECK, expected, found)


def _folder(subject: Subject, mode: int, expected: str) -> Check:
    path = subject.source
    if not stat.S_ISDIR(mode):
        if stat.S_ISREG(mode):
            return _single(path, expected)
        return answer.passed(CHECK, expected, path.name)  # a FIFO or device: the next check's
    listing = subject.listing
    if isinstance(listing, OSError):
        return _forbidden(path, expected)
    marks = {CONFIG, ADAPTER, SCRIPT_NAME}
    if not any(name in marks or name.endswith(WEIGHTS) for name in listing):
        return _no_model(
            f"{path.name} is no model: neither config.json nor weights are in it",
            expected,
            f"a folder of {len(listing):,} other files" if listing else "an empty folder",
        )
    return _several(path, listing, expected) or answer.passed(CHECK, expected, path.name)


def _several(path: Path, listing: Iterable[str], expected: str) -> Check | None:
    """A folder that holds GGUF models and is none itself."""
    names = list(listing)
    files = [name for name in names if name.lower().endswith(".gguf")]
    whole = CONFIG in names or any(fnmatchcase(name, SHARD_PATTERN) for name in names)
    if whole or len(files) < 2:
        return None
    found = ", ".join(files[:5])
    return answer.failed(
        CHECK,
        Code.MODEL_NOT_FOUND,
        f"{path.name} is a folder of {len(files):,} GGUF files, and one of them must be named",
        expected=expected,
        found=found,
        remedy=f"name one of them, such as {path.name}/{files[0]}",
    )


def _single(path: Path, expected: str) -> Check:
    """A file where a folder belongs: pickled weights, bare weights, or no model at all."""
    if path.name.endswith(PICKLED):
        return answer.failed(
            CHECK,
            Code.MODEL_UNSAFE,
            f"{path.name} is pickled, and unpickling runs whatever code it holds",
            expected=expected,
            found="pickled weights",
            remedy="download the safetensors version of this model",
        )
    if path.name.endswith(".safetensors"):
        return answer.failed(
            CHECK,
            Code.MODEL_INCOMPLETE,
            f"{path.name} is weights alone; config and tokenizer belong to a model too",
            expected=expected,
            found="a single weights file",
            remedy="name the folder that holds config.json, the tokenizer and the weights",
        )
    return _no_model(f"{path.name} is no model", expected, "a file of another kind")


def _absent(path: Path, error: OSError | ValueError, expected: str) -> Check:
    number = error.errno if isinstance(error, OSError) else errno.ENOENT
    if number == errno.ELOOP:
        return answer.failed(
            CHECK,
            Code.MODEL_UNSAFE,
            f"{path.name} is a symbolic link that leads back to itself",
            expected=expected,
            found="a loop of symbolic links",
            remedy="replace the link with the file it should lead to",
        )
    if number in {errno.EACCES, errno.EPERM}:
        return _forbidden(path, expected)
    if path_is_link(path):
        return answer.failed(
            CHECK,
            Code.MODEL_INCOMPLETE,
            f"{path.name} is a symbolic link to a file that is not there",
            expected=expected,
            found="a link to nothing",
            remedy="download the model again",
        )
    if number not in {errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG, errno.EINVAL}:
        why = error.strerror if isinstance(error, OSError) else str(error)
        return answer.failed(
            CHECK,
            Code.MODEL_INCOMPLETE,
            f"the system could not read {path.name}: {why}",
            expected=expected,
            found=str(why),
            remedy="try again; check the disk or the network mount",
        )
    return _no_model(f"there is nothing at {path}", expected, "nothing")


def path_is_link(path: Path) -> bool:
    """Whether the path itself is a symbolic link, wherever it leads."""
    try:
        return path.is_symlink()
    except (OSError, ValueError):
        return False


def _no_model(message: str, expected: str, found: str) -> Check:
    return answer.failed(
        CHECK, Code.MODEL_NOT_FOUND, message, expected=expected, found=found, remedy=_RESCAN
    )


def _forbidden(path: Path, expected: str) -> Check:
    return answer.failed(
        CHECK,
        Code.MODEL_INCOMPLETE,
        f"no permission to read {path.name}",
        expected=expected,
        found="no permission",
        remedy=f"let the user that runs lmx read it: chmod -R u+rX {path}",
    )
