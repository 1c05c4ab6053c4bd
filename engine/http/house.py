"""What every room of the API shares."""

import asyncio
import uuid
from dataclasses import dataclass, field

from engine.address import Address
from engine.face import ApiFace
from engine.http.keys import Keys
from engine.http.metrics import Metrics
from engine.settings import Settings


@dataclass(frozen=True, slots=True)
class House:
    """One API: the engine it fronts and what it was told.

    ``ending`` is set when the server stops: whoever streams without an end of its own ends then.
    """

    engine: ApiFace
    settings: Settings
    keys: Keys
    address: Address
    readonly: bool
    metrics: Metrics
    version: str
    """Of this program."""
    boot: str = field(default_factory=lambda: uuid.uuid4().hex[:12])
    """This life of the engine: versions and keys of actions mean nothing in another."""
    ending: asyncio.Event = field(default_factory=asyncio.Event)
