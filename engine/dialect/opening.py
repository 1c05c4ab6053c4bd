"""The first words of a call, put in a model's mouth so that it cannot but make one."""

import re

from engine.dialect.parsers import parser_for

_NAME = re.compile(r"[\w.\-]{1,64}", re.ASCII)
"""OpenAI's names, and dots. Any other could close the markup it stands in."""
_ANY = {
    "function_gemma": "<start_function_call>call:",
    "gemma4": "<|tool_call>call:",
    "glm47": "<tool_call>",
    "json_tools": '<tool_call>\n{"name": "',
    "kimi_k2": "<|tool_calls_section_begin|><|tool_call_begin|>functions.",
    "kimi_k3": '<|open|>tools<|sep|><|open|>call tool="',
    "laguna": "<tool_call>",
    "longcat": "<longcat_tool_call>",
    "minicpm5": '<function name="',
    "minimax_m2": '<minimax:tool_call>\n<invoke name="',
    "mistral": "[TOOL_CALLS]",
    "muse_spark": '<atem:function_calls>\n<atem:invoke name="',
    "pythonic": "<|tool_call_start|>[",
    "qwen3_coder": "<tool_call>\n<function=",
}
"""Everything before the name."""
_AFTER_NAME = {
    "function_gemma": "{",
    "gemma4": "{",
    "glm47": "\n",
    "json_tools": '", "arguments": ',
    "kimi_k2": ":0<|tool_call_argument_begin|>",
    "kimi_k3": '" index="1"<|sep|>',
    "laguna": "\n",
    "longcat": "\n",
    "minicpm5": '">',
    "minimax_m2": '">\n',
    "mistral": "[ARGS]",
    "muse_spark": '">\n',
    "pythonic": "(",
    "qwen3_coder": ">\n",
}


def forced_opening(tool_format: str, name: str | None) -> str:
    """The text after which a model of this format can only go on with a call.

    The worker puts it behind the prompt (``Generate.opening``) and the splitter is told it. Where
    the prompt opens the thinking, close that first: ``thinking[1] + "\\n\\n" + forced_opening(…)``.

    Args:
        name: The tool to call, or None for any.

    Returns:
        Empty where the format is unknown, or the name is none: then nothing can be forced.
    """
    before = _ANY.get(tool_format, "")
    if not before or parser_for(tool_format) is None:
        return ""
    if name is None:
        return before
    if _NAME.fullmatch(name) is None:
        return ""
    return before + name + _AFTER_NAME[tool_format]
