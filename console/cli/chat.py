"""``lmx chat``: one question to a model of a running engine, answered as it comes."""

import argparse
import sys
from typing import Any

from console.cli import client
from console.cli.answer import DONE, say
from console.cli.client import find_engine


def add_to(commands: Any) -> None:
    """Declare the command."""
    parser = commands.add_parser("chat", help="ask a model one question")
    parser.add_argument("model", metavar="MODEL")
    parser.add_argument("text", metavar="TEXT", help="the question; - reads standard input")
    parser.add_argument("--system", metavar="TEXT", help="what to be told before it")
    parser.add_argument("--max-tokens", type=int, metavar="N")
    parser.add_argument("--temperature", type=float, metavar="T")
    parser.add_argument("--seed", type=int, metavar="N")
    client.add_to(parser, _chat)


def _chat(options: argparse.Namespace) -> int:
    from engine import clean

    heard: dict[str, Any] = {"model": options.model, "content": "", "reasoning": ""}
    for chunk in find_engine(options.url).stream("/v1/chat/completions", _body(options)):
        heard["model"] = chunk.get("model", heard["model"])
        heard |= {"usage": chunk["usage"]} if chunk.get("usage") else {}
        for choice in chunk.get("choices") or ():
            delta = choice.get("delta") or {}
            words = delta.get("content") or ""
            heard["content"] += words
            heard["reasoning"] += delta.get("reasoning_content") or ""
            if choice.get("finish_reason"):
                heard["finish_reason"] = choice["finish_reason"]
            if not options.json:
                # Whatever a model writes is only text, never a command to the terminal.
                print(clean(words), end="", flush=True)
    if options.json:
        say(heard)
    else:
        print()
    return DONE


def _body(options: argparse.Namespace) -> dict[str, Any]:
    text = sys.stdin.read() if options.text == "-" else options.text
    messages = [{"role": "user", "content": text}]
    if options.system:
        messages.insert(0, {"role": "system", "content": options.system})
    body: dict[str, Any] = {
        "model": options.model,
        "messages": messages,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    for name in ("max_tokens", "temperature", "seed"):
        if (value := getattr(options, name)) is not None:
            body[name] = value
    return body
