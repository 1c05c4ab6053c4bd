"""The two keys: one for inference, one for administration. Neither is ever logged or shown."""

import hmac
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from engine.home import disk
from engine.home.home import Home
from engine.http.trouble import ApiMisconfigured
from engine.text import clean_line

_LONGEST = 4096
_OTHERS = 0o077


class KeyTrouble(ApiMisconfigured):
    """A key file is there and cannot serve; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Keys:
    """What clients must show; None where nothing is asked for."""

    api: str | None = field(default=None, repr=False)
    admin: str | None = field(default=None, repr=False)


def read_keys(home: Path, environ: Mapping[str, str] | None = None) -> Keys:
    """The keys of a home: ``api-key`` and ``admin-key``, or LMX_API_KEY and LMX_ADMIN_KEY.

    Raises:
        KeyTrouble: a file is empty, cannot be read, or others may read it.
    """
    env = os.environ if environ is None else environ
    files = Home(home)
    return Keys(
        api=env.get("LMX_API_KEY") or _read(files.api_key),
        admin=env.get("LMX_ADMIN_KEY") or _read(files.admin_key),
    )


def _read(path: Path) -> str | None:
    try:
        return read_key(path)
    except FileNotFoundError:
        return None


def read_key(path: Path) -> str:
    """The key in a file.

    Raises:
        FileNotFoundError: there is none.
        KeyTrouble: the file is empty, cannot be read, or others may read it.
    """
    where = clean_line(str(path))
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        text = disk.read(path, _LONGEST)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise KeyTrouble(f"{where} cannot be read: {error.strerror or error}") from error
    if mode & _OTHERS:
        raise KeyTrouble(f"others may read {where}; run: chmod 600 {where}")
    key = text.decode("utf-8", "replace").strip()
    if not key:
        raise KeyTrouble(f"{where} is empty; write a key into it, or remove it")
    return key


def same(shown: str | None, key: str) -> bool:
    """Whether a client showed this key, compared in constant time."""
    return hmac.compare_digest((shown or "").encode("utf-8", "replace"), key.encode())
