"""The prompt a conversation becomes, as its model's own template writes it, without asking it."""

from collections.abc import Sequence

from engine.errors import Code, EngineError, refuse
from engine.face import ChatOptions, ChatTurn
from engine.requests.chat import failure
from engine.requests.question import framed, too_large
from engine.workers.protocol import MAX_FRAME, Failed, Probe, ProtocolError
from engine.workers.supervisor import Supervisor, WorkerDied


async def rendered(
    worker: Supervisor, probe_id: str, turns: Sequence[ChatTurn], deadline_s: float
) -> str:
    """Have the worker render ``turns``; nothing is generated.

    Args:
        probe_id: The name of this question between engine and worker.
        deadline_s: A template that takes longer is a bomb; its heartbeat then gives it away.

    Raises:
        EngineError: ``invalid_request``, the template refuses the conversation or there is none;
            ``payload_too_large``; ``deadline_exceeded``; ``model_unstable``, the worker died.
    """
    messages = framed(probe_id, turns, ChatOptions()).messages
    try:
        answer = await worker.probe(
            Probe(id=probe_id, name="render", messages=messages), deadline_s
        )
    except ProtocolError as error:
        raise EngineError(too_large(str(error))) from error
    except TimeoutError:
        raise EngineError(
            refuse(
                Code.DEADLINE_EXCEEDED,
                f"the chat template has not rendered within {deadline_s:g} s",
                expected=f"a prompt within {deadline_s:g} s",
                found="no answer",
                remedy="ask again; a worker that stays silent is ended by itself",
            )
        ) from None
    except WorkerDied as died:
        raise EngineError(
            refuse(
                Code.MODEL_UNSTABLE,
                f"its worker ended while it rendered: {died.end.cause}",
                expected="a prompt",
                found=died.end.cause,
                remedy="ask again once it is routable",
            )
        ) from died
    if not answer.ok:
        raise EngineError(failure(Failed(id=probe_id, kind="template", message=answer.detail)))
    if not answer.text:
        raise EngineError(too_large(f"the prompt is longer than {MAX_FRAME:,} bytes"))
    return answer.text
