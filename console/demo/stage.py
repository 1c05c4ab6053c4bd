"""The stage: a temporary home with the demo's models, and nothing of it left afterwards."""

import shutil
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self

from pydantic_settings import BaseSettings, PydanticBaseSettingsSource

from console.demo import props
from engine import Memory, Settings


class _StageSettings(Settings):
    """Settings of the demo alone: neither the environment nor the operator's file has a say."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 - pydantic-settings' signature
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """What is given here and nothing else."""
        return (init_settings,)


class Stage:
    """Built on entry, removed on exit.

    Args:
        pace: Loads are so many times as fast.
        below: The folder to build it in; None means the system's temporary one.
    """

    def __init__(self, pace: float = 1.0, below: Path | None = None) -> None:
        self._pace = pace
        self._below = below
        self.folder = Path()

    def __enter__(self) -> Self:
        self.folder = Path(tempfile.mkdtemp(prefix="lmx-demo-", dir=self._below)).resolve()
        try:
            for name in ("home", "models", "none"):
                (self.folder / name).mkdir(mode=0o700)
            (self.folder / "signatures.toml").write_text(props.SIGNATURES, encoding="utf-8")
            props.write_models(self.folder / "models", self._pace)
        except BaseException:
            self.clear()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.clear()

    def clear(self) -> None:
        """Remove everything. A worker in its last moment may still write: then once more."""
        for _ in range(3):
            shutil.rmtree(self.folder, ignore_errors=True)
            if not self.folder.exists():
                return

    def settings(self) -> Settings:
        """What the demo's engine runs with."""
        none = self.folder / "none"
        return _StageSettings(
            home=self.folder / "home",
            folders=(self.folder / "models",),
            hf_cache=none,
            lmstudio=none,
            starter=False,
            spare=False,
            memory_gb=props.BUDGET_GB,
            signatures=self.folder / "signatures.toml",
        )

    def upgrade(self) -> None:
        """Install a newer version of the simulated backend."""
        props.upgrade(self.folder / "models")


def machine() -> Memory:
    """The memory of the machine that is played: simulated models take none of the real one's."""
    return Memory(props.BUDGET_GB * 10**9, props.BUDGET_GB * 10**9)
