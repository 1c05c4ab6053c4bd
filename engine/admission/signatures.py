"""Runtime signatures: known-bad pairs of model and runtime version, kept as data.

The shipped ones stand in ``signatures.toml`` beside this file; an operator's own file is read
after it.
"""

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from engine.admission.version import parse_backend_version, parse_range, within
from engine.text import clean_line
from engine.types import Backend

SHIPPED = Path(__file__).with_name("signatures.toml")
MAX_BYTES = 1024 * 1024
"""A signature file is a page of text; a larger one is something else."""


@dataclass(frozen=True, slots=True)
class Signature:
    """One known-bad combination. Empty fields match everything; see ``signatures.toml``."""

    id: str
    backend: Backend
    reason: str
    reference: str
    architectures: tuple[str, ...] = ()
    quantisations: tuple[str, ...] = ()
    package: str = ""
    versions: str = ""
    blocks: bool = True

    def matches(
        self,
        backend: Backend,
        architecture: str,
        quantisations: frozenset[str],
        backend_version: str,
    ) -> bool:
        """Whether this signature speaks of such a model on such a backend version."""
        if not self.blocks or backend is not self.backend:
            return False
        if self.architectures and architecture not in self.architectures:
            return False
        if self.quantisations and quantisations.isdisjoint(self.quantisations):
            return False
        if not self.package:
            return True
        version = parse_backend_version(backend_version).get(self.package.lower())
        return version is not None and within(version, self.versions)


def _listed(value: object) -> object:
    return [value] if isinstance(value, str) else value


_Names = Annotated[tuple[str, ...], BeforeValidator(_listed)]


class _Row(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str = Field(min_length=1, max_length=100)
    backend: Backend
    reason: str = Field(min_length=1, max_length=400)
    reference: str = Field(min_length=1, max_length=400)
    architecture: _Names = ()
    quantisation: _Names = ()
    package: str = ""
    versions: str = ""
    blocks: bool = True

    @model_validator(mode="after")
    def _sensible(self) -> Self:
        if self.blocks and not (self.architecture or self.quantisation):
            raise ValueError("names neither architecture nor quantisation: it would block all")
        if self.versions and not self.package:
            raise ValueError("names versions but no package they are of")
        parse_range(self.versions)
        return self


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    signature: tuple[_Row, ...] = ()


def load_signatures(own: Path | None = None) -> tuple[tuple[Signature, ...], str]:
    """Read the shipped signatures and then the operator's file.

    Returns:
        The signatures in force, and the trouble with the operator's file as a sentence, or empty.
        Trouble is never raised: the shipped signatures stay in force, and the engine shows it.
    """
    known = {signature.id: signature for signature in _read(SHIPPED)}
    if own is None:
        return tuple(known.values()), ""
    try:
        known |= {signature.id: signature for signature in _read(own)}
    except OSError as error:
        why = error.strerror or type(error).__name__
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        why = f"it is not TOML: {error}"
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        why = f"{where}: {first['msg']}"
    except ValueError as error:
        why = str(error)
    else:
        return tuple(known.values()), ""
    message = f"signature file {own} is not used: {why}"
    return tuple(known.values()), clean_line(message)


def _read(path: Path) -> list[Signature]:
    if not path.is_file():  # a FIFO would hang the engine's start
        raise ValueError("it is not a regular file" if path.exists() else "there is no such file")
    with path.open("rb") as file:
        data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise ValueError(f"it is larger than {MAX_BYTES:,} bytes")
    rows = _File.model_validate(tomllib.loads(data.decode("utf-8"))).signature
    return [
        Signature(
            id=row.id,
            backend=row.backend,
            reason=row.reason,
            reference=row.reference,
            architectures=row.architecture,
            quantisations=row.quantisation,
            package=row.package,
            versions=row.versions,
            blocks=row.blocks,
        )
        for row in rows
    ]
