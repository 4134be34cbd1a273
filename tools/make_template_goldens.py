"""Goldens for src/chat from Python's Jinja2 in the environment of Hugging Face transformers.

Usage: make_template_goldens.py TEMPLATE_FOLDER OUTPUT_FOLDER

Writes OUTPUT_FOLDER/templates.json (every *.jinja of TEMPLATE_FOLDER on every conversation below) and
OUTPUT_FOLDER/snippets.json (the snippets of template_snippets.py). A render that raises is null;
a long one is kept as its length in bytes and its 64-bit FNV-1a hash.
"""

from __future__ import annotations

import datetime
import json
import pathlib
import sys
from typing import Any

from transformers.utils.chat_template_utils import _compile_jinja_template

from template_snippets import CONTEXT, SNIPPETS

NOW = datetime.datetime(2025, 3, 14, 15, 9, 26)
LONGEST_TEXT = 700

WEATHER_TOOL = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather at a place, now.",
        "parameters": {
            "type": "object",
            "properties": {
                "place": {"type": "string", "description": "A city, e.g. \"Zürich\" <CH>"},
                "unit": {"type": "string", "enum": ["celsius", "fahrenheit"], "default": "celsius"},
                "days": {"type": "array", "items": {"type": "integer"}},
            },
            "required": ["place"],
        },
    },
}
NESTED_TOOL = {
    "type": "function",
    "function": {
        "name": "book",
        "description": "Books a table.",
        "parameters": {
            "type": "object",
            "properties": {
                "guest": {
                    "type": "object",
                    "properties": {"name": {"type": "string"}, "vip": {"type": "boolean"}},
                    "required": ["name"],
                },
                "seats": {"type": "integer", "minimum": 1, "maximum": 8},
                "price": {"type": ["number", "null"], "description": "limit"},
                "when": {"anyOf": [{"type": "string"}, {"type": "integer"}]},
            },
            "required": ["guest", "seats"],
            "additionalProperties": False,
        },
        "return": {"type": "boolean", "description": "whether it worked"},
    },
}


def user(content: Any) -> dict[str, Any]:
    return {"role": "user", "content": content}


