"""Inference as OpenAI's clients speak it."""

from collections.abc import Iterator

from fastapi import APIRouter

from engine.http.house import House
from engine.http.openai import chat, completions, embeddings, models, responses

__all__ = ["routers"]


def routers(house: House) -> Iterator[APIRouter]:
    """Every route under ``/v1``, for this house."""
    for room in (chat, completions, responses, models, embeddings):
        yield room.router(house)
