"""Every number and path an operator may set: ``LMX_*`` in the environment, then ``config.toml``
in the home folder, then these defaults. The docstring beside a number says where it comes from.
"""

import os
import tomllib
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt, ValidationError
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from engine.types import Backend


def default_home() -> Path:
    """``LMX_HOME``, or ``~/.opta-lmx``."""
    return Path(os.environ.get("LMX_HOME") or Path.home() / ".opta-lmx").expanduser().absolute()


class SettingsError(Exception):
    """The settings cannot be read or do not fit; the message says which one and why."""


class Quarantining(BaseModel):
    """Strikes and cool-downs (design 4: Kubernetes' and Envoy's numbers, facts/peers 6)."""

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
    """A template that renders longer is a bomb, not a template (facts/failure-modes 46)."""
    heartbeat_s: PositiveFloat = 15.0
    """An idle worker speaks every second; silent this long it is stopped or stuck."""
    first_token_s: PositiveFloat = 300.0
    silence_s: PositiveFloat = 120.0
    drain_s: PositiveFloat = 30.0
    stop_s: PositiveFloat = 1.5
    """A worker asked to end and still there is killed; `lmx` must be gone in 2 s."""


class CanaryBounds(BaseModel):
    """What the canary lets pass (design 4; measured values in engine/canary.py)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    perplexity_max: PositiveFloat = 1000.0
    decode_tokens: PositiveInt = 16
    slower_factor: PositiveFloat = 0.5
    """Warn when a pass runs at less than this share of the last pass's tokens per second."""


class RuntimeSettings(BaseModel):
    """Another interpreter for a backend."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    backend: Backend
    python: Path


class ModelSettings(BaseModel):
    """What an operator fixed for one model: ``[model."org/name"]``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    runtime: str | None = None
    context: PositiveInt | None = None
    keep_alive: PositiveFloat | Literal["never"] | None = None
    pin: bool = False
    preload: bool = False
    alias: str | None = None
    sampling: dict[str, float] = Field(default_factory=dict)
    reserve_gb: PositiveFloat | None = None


class Settings(BaseSettings):
    """The engine's settings, read once at start. Build with :func:`load_settings`."""

    model_config = SettingsConfigDict(
        env_prefix="LMX_", env_nested_delimiter="__", frozen=True, extra="forbid"
    )

    home: Path = Field(default_factory=default_home)
    folders: tuple[Path, ...] = ()
    """Folders searched for models besides the two caches."""
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
    signatures: Path | None = None
    """The operator's own signature file, read after the shipped one."""
    keymap: dict[str, str] = Field(default_factory=dict)
    theme: str | None = None

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
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "settings"
        raise SettingsError(
            f"setting {where}: {first['msg']} (found {first.get('input')!r}); "
            f"look in {default_home() / 'config.toml'} and at LMX_* in the environment"
        ) from error
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{default_home() / 'config.toml'} cannot be read: {error}") from error
