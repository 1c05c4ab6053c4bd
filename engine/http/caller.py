"""Who calls, for the record."""

from fastapi import Request

from engine.text import clean_line

_NAMED = 80
"""Characters of a name that are kept."""


def actor_of(request: Request) -> str:
    """Who acts: the name in ``X-LMX-Actor``, if one was sent, and always where it came from."""
    where = request.client.host if request.client else "unknown"
    name = clean_line(request.headers.get("x-lmx-actor", "").strip(), limit=_NAMED)
    return f"{name}@api:{where}" if name else f"api:{where}"
