"""What a failed load means: the message first, then what was printed, never the program's code."""

import pytest

from engine.errors import Code
from engine.workers.exits import classify_load_failure

TRACEBACK = """\
llama_load: loading
Traceback (most recent call last):
  File "/x/engine/backends/mlx_release.py", line 41, in load_model
    model, config = utils.load_model(folder, lazy=True, trust_remote_code=False)
                    ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
  File "/x/mlx_lm/utils.py", line 12, in load_model
    raise MemoryError("No such file or directory")
TypeError: '<=' not supported between instances of 'str' and 'float'
"""


def test_the_programs_own_code_in_a_traceback_is_no_evidence() -> None:
    words = "'<=' not supported between instances of 'str' and 'float'"
    fault = classify_load_failure("TypeError", words, TRACEBACK)
    assert (fault.code, fault.cause) == (Code.UNKNOWN_FAILURE, "TypeError")
    assert fault.detail == words
    assert fault.environment


@pytest.mark.parametrize(
    ("kind", "message", "stderr", "code"),
    [
        ("ValueError", "The model at x requires importing: pass trust_remote_code=True", "",
         Code.MODEL_UNSAFE),
        ("ValueError", "Missing 2 parameters:\nmodel.norm.weight", TRACEBACK,
         Code.MODEL_INCOMPLETE),
        ("ValueError", "Unsupported RoPE type nonesuch", TRACEBACK,
         Code.MODEL_UNSUPPORTED_BACKEND),
        ("ValueError", "Failed to load model from file", TRACEBACK + "error: invalid magic\n",
         Code.MODEL_INCOMPLETE),
        ("ValueError", "Failed to load model from file", "unknown model architecture: 'x'",
         Code.MODEL_UNSUPPORTED_ARCH),
        ("MemoryError", "", "", Code.INSUFFICIENT_MEMORY),
        ("ValueError", "rank 1 of 2: Cannot shard the output of size 5 across 2 devices.", "",
         Code.MODEL_UNSUPPORTED_BACKEND),
        ("ValueError", "Array split does not result in sub arrays with equal size", "",
         Code.MODEL_UNSUPPORTED_BACKEND),
        ("AssertionError", "group size 2 must divide num_key_value_heads 3", "",
         Code.MODEL_UNSUPPORTED_BACKEND),
    ],
)  # fmt: skip
def test_each_message_has_its_class(kind: str, message: str, stderr: str, code: Code) -> None:
    fault = classify_load_failure(kind, message, stderr)
    assert fault.code is code
    assert fault.environment
