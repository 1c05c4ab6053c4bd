"""Every number and path an operator may set: ``LMX_*`` in the environment, then ``config.toml``
in the home folder, then these defaults. The docstring beside a number says where it comes from.
"""

import json
import os
import shlex
import tomllib
from ipaddress import IPv4Address
from pathlib import Path
from typing import Annotated, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PositiveFloat,
    PositiveInt,
    ValidationError,
    field_validator,
)
from pydantic_core import ErrorDetails
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)
from pydantic_settings.exceptions import SettingsError as UnreadableSetting

from engine.address import DEFAULT_API, parse_address
from engine.home.place import default_home
from engine.types import Backend


class SettingsError(Exception):
    """The settings cannot be read or do not fit; the message says which one and why."""


class Quarantining(BaseModel):
    """Strikes and cool-downs: Kubernetes' back-off and Envoy's ejection times."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    strikes: PositiveInt = 3
    window_s: PositiveFloat = 600.0
    cool_down_s: PositiveFloat = 30.0
    cool_down_max_s: PositiveFloat = 1800.0
    clean_s: PositiveFloat = 600.0
    """So long without a failure and the strikes are forgotten."""
    probation_requests: PositiveInt = 20
    backoff_s: tuple[PositiveFloat, ...] = (1.0, 2.0, 4.0)
    auto_release: bool = False


class Deadlines(BaseModel):
    """How long a worker may keep silent before it counts as hung, in seconds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    start_s: PositiveFloat = 60.0
    """From spawn to the first frame: the import of a backend on a cold disk."""
    load_s: PositiveFloat = 120.0
    load_bytes_per_s: PositiveFloat = 50e6
    """Added to ``load_s`` per byte of weights: a slow external disk (llama-swap#92)."""
    build_s: PositiveFloat = 600.0
    """Building the MLX starter from its GGUF."""
    canary_s: PositiveFloat = 180.0
    canary_bytes_per_s: PositiveFloat = 100e6
    template_s: PositiveFloat = 10.0
    """A template that renders longer is a bomb, not a template."""
    heartbeat_s: PositiveFloat = 15.0
    """An idle worker speaks every second; silent this long it is stopped or stuck."""
    first_token_s: PositiveFloat = 300.0
    silence_s: PositiveFloat = 120.0
    request_s: PositiveFloat = 3600.0
    """Longest a whole answer may take, waiting for its turn included."""
    drain_s: PositiveFloat = 30.0
    stop_s: PositiveFloat = 1.5
    """A worker asked to end and still there is killed; `lmx` must be gone in 2 s."""
    host_s: PositiveFloat = 15.0
    """A host of a cluster that is not heard for so long is given up, with what runs there."""
    preload_s: PositiveFloat = 120.0
    """So long after the start a model to be preloaded may still appear with its host."""


class CanaryBounds(BaseModel):
    """What the canary lets pass; the measured values stand in engine/canary.py."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    perplexity_max: PositiveFloat = 1000.0
    decode_tokens: PositiveInt = 16
    slower_factor: PositiveFloat = 0.5
    """Warn when a pass runs at less than this share of the last pass's tokens per second."""


class HttpLimits(BaseModel):
    """What the API takes from a client: ``[http]``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    body_bytes: PositiveInt = 8 * 1024 * 1024
    """The longest request body. A million characters of JSON text fit several times over."""
    head_bytes: PositiveInt = 32 * 1024
    """The longest head of a request, all names and values of its headers together."""
    head_s: PositiveFloat = 10.0
    """From the first byte of a connection to the end of a request's head."""
    body_s: PositiveFloat = 30.0
    """From the head to the last byte of the body."""
    connections: PositiveInt = 1024
    """Open at once; the next one is told to come back."""
    heartbeat_s: PositiveFloat = 15.0
    """A comment so often on a silent stream; proxies cut what is silent for 60 s."""


_FAULTS = 3
"""Mistakes named at once."""
DEFAULT_RUNTIME = "default"
"""The name of this interpreter's own backends."""


