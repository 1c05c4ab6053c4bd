"""Puts a request to the engine: the model found, loaded first where the settings allow, asked."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from starlette.requests import Request

from engine.dialect import prepare
from engine.errors import Code, EngineError
from engine.face import ChatOptions, ChatStream, Lane, LoadOptions
from engine.http.house import House
from engine.http.openai.caller import client_of, lane_of
from engine.http.openai.choice import Choice
from engine.http.openai.feed import Feed
from engine.http.openai.models import meant
from engine.http.openai.translation import Wish
from engine.lives.model import unknown
from engine.requests.manner import with_defaults
from engine.types import ModelView, Readiness

Translate = Callable[[ModelView], Sequence[Wish]]


@dataclass(frozen=True, slots=True)
class Asker:
    """Who asks, as far as it can be known."""

    client: str
    lane: Lane
    trusted: bool = False
    """An operator's own test."""

    @classmethod
    def of(cls, request: Request, user: str | None, *, trusted: bool = False) -> "Asker":
        """Read the headers. Raises EngineError (``invalid_header``)."""
        address = request.client.host if request.client else ""
        client = client_of(request.headers, user, address)
        return cls(client, lane_of(request.headers), trusted)


def ask(house: House, name: str, asker: Asker, translate: Translate) -> Feed:
    """Begin a request; refusals come through the feed.

    Args:
        name: The model as the client calls it.
        translate: Says what is asked, once it is known of which model; one wish per choice.
    """

    async def opening() -> Sequence[Choice]:
        try:
            return await _open(house, name, asker, translate)
        except EngineError as error:
            house.metrics.request_ended(_known(house, name), error.decision.code.value)
            raise

    return Feed(
        opening(),
        on_gap=lambda choice, gap_s: house.metrics.tokens_came(choice.view.id, gap_s),
        on_close=lambda choices: _account(house, choices),
    )


def _known(house: House, name: str) -> str:
    """The catalog's id for a name; the name itself where it means nothing."""
    try:
        return house.engine.resolve(name)
    except EngineError:
        return name


async def _open(house: House, name: str, asker: Asker, translate: Translate) -> Sequence[Choice]:
    engine = house.engine
    model_id = engine.resolve(name)
    view = _view(house, model_id)
    if house.settings.autoload and view.readiness is not Readiness.ROUTABLE:
        view = await _loaded(house, meant(name, view), view, asker)
    await prepare(view.tool_format)
    choices: list[Choice] = []
    try:
        for index, wish in enumerate(translate(view)):
            stream = await _stream(house, view, wish, asker)
            choices.append(Choice(index, stream, wish, view))
    except BaseException:
        for choice in choices:
            choice.stream.cancel()
        raise
    return choices


async def _loaded(house: House, wanted: str, view: ModelView, asker: Asker) -> ModelView:
    """Load it first; joining a load under way is the engine's business.

    Args:
        wanted: This copy of a model, or all of them together: it is the engine then that chooses
            on which host one is loaded.

    Raises:
        EngineError: ``model_unstable`` when quarantined, or why it could not be loaded.
    """
    if view.readiness is not Readiness.QUARANTINED:
        options = LoadOptions(keep_alive_s=house.settings.keep_alive_s, unattended=True)
        actor = f"{asker.client}@api"
        await house.engine.load(wanted, options, actor=actor, wait=True)
    return _view(house, house.engine.resolve(wanted))


async def _stream(house: House, view: ModelView, wish: Wish, asker: Asker) -> ChatStream:
    return await house.engine.chat(
        view.alone,
        wish.turns,
        _fitting(with_defaults(wish.options, wish.stated, view.sampling), view),
        client=asker.client,
        prompt=wish.prompt,
        lane=asker.lane,
        trusted=asker.trusted,
    )


def _fitting(options: ChatOptions, view: ModelView) -> ChatOptions:
    if view.context is None:
        return options
    return replace(options, max_tokens=min(options.max_tokens, view.context))


def _view(house: House, model_id: str) -> ModelView:
    view = house.engine.snapshot().model(model_id)
    if view is None:  # gone from the disk since it was resolved
        raise EngineError(unknown(model_id, len(house.engine.snapshot().models)))
    return view


def _account(house: House, choices: Sequence[Choice]) -> None:
    """Count choices that are over."""
    for choice in choices:
        decision, end = choice.refusal, choice.end
        if end is None or (decision is not None and decision.code is Code.CONFLICT):
            how = "cancelled"
        else:
            how = decision.code.value if decision is not None else "ok"
        house.metrics.request_ended(choice.view.id, how, end)
