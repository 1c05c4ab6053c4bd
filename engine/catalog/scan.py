"""The catalog: every model on this machine that could be found, each under a name of its own."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from itertools import count
from pathlib import Path
from types import MappingProxyType

from engine.catalog.entry import CatalogEntry
from engine.catalog.folder import CONFIG, SHARD_PATTERN, names_in
from engine.catalog.header import HeaderError
from engine.catalog.listing import (
    display_id,
    gguf_entry,
    gguf_stem,
    is_gguf,
    mlx_entry,
    simulated_entry,
    split_parts,
)
from engine.catalog.regular import open_regular
from engine.catalog.roots import roots
from engine.catalog.simulated import SCRIPT_NAME
from engine.catalog.starter import PACKAGE, starter_entries, starter_file, twin_folder
from engine.catalog.walk import Walk, first_parts, is_model_folder
from engine.settings import Settings


@dataclass(frozen=True, slots=True)
class Catalog:
    """What a scan found. Build with :func:`scan`."""

    entries: tuple[CatalogEntry, ...] = ()
    """Sorted by id."""
    problems: tuple[str, ...] = ()
    """What could not be searched, one sanitised sentence each."""
    by_id: Mapping[str, CatalogEntry] = field(default_factory=dict)

    def get(self, model_id: str) -> CatalogEntry | None:
        """The model with this id, or None."""
        return self.by_id.get(model_id)


def _apart(entry: CatalogEntry, holder: CatalogEntry) -> str:
    """The first part of the path in which an entry differs from another below the same root."""
    pairs = zip(entry.path.parts, holder.path.parts, strict=False)
    part = next((mine for mine, other in pairs if mine != other), entry.path.name)
    return display_id(gguf_stem(part))


def _suffixes(entry: CatalogEntry, holders: list[CatalogEntry]) -> Iterator[str]:
    """What may follow a name that is taken, best first.

    Another backend is told by the backend and another root by ``root``. Two of the same backend in
    one root, such as two quantisations in one repository, are told by where their paths part.
    """
    if all(holder.backend is not entry.backend for holder in holders):
        yield entry.backend.value
    same_root = [holder for holder in holders if holder.root == entry.root]
    if not same_root:
        yield "root"
    else:
        yield _apart(entry, same_root[0])
        yield "root"
    yield from (f"root{number}" for number in count(2))


def named(entries: Iterable[CatalogEntry]) -> tuple[CatalogEntry, ...]:
    """Give every entry an id of its own; the earlier one keeps the plain name. Sorted by id."""
    taken: dict[str, CatalogEntry] = {}
    holders: dict[str, list[CatalogEntry]] = {}
    for entry in entries:
        plain = entry.id
        chosen = plain
        if plain in taken:
            suffixes = _suffixes(entry, holders.get(plain, [taken[plain]]))
            chosen = next(
                each for each in (f"{plain}@{suffix}" for suffix in suffixes) if each not in taken
            )
        holders.setdefault(plain, []).append(entry)
        taken[chosen] = replace(entry, id=chosen)
    return tuple(taken[model_id] for model_id in sorted(taken))


def scan(settings: Settings) -> Catalog:
    """Find every model in the places the settings name. Reads headers and configs, no weights.

    Never raises for what it finds; takes disk time, so not for an event loop.
    """
    walk = Walk(known=(twin_folder(settings),))
    for root in roots(settings):
        walk.search(root)
    entries = walk.entries
    if settings.starter or (settings.starter is None and not entries):
        source = starter_file()
        # First, so that nothing takes the names the starter is known by.
        entries = [*starter_entries(settings, source), *entries]
        if settings.starter and source is None:
            walk.problems.append(f"starter = true, but the package {PACKAGE} is not installed")
    found = named(entries)
    by_id = MappingProxyType({entry.id: entry for entry in found})
    return Catalog(found, tuple(walk.problems), by_id)


def _root_of(path: Path) -> Path:
    """What a model outside the catalog may not leave: its hub repository, or its folder."""
    for parent in path.parents:
        if parent.name.startswith("models--") and path.is_relative_to(parent / "snapshots"):
            return parent
    return path.parent


def _begins_as_gguf(path: Path) -> bool:
    try:
        with open_regular(path) as file:
            return file.read_at(0, 4) == b"GGUF"
    except HeaderError:
        return False


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:
        return False


def resolve_path(path: Path) -> CatalogEntry:
    """An entry for any path, in the catalog or not, there or not; raises nothing.

    A folder with nothing but one GGUF model stands for that file, a later part of a split for the
    first part, and the weights of a model folder for the folder. What is missing is taken for GGUF
    or MLX by its name.
    """
    path = path.absolute()
    names = names_in(path)
    if SCRIPT_NAME in names:
        return simulated_entry(path, path, "folder")
    if names and not is_model_folder(names):
        files = tuple(first_parts(names))
        text = tuple(name for name in files if "mmproj" not in name.lower()) or files
        if len(text) == 1:
            path = path / text[0]
    elif not names and fnmatchcase(path.name, SHARD_PATTERN) and _is_file(path.with_name(CONFIG)):
        path = path.parent
    if is_gguf(path.name) or _begins_as_gguf(path):
        path = split_parts(path)[0]
        return gguf_entry(path, _root_of(path), "folder")
    root = _root_of(path)
    return mlx_entry(path, root if root.name.startswith("models--") else path, "folder")
