"""What ``/admin`` answers about the engine as a whole."""

from typing import Self

from pydantic import BaseModel, ConfigDict, Field

from engine.registry import Tally
from engine.types import (
    ClientView,
    Notice,
    QuarantineView,
    RegistryRow,
    RequestView,
    RuntimeView,
)


class AdminTally(BaseModel):
    """How one model has fared."""

    model_config = ConfigDict(serialize_by_alias=True)

    total: int
    passed: int = Field(alias="pass")
    failed: int = Field(alias="fail")
    latest_ts: float

    @classmethod
    def of(cls, tally: Tally) -> Self:
        """From the registry's tally."""
        return cls.model_validate(tally.as_dict())


class AdminCompatibility(BaseModel):
    """Rows of the registry, newest first. ``total`` counts all that fit, ``rows`` holds at most
    ``limit`` of them, ``summary`` counts every row of the models asked for."""

    total: int
    rows: list[RegistryRow]
    summary: dict[str, AdminTally]


class AdminImport(BaseModel):
    """What became of an import."""

    added: int
    known: int
    refused: int
    damaged: int
    origins: dict[str, int]


class AdminRequests(BaseModel):
    """Requests in flight, and who asked lately."""

    requests: list[RequestView]
    count: int
    clients: list[ClientView]


class AdminCancelled(BaseModel):
    """A request that was told to end."""

    id: str
    cancelled: bool


class AdminModelMemory(BaseModel):
    """What one model takes, in bytes."""

    id: str
    estimate_bytes: int | None
    measured_bytes: int | None


class AdminMemory(BaseModel):
    """The memory budget, in bytes."""

    budget: int
    reserved: int
    measured: int
    available: int
    models: list[AdminModelMemory]


class AdminQuarantine(BaseModel):
    """What is quarantined, with the evidence."""

    quarantine: list[QuarantineView]
    count: int


class AdminStatus(BaseModel):
    """How the engine is."""

    version: str
    face: int
    """What a console must speak to attach."""
    boot: str
    started: bool
    stopping: bool
    ready: bool
    reason: str
    readonly: bool
    host: str
    home: str
    api: str
    pid: int
    models: dict[str, int]
    requests: int
    memory: AdminMemory
    runtimes: list[RuntimeView]
    notices: list[Notice]
    outdated: list[str]
    last_event: int
