"""What a backend is: a step function over a loaded model.

Continuous batching belongs to the backend. The worker's loop only submits, steps and cancels, so
one loop serves every backend, and a request may join or leave between any two steps.
"""

from collections.abc import Callable, Collection
from typing import Protocol

from engine.workers.protocol import (
    Delta,
    Failed,
    Finished,
    Generate,
    Load,
    Loaded,
    Probe,
    Probed,
    Progress,
    Started,
)

StepEvent = Started | Delta | Finished | Failed | Progress
"""What a step can tell: a request's start, its text or end, its failure, a prefill's progress."""

OnProgress = Callable[[float | None, str], None]
"""Called while loading with the fraction done (None: unknown) and the stage's name."""


class LoadError(Exception):
    """The model cannot be loaded, for the reason its text gives (raw; sanitise before showing)."""


class RequestError(Exception):
    """This request cannot run; the model is fine.

    ``kind`` is ``invalid``, ``context`` or ``template``, as in :class:`Failed`.
    """

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


def refuse_length(tokens: int, context: int) -> None:
    """Refuse a prompt of so many tokens that has no words, or leaves no room for an answer.

    Raises:
        RequestError: it is so; the numbers are in the text.
    """
    if not tokens:
        raise RequestError("invalid", "the prompt is empty")
    if tokens >= context:
        raise RequestError(
            "context",
            f"prompt of {tokens:,} tokens plus at least one to answer; the context is {context:,}",
        )


def refuse_bias(bias: Collection[int], vocabulary: int) -> None:
    """Refuse a bias on tokens that do not exist.

    Raises:
        RequestError: it is so; the first of them is in the text.
    """
    for token in bias:
        if not 0 <= token < vocabulary:
            raise RequestError(
                "invalid", f"logit_bias: token {token:,}; the vocabulary has {vocabulary:,}"
            )


class ModelBackend(Protocol):
    """One backend in one worker. Every call comes from the worker's main thread."""

    backend_version: str
    """As it stands in the registry."""
    device: str

    def load(self, spec: Load, on_progress: OnProgress) -> Loaded:
        """Load the model. Raises LoadError, or whatever the native library throws."""
        ...

    def submit(self, request: Generate) -> None:
        """Queue a request. Raises RequestError when it can never run."""
        ...

    def step(self) -> list[StepEvent]:
        """Advance every active request by at most one token or one chunk of prefill."""
        ...

    def cancel(self, request_id: str) -> None:
        """Mark a request as cancelled; the next step answers it with Finished(cancelled)."""
        ...

    def probe(self, question: Probe) -> Probed:
        """Answer one canary question, without disturbing requests in flight."""
        ...

    @property
    def active(self) -> int:
        """Requests being computed or waiting; 0 means ``step`` has nothing to do."""
        ...

    @property
    def queued(self) -> int:
        """Requests waiting for a slot."""
        ...

    def memory_bytes(self) -> int:
        """What the process holds, device memory included."""
        ...

    def close(self) -> None:
        """Free the model. Called once, before the worker exits."""
        ...