class RuntimeSettings(BaseModel):
    """Another interpreter for a backend: ``[runtimes.NAME]``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    backend: Backend
    python: Path
    """The interpreter; it needs Python 3.11, the backend and pydantic."""
    default: bool = False
    """Models of this backend run here unless they, or a load, name another runtime."""

    @field_validator("python")
    @classmethod
    def _settled(cls, python: Path) -> Path:
        # Workers start in another folder. Symlinks stay: a venv's python is one, and is known by
        # where the link lies.
        return python.expanduser().absolute()


class SamplingSettings(BaseModel):
    """What a request is drawn with that states nothing: ``[model."org/name"] sampling``.

    None leaves it at the usual value. The bounds are those of the worker's ``Sampling``, which a
    test compares: a wrong figure is told at the start and not to every client.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    temperature: float | None = Field(default=None, ge=0, le=5)
    top_p: float | None = Field(default=None, gt=0, le=1)
    top_k: int | None = Field(default=None, ge=0)
    min_p: float | None = Field(default=None, ge=0, le=1)
    seed: int | None = None
    max_tokens: int | None = Field(default=None, ge=1)
    repeat_penalty: float | None = Field(default=None, gt=0)
    presence_penalty: float | None = Field(default=None, ge=-2, le=2)
    frequency_penalty: float | None = Field(default=None, ge=-2, le=2)


class ModelSettings(BaseModel):
    """What an operator fixed for one model: ``[model."org/name"]``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    runtime: str | None = None
    context: PositiveInt | None = None
    keep_alive: PositiveFloat | Literal["never"] | None = None
    pin: bool = False
    preload: bool = False
    """Load it when an engine starts, after those that come before it in the settings."""
    alias: str | tuple[str, ...] = ()
    """Other names requests may ask for it by. Several models may share one: the first routable
    one, in the order of the settings, answers."""
    sampling: SamplingSettings = SamplingSettings()
    reserve_gb: PositiveFloat | None = None
    ranks: PositiveInt = 1
    """Processes to split an MLX model among, each with a part of every layer; its attention heads
    and key-value heads must divide by it."""
    replicas: PositiveInt = 1
    """On so many hosts of a cluster a load of it runs it."""


class HostSettings(BaseModel):
    """What an operator fixed for one host of a cluster: ``[hosts.NAME]``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    folders: tuple[Path, ...] | None = None
    """Folders searched for models there; None means those of this engine."""
    memory_gb: PositiveFloat | None = None
    """The budget there; None means 80 % of that host's memory."""
    device: str | None = None
    """What its verdicts are about; None means what that host says of its processor and GPUs."""
    ring: IPv4Address | None = None
    """The address at which its ranks of a model meet those on other hosts; None keeps all ranks of
    a model on one host. MLX's ring has no password: name a network that nobody else is on."""


