"""Going through folders of unknown content: bounded in depth and number, never in a circle."""

import os
from collections.abc import Iterator
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path

from engine.catalog.entry import CatalogEntry
from engine.catalog.folder import CONFIG, INDEX, SHARD_PATTERN, plain_name
from engine.catalog.gguf import split_of
from engine.catalog.header import HeaderError
from engine.catalog.listing import display_id, gguf_entry, is_gguf, mlx_entry, simulated_entry
from engine.catalog.regular import read_bounded
from engine.catalog.roots import Root
from engine.catalog.simulated import SCRIPT_NAME
from engine.text import clean_line

MAX_DEPTH = 6
"""Folders below a root. LM Studio's models lie two below, a hub snapshot's quants four."""
MAX_ENTRIES = 10_000
MAX_NAMES = 500_000
"""Names looked at in one scan, over all roots."""

_PICKLED = ("pytorch_model*.bin", "consolidated*.pth", "model*.pt")
_REPO = "models--"
_NOT_MODELS = ("datasets--", "spaces--")


def is_model_folder(names: tuple[str, ...]) -> bool:
    """Whether a folder with these names is, or once was, a model for MLX.

    One that misses its config or holds only pickled weights counts too, so that the gate can say
    so; a folder that has neither index nor weights by a model's name does not.
    """
    weights = INDEX in names or any(fnmatchcase(name, SHARD_PATTERN) for name in names)
    if weights or CONFIG not in names:
        return weights
    return any(
        name.endswith(".safetensors") or any(fnmatchcase(name, pattern) for pattern in _PICKLED)
        for name in names
    )


def first_parts(names: tuple[str, ...]) -> Iterator[str]:
    """The GGUF files among these names; of each split model only the lowest part that is there."""
    lowest: dict[tuple[str, int], tuple[int, str]] = {}
    for name in names:
        if not is_gguf(name):
            continue
        split = split_of(name)
        if split is None:
            yield name
            continue
        stem, number, count = split
        part = (number, name)
        lowest[stem, count] = min(lowest.get((stem, count), part), part)
    yield from (name for _, name in lowest.values())


class Walk:
    """One scan's way through its roots.

    Args:
        known: Folders to pass by, such as the built starter's.
    """

    def __init__(self, known: tuple[Path, ...] = ()) -> None:
        self.entries: list[CatalogEntry] = []
        self.problems: list[str] = []
        self._names_left = MAX_NAMES
        self._seen: set[tuple[int, int]] = set()
        for folder in known:
            self._is_new(folder)

    def search(self, root: Root) -> None:
        """Add every model below a root. A missing root is a problem only if it was asked for."""
        if not os.path.lexists(root.path) and not root.named:
            return
        self._folder(root.path, root, 0)

    def _is_new(self, folder: Path) -> bool:
        try:
            status = folder.stat()
        except (OSError, ValueError):
            return False
        identity = (status.st_dev, status.st_ino)
        if identity in self._seen:
            return False
        self._seen.add(identity)
        return True

    def _problem(self, text: str) -> None:
        line = clean_line(text)
        if line not in self.problems and len(self.problems) < 100:
            self.problems.append(line)

    @property
    def _full(self) -> bool:
        return len(self.entries) >= MAX_ENTRIES or self._names_left <= 0

    def _list(self, folder: Path) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The names of files and of folders in a folder, each sorted, hidden ones left out."""
        files: list[str] = []
        folders: list[str] = []
        try:
            with os.scandir(folder) as listing:
                for item in listing:
                    self._names_left -= 1
                    if self._names_left < 0:
                        self._problem(f"stopped after {MAX_NAMES:,} names, at {folder}")
                        break
                    if item.name.startswith("."):
                        continue
                    try:
                        is_folder = item.is_dir()
                    except OSError:  # a loop of links: a damaged model if its name claims one
                        is_folder = False
                    (folders if is_folder else files).append(item.name)
        except OSError as error:
            self._problem(f"{folder} cannot be read: {error.strerror or error}")
        return tuple(sorted(files)), tuple(sorted(folders))

    def _folder(self, folder: Path, root: Root, depth: int, name: str = "") -> None:
        """Go through one folder.

        Args:
            name: The id of every model in it: a hub repository's. Empty elsewhere.
        """
        if self._full:
            self._problem(f"stopped after {len(self.entries):,} models, at {folder}")
            return
        if not self._is_new(folder):
            if depth == 0 and root.named and not os.path.isdir(folder):  # noqa: PTH112 - never raises
                self._problem(f"{folder} is no folder that can be read")
            return
        files, folders = self._list(folder)
        if folder.name.startswith(_REPO) and "snapshots" in folders:
            self._repository(folder, root, depth)
            return
        if self._models(folder, files, root, name) and depth:
            return
        for child in folders:
            if child.startswith(_NOT_MODELS):
                continue
            if depth >= MAX_DEPTH:
                self._problem(f"folders deeper than {MAX_DEPTH} below {root.path} are not searched")
                return
            self._folder(folder / child, root, depth + 1, name)

    def _models(self, folder: Path, files: tuple[str, ...], root: Root, name: str) -> bool:
        """Add the models in one folder; True if the folder itself is one."""
        found: list[CatalogEntry] = []
        whole = True
        if SCRIPT_NAME in files:
            found.append(simulated_entry(folder, root.path, root.kind))
        elif is_model_folder(files):
            found.append(mlx_entry(folder, root.path, root.kind))
        else:
            whole = False
        if SCRIPT_NAME not in files:
            # A projector is listed, to be refused with a reason, but never takes the plain name.
            parts = sorted(first_parts(files), key=lambda part: ("mmproj" in part.lower(), part))
            found.extend(gguf_entry(folder / p, root.path, root.kind, files) for p in parts)
        room = MAX_ENTRIES - len(self.entries)
        self.entries.extend(replace(e, id=name) if name else e for e in found[:room])
        return whole

    def _repository(self, folder: Path, root: Root, depth: int) -> None:
        """Go through a hub repository: only the snapshot that counts, under its own name."""
        snapshots = folder / "snapshots"
        _, revisions = self._list(snapshots)
        revision = _main(folder)
        if revision not in revisions:
            dated = ((_mtime(snapshots / each), each) for each in revisions)
            revision = max(dated, default=(0, ""))[1]
        if revision:
            name = display_id("/".join(folder.name.removeprefix(_REPO).split("--", 1)))
            # Its files are links into its own blobs, so the repository is what they may not leave.
            self._folder(snapshots / revision, replace(root, path=folder), depth + 1, name)


def _main(repository: Path) -> str:
    try:
        text = read_bounded(repository / "refs" / "main", 256).decode("ascii", "replace").strip()
    except HeaderError:
        return ""
    return text if plain_name(text) else ""


def _mtime(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0
