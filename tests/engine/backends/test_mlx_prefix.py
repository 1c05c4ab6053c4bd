"""What the MLX backend keeps of sequences, on models too small to say anything: an answer from a
copied cache is the answer from a computed one."""

from collections.abc import Iterator
from typing import Any

import pytest

from engine.backends.mlx import MlxBackend
from tests.engine.backends.test_mlx_batch import Talk
from tests.engine.backends.tiny_mlx import KINDS, load_tiny, write_tiny

pytestmark = [pytest.mark.real, pytest.mark.xdist_group("mlx")]
SYSTEM = "You answer in bytes, as somebody once said of machines that talk too much. "
FIRST, OTHER = SYSTEM + "What is one?", SYSTEM + "Which way is up, and why?"
TOKENS = 8


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    from engine.backends import mlx_runtime

    mlx_runtime.import_mlx()
    place = tmp_path_factory.mktemp("kept")
    return {kind: write_tiny(place / kind, kind) for kind in KINDS}


@pytest.fixture(scope="module")
def loaded(folders: dict[str, Any]) -> Iterator[dict[str, MlxBackend]]:
    backends = {kind: load_tiny(folder) for kind, folder in folders.items()}
    yield backends
    for backend in backends.values():
        backend.close()


@pytest.fixture
def backend(loaded: dict[str, MlxBackend]) -> MlxBackend:
    """The model whose layers keep every token, with nothing kept."""
    forget(loaded["full"])
    return loaded["full"]


def kept(backend: MlxBackend) -> Any:
    """Its prefixes."""
    assert backend._batch is not None
    return backend._batch._prefixes


def forget(backend: MlxBackend) -> None:
    """Let it keep nothing."""
    kept(backend).drop()
    assert kept(backend).used == 0


def answer(backend: MlxBackend, prompt: str, tokens: int = TOKENS, **more: Any) -> tuple[str, int]:
    """What it says alone, and how many tokens of the prompt were in its cache."""
    talk = Talk(backend)
    talk.ask("one", prompt, tokens, **more)
    said = talk.finish()["one"]
    assert said.end is not None
    return said.text, said.end.cached_tokens


def uncached(backend: MlxBackend, *prompts: str) -> list[str]:
    """What each says alone while nothing is kept."""
    said = []
    for prompt in prompts:
        forget(backend)
        text, cached = answer(backend, prompt)
        assert cached == 0
        assert text
        said.append(text)
    forget(backend)
    return said


def test_two_chats_and_the_first_again(backend: MlxBackend) -> None:
    unlike = "Somebody else begins with other words altogether, and goes on with them."
    more = FIRST + " And two?"
    said = uncached(backend, FIRST, unlike, more, OTHER)
    assert answer(backend, FIRST) == (said[0], 0)
    assert answer(backend, unlike) == (said[1], 0)
    assert answer(backend, FIRST) == (said[0], len(FIRST) - 1)
    assert answer(backend, unlike) == (said[1], len(unlike) - 1)
    # The next turn reads what is new; another chat with the same system prompt the rest of it.
    text, cached = answer(backend, more)
    assert text == said[2]
    assert cached >= len(FIRST)
    text, cached = answer(backend, OTHER)
    assert text == said[3]
    assert len(SYSTEM) <= cached < len(SYSTEM) + 3
    # And whoever took something left what was kept as it was.
    for prompt, text in zip((FIRST, unlike, more, OTHER), said, strict=True):
        assert answer(backend, prompt) == (text, len(prompt) - 1)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "full"])
def test_what_cannot_be_cut_serves_who_goes_on_from_its_end(
    loaded: dict[str, MlxBackend], kind: str
) -> None:
    backend = loaded[kind]
    assert backend._model is not None
    [a] = backend._model.encode("a", special=False)
    onward = FIRST + "aaaa And two?"
    said = uncached(backend, FIRST, OTHER, onward)
    answer(backend, FIRST, 3, logit_bias={a: 100.0})
    assert answer(backend, OTHER) == (said[1], 0)
    assert answer(backend, FIRST) == (said[0], 0)
    assert answer(backend, onward) == (said[2], len(FIRST) + 3)
    # A chat that was answered otherwise than its next turn has it goes on from its question.
    forget(backend)
    answer(backend, FIRST, 3, logit_bias={a + 1: 100.0})
    assert answer(backend, onward) == (said[2], len(FIRST))
    # Nor is anything copied from a request that runs, or waited for.
    forget(backend)
    talk = Talk(backend)
    for name, prompt in (("r1", FIRST), ("r2", FIRST), ("r3", OTHER)):
        talk.ask(name, prompt, TOKENS)
    done = talk.finish()
    assert [done[name].text for name in ("r1", "r2", "r3")] == [said[0], said[0], said[1]]
    assert {one.end.cached_tokens for one in done.values() if one.end} == {0}