def assistant(content: Any, **more: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": content, **more}


def call(name: str, arguments: Any, identifier: str) -> dict[str, Any]:
    return {"id": identifier, "type": "function", "function": {"name": name, "arguments": arguments}}


SYSTEM = {"role": "system", "content": "You are terse."}
CALLED = [
    user("Weather in Zürich and Oslo?"),
    assistant(
        "",
        tool_calls=[
            call("get_weather", {"place": "Zürich", "unit": "celsius"}, "call12345"),
            call("get_weather", {"place": "Oslo", "days": [1, 2]}, "call67890"),
        ],
    ),
    {"role": "tool", "name": "get_weather", "tool_call_id": "call12345", "content": '{"temp": 21.5}'},
    {"role": "tool", "name": "get_weather", "tool_call_id": "call67890", "content": "cold"},
]
CALLED_TEXT = json.loads(json.dumps(CALLED))
for tool_call in CALLED_TEXT[1]["tool_calls"]:
    tool_call["function"]["arguments"] = json.dumps(tool_call["function"]["arguments"])
CALLED_NONE = json.loads(json.dumps(CALLED))
CALLED_NONE[1]["content"] = None

CONVERSATIONS: dict[str, dict[str, Any]] = {
    "user": {"messages": [user("Hi there")]},
    "user, no prompt": {"messages": [user("Hi there")], "add_generation_prompt": False},
    "system": {"messages": [SYSTEM, user("Hi there")]},
    "turns": {
        "messages": [SYSTEM, user("One?"), assistant("1."), user("Two?"), assistant("2."), user("Three?")]
    },
    "ends with assistant": {
        "messages": [user("One?"), assistant("1.\n")],
        "add_generation_prompt": False,
    },
    "blanks": {"messages": [SYSTEM, user("  two \n\n lines  "), assistant("\n ok "), user("\t?")]},
    "unicode": {"messages": [{"role": "system", "content": "日本語"}, user("Grüße 👩‍🚀 \u00a0ﬁ"), assistant("İ ß"), user("Ω")]},
    "empty": {"messages": [SYSTEM, user(""), assistant(""), user("again")]},
    "no messages": {"messages": []},
    "tools": {"messages": [SYSTEM, user("Weather?")], "tools": [WEATHER_TOOL]},
    "tools without system": {"messages": [user("Weather?")], "tools": [WEATHER_TOOL, NESTED_TOOL]},
    "called": {"messages": CALLED, "tools": [WEATHER_TOOL]},
    "called, answered": {
        "messages": [SYSTEM, *CALLED, assistant("21.5 and cold"), user("Thanks")],
        "tools": [WEATHER_TOOL, NESTED_TOOL],
    },
    "called, arguments as text": {"messages": [*CALLED_TEXT, assistant("done"), user("Thanks")], "tools": [WEATHER_TOOL]},
    "called, content none": {"messages": CALLED_NONE, "tools": [WEATHER_TOOL]},
    "parts": {
        "messages": [
            {"role": "system", "content": [{"type": "text", "text": "Be kind."}]},
            user([{"type": "text", "text": "Look: "}, {"type": "text", "text": "here"}]),
        ]
    },
    "image": {
        "messages": [user([{"type": "image", "image": "x"}, {"type": "text", "text": "What is it?"}])]
    },
    "reasoning": {
        "messages": [
            user("2+2?"),
            assistant("4", reasoning_content="Two and two.", thinking="Two and two."),
            user("3+3?"),
            assistant("6", reasoning_content="Three, three.", thinking="Three, three."),
        ],
        "add_generation_prompt": False,
    },
    "think tags": {
        "messages": [user("2+2?"), assistant("<think>\nTwo.\n</think>\n\n4"), user("3+3?")]
    },
    "thinking on": {"messages": [SYSTEM, user("2+2?")], "extra": {"enable_thinking": True, "thinking": True, "reasoning_effort": "high"}},
    "thinking off": {"messages": [user("2+2?")], "extra": {"enable_thinking": False, "thinking": False, "reasoning_effort": "low"}},
    "documents": {
        "messages": [user("Which?")],
        "extra": {"documents": [{"title": "A", "text": "Alpha"}, {"title": "B", "text": "Beta", "doc_id": 7}]},
    },
    "odd roles": {"messages": [{"role": "developer", "content": "Rules."}, user("Hi"), user("again")]},
}


def fnv1a(data: bytes) -> str:
    value = 0xCBF29CE484222325
    for byte in data:
        value = ((value ^ byte) * 0x100000001B3) & 0xFFFFFFFFFFFFFFFF
    return f"{value:016x}"


def render(source: str, variables: dict[str, Any]) -> str | None:
    try:
        template = _compile_jinja_template(source)
        template.environment.globals["strftime_now"] = NOW.strftime
        text = template.render(**variables)
        text.encode("utf-8")
        return text
    except Exception:  # any error of Jinja2 or of Python counts as a refusal
        return None


def shortened(text: str | None) -> Any:
    if text is None:
        return None
    data = text.encode("utf-8")
    return text if len(data) <= LONGEST_TEXT else {"bytes": len(data), "fnv1a": fnv1a(data)}


def variables_of(conversation: dict[str, Any]) -> dict[str, Any]:
    return {
        "messages": conversation["messages"],
        "tools": conversation.get("tools"),
        "documents": None,
        "add_generation_prompt": conversation.get("add_generation_prompt", True),
        "bos_token": "<s>",
        "eos_token": "</s>",
        **conversation.get("extra", {}),
    }


def write(path: pathlib.Path, value: Any) -> None:
    path.write_text(json.dumps(value, ensure_ascii=False, indent=0, separators=(",", ":")) + "\n", encoding="utf-8")


def main(templates: pathlib.Path, output: pathlib.Path) -> None:
    results: dict[str, Any] = {}
    for path in sorted(templates.glob("*.jinja")):
        source = path.read_bytes().decode("utf-8")
        outputs = {name: shortened(render(source, variables_of(c))) for name, c in CONVERSATIONS.items()}
        results[path.name] = {"fnv1a": fnv1a(source.encode("utf-8")), "outputs": outputs}
    write(output / "templates.json", {"conversations": CONVERSATIONS, "templates": results})
    snippets: list[dict[str, Any]] = []
    variables = {"messages": [], "tools": None, "documents": None, "add_generation_prompt": True, **CONTEXT}
    for group, sources in SNIPPETS.items():
        for source in sources:
            snippets.append({"group": group, "source": source, "output": render(source, variables)})
    write(output / "snippets.json", {"context": CONTEXT, "snippets": snippets})
    raised = sum(o is None for r in results.values() for o in r["outputs"].values())
    total = sum(len(r["outputs"]) for r in results.values())
    print(f"{len(results)} templates, {total} renders of which {raised} raise; "
          f"{len(snippets)} snippets of which {sum(s['output'] is None for s in snippets)} raise")


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]))
