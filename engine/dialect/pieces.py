"""What the raw output of a model turns out to be, piece by piece, in the order it was written."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Thought:
    """Reasoning: what stood between the model's thinking tags, without them."""

    text: str


@dataclass(frozen=True, slots=True)
class Words:
    """Content. Markup that turned out to be no call is content too, exactly as written."""

    text: str


@dataclass(frozen=True, slots=True)
class CallBegun:
    """A tool call the answer makes; its arguments follow at once."""

    index: int
    """Its place among the calls of this answer, from 0."""
    id: str
    name: str


@dataclass(frozen=True, slots=True)
class CallArguments:
    """A part of the JSON text of a call's arguments; the parts of one index are joined."""

    index: int
    delta: str


Piece = Thought | Words | CallBegun | CallArguments