class Settings(BaseSettings):
    """The engine's settings, read once at start. Build with :func:`load_settings`."""

    model_config = SettingsConfigDict(
        env_prefix="LMX_", env_nested_delimiter="__", frozen=True, extra="forbid"
    )

    home: Path = Field(default_factory=default_home)
    folders: Annotated[tuple[Path, ...], NoDecode] = ()
    """Folders searched for models besides the two caches. ``LMX_FOLDERS`` lists them with ``:``
    between, as ``PATH`` does, or as a JSON list."""
    hf_cache: Path | None = None
    """The Hugging Face hub cache; None means the usual place (HF_HUB_CACHE, HF_HOME)."""
    lmstudio: Path | None = None
    """LM Studio's model folder; None means the usual places."""
    starter: bool | None = None
    """Show the bundled starter model: True, False, or None for only while nothing else is found."""
    memory_gb: PositiveFloat | None = None
    """The budget; None means 80 % of the machine's memory."""
    context: PositiveInt = 4096
    """Context length where neither the load nor the model's settings name one."""
    slots: PositiveInt = 4
    """Sequences a worker may decode at once."""
    queue: PositiveInt = 256
    """Requests that may wait for one model; more are told ``queue_full``."""
    autoload: bool = False
    """Load a model at the first request for it, instead of answering ``model_not_ready``."""
    keep_alive_s: PositiveFloat = 600.0
    """How long a model loaded by a request stays without another one."""
    threads: PositiveInt | None = None
    spare: bool = True
    """Keep one worker per backend ready with its backend imported."""
    refresh_hz: float = Field(default=5.0, gt=0, le=5)
    registry_rows_shown: PositiveInt = 200
    events_kept: PositiveInt = 2000
    quarantining: Quarantining = Quarantining()
    deadlines: Deadlines = Deadlines()
    canary: CanaryBounds = CanaryBounds()
    runtimes: dict[str, RuntimeSettings] = Field(default_factory=dict)
    model: dict[str, ModelSettings] = Field(default_factory=dict)
    hosts: dict[str, HostSettings] = Field(default_factory=dict)
    signatures: Path | None = None
    """The operator's own signature file, read after the shipped one."""
    on_event: str | None = None
    """A command to run with an event as JSON on its standard input; no shell reads it."""
    on_event_kinds: tuple[str, ...] = ("model_quarantined", "unclean_end", "api_down")
    """The kinds of event it is run for; ``*`` is every kind."""
    api: str = DEFAULT_API
    """Where the API answers, ``HOST:PORT``; empty means nowhere."""
    allowed_hosts: tuple[str, ...] = ()
    """Names clients may call this host by in ``Host``, besides its own address; ``*`` is any."""
    allowed_origins: tuple[str, ...] = ()
    """Web pages that may call the API, such as ``https://chat.example.org``."""
    ready_when: Literal["routable", "started"] = "routable"
    """What ``/readyz`` waits for: a model that takes requests, or just the engine."""
    http: HttpLimits = HttpLimits()
    on_hangup: Literal["detach", "stop"] = "detach"
    """What a console does whose terminal is gone: the engine goes on without it, where its API
    answers and a model is routable, or it ends with it."""
    keymap: dict[str, str] = Field(default_factory=dict)
    theme: str | None = None

    @field_validator("folders", mode="before")
    @classmethod
    def _listed(cls, folders: object) -> object:
        if not isinstance(folders, str):
            return folders
        if folders.lstrip().startswith("["):
            return json.loads(folders)
        return [part for part in folders.split(os.pathsep) if part]

    @field_validator("api")
    @classmethod
    def _reachable(cls, api: str) -> str:
        return str(parse_address(api)) if api else ""

    @field_validator("home", mode="before")
    @classmethod
    def _somewhere(cls, home: object) -> object:
        # An empty LMX_HOME is an unset one, never the folder one happens to stand in.
        return default_home() if home in ("", None) else Path(str(home)).expanduser().absolute()

    @field_validator("runtimes")
    @classmethod
    def _unambiguous(cls, runtimes: dict[str, RuntimeSettings]) -> dict[str, RuntimeSettings]:
        if DEFAULT_RUNTIME in runtimes:
            raise ValueError(f"{DEFAULT_RUNTIME!r} is this interpreter; choose another name")
        chosen = [runtime.backend for runtime in runtimes.values() if runtime.default]
        if len(chosen) != len(set(chosen)):
            raise ValueError("two runtimes of one backend cannot both be its default")
        return runtimes

    @field_validator("on_event")
    @classmethod
    def _readable(cls, command: str | None) -> str | None:
        if command is not None and not shlex.split(command):
            raise ValueError("an empty command; leave the setting out instead")
        return command

    def ring_of(self, host: str) -> str:
        """The address at which a host's ranks meet those of others; empty where they do not."""
        own = self.hosts.get(host)
        return str(own.ring) if own and own.ring else ""

    def without_preload(self) -> "Settings":
        """The same for an engine that is to load only what it is told to."""
        still = {n: own.model_copy(update={"preload": False}) for n, own in self.model.items()}
        return self.model_copy(update={"model": still})

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - pydantic-settings' signature
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments first, then the environment, then ``config.toml``."""
        toml = TomlConfigSettingsSource(settings_cls, default_home() / "config.toml")
        return init_settings, env_settings, toml


def load_settings(**overrides: object) -> Settings:
    """Read the settings.

    Raises:
        SettingsError: a value does not fit; the message names it, what was given and where
            settings come from.
    """
    try:
        return Settings(**overrides)  # type: ignore[arg-type]
    except ValidationError as error:
        faults = "; ".join(_fault(found) for found in error.errors()[:_FAULTS])
        where = f"look in {default_home() / 'config.toml'} and at LMX_* in the environment"
        raise SettingsError(f"{faults}; {where}") from error
    except UnreadableSetting as error:
        raise SettingsError(f"{error}: lists and tables are given as JSON there") from error
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{default_home() / 'config.toml'} cannot be read: {error}") from error


def _fault(found: ErrorDetails) -> str:
    name = ".".join(str(part) for part in found["loc"]) or "settings"
    if found["type"] == "extra_forbidden":
        return f"unknown setting {name}"
    return f"setting {name}: {found['msg']} (found {found.get('input')!r})"
