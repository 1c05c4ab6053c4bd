"""The control tokens an answer is written with: the marks of tool calls and of thinking.

Control tokens add no text, since most of them are the template's own: turns, beginnings, ends. But
where a family's marks are single control tokens, as Mistral's ``[TOOL_CALLS]`` is, a call would
come out without them and nobody could tell it from words. llama.cpp's server keeps them the same
way ("preserved tokens").
"""

_TOOL_CALL = ("<tool_call>", "</tool_call>")
_GLM = (*_TOOL_CALL, "<arg_key>", "</arg_key>", "<arg_value>", "</arg_value>")
_MARKS = {
    "function_gemma": ("<start_function_call>", "<end_function_call>", "<escape>"),
    "gemma4": ("<|tool_call>", "<tool_call|>", '<|"|>'),
    "glm47": _GLM,
    "json_tools": _TOOL_CALL,
    "kimi_k2": (
        "<|tool_calls_section_begin|>",
        "<|tool_calls_section_end|>",
        "<|tool_call_section_begin|>",
        "<|tool_call_section_end|>",
        "<|tool_call_begin|>",
        "<|tool_call_argument_begin|>",
        "<|tool_call_end|>",
    ),
    "kimi_k3": ("<|open|>", "<|sep|>", "<|close|>"),
    "laguna": _GLM,
    "longcat": (
        *("<longcat_tool_call>", "</longcat_tool_call>"),
        *("<longcat_arg_key>", "</longcat_arg_key>"),
        *("<longcat_arg_value>", "</longcat_arg_value>"),
    ),
    "minicpm5": ("<function", "</function>", "<param", "</param>"),
    "minimax_m2": ("<minimax:tool_call>", "</minimax:tool_call>"),
    "mistral": ("[TOOL_CALLS]", "[CALL_ID]", "[ARGS]"),
    "muse_spark": ("<atem:function_calls>", "</atem:function_calls>"),
    "pythonic": ("<|tool_call_start|>", "<|tool_call_end|>"),
    "qwen3_coder": _TOOL_CALL,
}
"""By the name of the format's parser in ``mlx_lm.tool_parsers`` (0.32.2)."""


def marks(tool_format: str, thinking: tuple[str, str] | None) -> frozenset[str]:
    """The texts that must be seen where a model of this dialect writes them as one token."""
    return frozenset((*_MARKS.get(tool_format, ()), *(thinking or ())))
