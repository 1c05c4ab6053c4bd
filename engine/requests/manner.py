"""How a model is asked where the request leaves it open: the operator's own defaults for it."""

from collections.abc import Mapping
from dataclasses import replace

from engine.face import ChatOptions


def with_defaults(
    options: ChatOptions, stated: frozenset[str], sampling: Mapping[str, float]
) -> ChatOptions:
    """The options with the model's defaults wherever the request stated nothing.

    Args:
        stated: The fields of ``options`` that whoever asks has named, also where the value is the
            usual one: a stated 1.0 is a wish, an unstated one is not.
        sampling: The model's ``sampling`` of the settings, as in ``ModelView.sampling``.
    """
    unstated = {name: value for name, value in sampling.items() if name not in stated}
    return replace(options, **unstated)  # type: ignore[arg-type]