def test_a_request_copies_from_one_that_still_runs(backend: MlxBackend) -> None:
    said = uncached(backend, FIRST, OTHER)
    [long] = [answer(backend, FIRST, 60)[0]]
    forget(backend)
    talk = Talk(backend)
    talk.ask("long", FIRST, 60)
    while talk.said["long"].tokens < 5:
        talk.step()
    talk.ask("same", FIRST, TOKENS)
    talk.step()
    talk.ask("other", OTHER, TOKENS)
    ends = talk.finish()
    assert [ends[name].text for name in ("long", "same", "other")] == [long, *said]
    assert ends["same"].end is not None
    assert ends["same"].end.cached_tokens == len(FIRST) - 1
    assert ends["other"].end is not None
    assert ends["other"].end.cached_tokens >= len(SYSTEM)


def test_requests_at_once_read_what_they_share_once(backend: MlxBackend) -> None:
    prompts = [SYSTEM * 2 + str(number) * 9 for number in range(4)]
    said = uncached(backend, *prompts)
    talk = Talk(backend)
    for prompt in prompts:
        talk.ask(prompt, prompt, TOKENS)
    ends = talk.finish()
    assert [ends[prompt].text for prompt in prompts] == said
    cached = [one.end.cached_tokens for one in ends.values() if one.end]
    assert cached[0] == 0
    # They wait until the first has read it, the last 32 tokens perhaps not.
    assert all(tokens >= len(SYSTEM) * 2 - 32 for tokens in cached[1:])


def test_a_cancelled_request_leaves_a_good_cache(backend: MlxBackend) -> None:
    said = uncached(backend, FIRST, OTHER)
    assert backend._batch is not None
    for name in ("waiting", "reading", "decoding"):
        forget(backend)
        backend._batch._pace._rate = 1.0  # so that it reads in small pieces
        talk = Talk(backend)
        talk.ask("beside", "Something else goes on beside it.", 40)
        while not talk.said["beside"].tokens:
            talk.step()
        talk.ask("cut", FIRST, 60)
        if name != "waiting":
            for _ in range(4):
                talk.step()
        while name == "decoding" and not talk.said["cut"].tokens:
            talk.step()
        backend.cancel("cut")
        talk.finish()
        assert talk.said["cut"].end is not None
        assert talk.said["cut"].end.reason == "cancelled"
        text, cached = answer(backend, FIRST)
        assert text == said[0]
        assert (cached >= 8) == (name != "waiting")
        assert answer(backend, OTHER)[0] == said[1]


def test_what_is_kept_gives_way_and_the_oldest_first(folders: dict[str, Any]) -> None:
    backend = load_tiny(folders["full"], context=512, slots=2)
    prefixes = kept(backend)
    try:
        prompts = tuple(letter * 300 for letter in "abc")
        said = uncached(backend, *prompts)
        for prompt, text in zip(prompts, said, strict=True):
            assert answer(backend, prompt) == (text, 0)
        # Of 1,024 tokens in all, the third took 512 as it ran; the first two held 307 each.
        assert [backend._loaded.decode(past.tokens[:1]) for past in prefixes.kept] == ["b", "c"]
        assert answer(backend, prompts[1]) == (said[1], 299)
        assert answer(backend, prompts[0]) == (said[0], 0)
        assert answer(backend, prompts[2]) == (said[2], 0)
        assert 0 < prefixes.used <= prefixes._room
        # Two that fill their slots leave no room for what they took from.
        talk = Talk(backend)
        for name, prompt in (("c", prompts[2]), ("a", prompts[0])):
            talk.ask(name, prompt, 200, logit_bias={256: -100.0})
        while not (talk.said["a"].tokens and talk.said["c"].tokens):
            talk.step()
        assert len(prefixes.kept) == 1
        while backend.active:
            talk.step()
            if prefixes.used == 0:
                break
        assert backend.active
        ends = talk.finish()
        assert [one.end.cached_tokens for one in ends.values() if one.end] == [299, 299]
        assert [ends[name].text[:3] for name in "ca"] == [said[2][:3], said[0][:3]]
    finally:
        backend.close()


def test_what_is_copied_shares_no_array(backend: MlxBackend) -> None:
    """An assignment into a part of an array changes the object, for all who hold it."""
    import mlx.core as mx

    from engine.backends.mlx_cache import Copies, joining

    answer(backend, FIRST)
    [past] = kept(backend).kept
    before = [mx.array(layer.keys) for layer in past.cache]
    mx.eval(before)
    copies = Copies()
    for surplus in (0, 5):
        [*layers] = joining(backend._loaded.model, copies.copy(past.cache, surplus))
        for layer in layers:
            assert layer.keys.shape[2] == layer.offset == past.filled - surplus
            one = mx.ones((1, layer.keys.shape[1], 3, layer.keys.shape[3]))
            layer.update_and_fetch(one, one)
            layer.keys[..., :4, :] = 7.0
        mx.eval([layer.state for layer in layers])
        for layer, old in zip(past.cache, before, strict=True):
            assert layer.offset == past.filled
            assert bool(mx.array_equal(layer.keys, old))
