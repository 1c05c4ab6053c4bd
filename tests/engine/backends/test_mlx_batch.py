"""Requests that share a batch under MLX: each answers as it would alone, whatever the others do."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from engine.backends.mlx import MlxBackend
from engine.workers.protocol import Delta, Failed, Finished, Generate, Sampling
from tests.engine.backends.tiny_mlx import KINDS, load_tiny, write_tiny

pytestmark = [pytest.mark.real, pytest.mark.xdist_group("mlx")]
PROMPTS = ("a", "The second one is a longer prompt", "third? " * 9, "4: forty-four")
TOKENS = (40, 12, 25, 33)


@dataclass
class Said:
    """What came of one request."""

    text: str = ""
    tokens: int = 0
    end: Finished | None = None


@dataclass
class Talk:
    """Requests and their answers so far."""

    backend: MlxBackend
    said: dict[str, Said] = field(default_factory=dict)

    def ask(self, name: str, prompt: str, tokens: int, **more: Any) -> None:
        """Submit one, greedily drawn."""
        drawn = Sampling(temperature=0, max_tokens=tokens, **more)
        self.said[name] = Said()
        self.backend.submit(Generate(id=name, prompt=prompt, sampling=drawn))

    def step(self) -> None:
        """One step; nothing may be said of a request that has ended."""
        for event in self.backend.step():
            assert not isinstance(event, Failed)
            if isinstance(event, Delta | Finished):
                said = self.said[event.id]
                assert said.end is None
                if isinstance(event, Finished):
                    said.end = event
                else:
                    said.text += event.text
                    said.tokens += event.tokens

    def finish(self) -> dict[str, Said]:
        """Step until all have ended."""
        while self.backend.active:
            self.step()
        assert all(said.end for said in self.said.values())
        return self.said


@pytest.fixture(scope="module", params=KINDS)
def backend(request: pytest.FixtureRequest, tmp_path_factory: Any) -> Iterator[MlxBackend]:
    from engine.backends import mlx_runtime

    mlx_runtime.import_mlx()
    kind: str = request.param
    backend = load_tiny(write_tiny(tmp_path_factory.mktemp("tiny") / kind, kind))
    yield backend
    backend.close()


def test_an_answer_is_the_same_alone_joined_and_left_alone_again(backend: MlxBackend) -> None:
    alone: dict[str, Said] = {}
    for name, tokens in zip(PROMPTS, TOKENS, strict=True):
        talk = Talk(backend)
        talk.ask(name, name, tokens)
        alone |= talk.finish()
    talk = Talk(backend)
    for name, tokens in zip(PROMPTS, TOKENS, strict=True):
        talk.ask(name, name, tokens)  # while the ones before are at different places
        for _ in range(4):
            talk.step()
    together = talk.finish()
    for name in PROMPTS:
        assert together[name].text == alone[name].text
        assert together[name].tokens == alone[name].tokens > 0


@pytest.mark.parametrize("backend", ["full"], indirect=True)
def test_a_lone_sequence_is_counted_in_numbers_and_several_in_arrays(backend: MlxBackend) -> None:
    """Whether mlx-lm's batch keeps to the plain cache: arrays and masks cost a lone one 3 %."""
    assert backend._batch is not None
    generator = backend._batch._generator

    def plain() -> bool:
        [offsets] = {type(layer.offset) for layer in generator._generation_batch.prompt_cache}
        return offsets is int

    talk = Talk(backend)
    talk.ask("one", PROMPTS[1], 40, logit_bias={256: -100.0})
    while not talk.said["one"].tokens:
        talk.step()
    assert plain()
    talk.ask("two", PROMPTS[2], 4, logit_bias={256: -100.0})
    while not talk.said["two"].tokens:
        talk.step()
    assert not plain()
    while not talk.said["two"].end:
        talk.step()
    assert plain()
    talk.finish()
    # One that began with a copy of another's as well.
    talk = Talk(backend)
    talk.ask("again", PROMPTS[1], 4, logit_bias={256: -100.0})
    while not talk.said["again"].tokens:
        talk.step()
    assert plain()
    end = talk.finish()["again"].end
    assert end is not None
    assert end.cached_tokens == len(PROMPTS[1]) - 1
