#!/usr/bin/env python3
"""Writes tests/models/data/rope.json: rotary frequencies as transformers computes them.

Needs torch and transformers 5. Each case is a config.json, the context that the frequencies are
for, and what transformers' own functions return.
"""

import json
from pathlib import Path
from typing import Any

import torch
from transformers import LlamaConfig
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

OUT = Path(__file__).resolve().parent.parent / "tests" / "models" / "data" / "rope.json"


def config(head_dim: int, positions: int, **more: Any) -> dict[str, Any]:
    return {"model_type": "llama", "hidden_size": 4 * head_dim, "num_attention_heads": 4,
            "head_dim": head_dim, "max_position_embeddings": positions, **more}


def cases() -> list[tuple[str, dict[str, Any], int]]:
    """(name, config.json, context)"""
    llama3 = {"factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
              "original_max_position_embeddings": 8192}
    ratio = [1.0 + 0.25 * i for i in range(8)]
    longrope = {"type": "longrope", "short_factor": ratio, "long_factor": [4 * r for r in ratio]}
    deepseek = {"type": "yarn", "factor": 40, "mscale": 0.707, "mscale_all_dim": 1.0,
                "beta_fast": 32, "beta_slow": 1, "original_max_position_embeddings": 4096}
    return [
        ("default, no theta", config(128, 2048), 2048),
        ("default, old dialect", config(64, 2048, rope_theta=500000.0, rope_scaling=None), 2048),
        ("default, transformers 5",
         config(80, 2048, rope_parameters={"rope_type": "default", "rope_theta": 1e6}), 2048),
        ("linear, old dialect",
         config(64, 4096, rope_theta=1e4, rope_scaling={"type": "linear", "factor": 2.5}), 4096),
        ("linear, transformers 5",
         config(64, 4096, rope_parameters={"rope_type": "linear", "factor": 4, "rope_theta": 1e5}),
         4096),
        ("dynamic within the trained length",
         config(64, 2048, rope_scaling={"type": "dynamic", "factor": 2.0}), 1000),
        ("dynamic at twice the trained length",
         config(64, 2048, rope_scaling={"type": "dynamic", "factor": 2.0}), 4096),
        ("dynamic at an odd length",
         config(128, 2048, rope_theta=1e6, rope_scaling={"type": "dynamic", "factor": 3.5}), 2777),
        ("llama3, 3.1 8B",
         config(128, 131072, rope_theta=500000.0, rope_scaling={"rope_type": "llama3", **llama3}),
         131072),
        ("llama3, 3.2 1B in transformers 5",
         config(64, 131072, rope_parameters={"rope_type": "llama3", "rope_theta": 500000.0,
                                             **llama3, "factor": 32.0}), 8192),
        ("yarn, Qwen2.5",
         config(128, 32768, rope_theta=1e6, rope_scaling={
             "type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32768}), 131072),
        ("yarn, mscale as DeepSeek-V2 has it", config(64, 163840, rope_scaling=deepseek), 4096),
        ("yarn, not truncated, attention factor",
         config(64, 131072, rope_parameters={
             "rope_type": "yarn", "factor": 32.0, "truncate": False, "attention_factor": 1.3,
             "beta_fast": 24.0, "beta_slow": 2.0, "rope_theta": 150000.0,
             "original_max_position_embeddings": 4096}), 131072),
        ("yarn, betas that meet",
         config(16, 64, rope_scaling={"type": "yarn", "factor": 2.0, "beta_fast": 1.0,
                                      "beta_slow": 1.0, "original_max_position_embeddings": 16}),
         64),
        ("longrope, short", config(16, 4096, original_max_position_embeddings=1024,
                                   rope_scaling=longrope), 1024),
        ("longrope, long", config(16, 4096, original_max_position_embeddings=1024,
                                  rope_scaling=longrope), 1025),
        ("partial", config(64, 2048, partial_rotary_factor=0.5,
                           rope_scaling={"type": "linear", "factor": 2.0}), 2048),
    ]


def frequencies(hf: dict[str, Any], context: int) -> tuple[torch.Tensor, float]:
    parsed = LlamaConfig(**json.loads(json.dumps(hf)))
    kind = parsed.rope_parameters["rope_type"]
    if kind == "default":
        return LlamaRotaryEmbedding.compute_default_rope_parameters(parsed)
    return ROPE_INIT_FUNCTIONS[kind](parsed, torch.device("cpu"), seq_len=context)


def main() -> None:
    out = []
    for name, hf, context in cases():
        inverse, scale = frequencies(hf, context)
        out.append({"name": name, "config": hf, "context": context, "attention_scale": scale,
                    "inverse": [float(f"{x:.9g}") for x in inverse.tolist()]})
    lines = ",\n".join(json.dumps(case) for case in out)
    OUT.parent.mkdir(parents=True, exist_ok=True)
    OUT.write_text(f"[\n{lines}\n]\n")
    print(f"{OUT}: {len(out)} cases, {OUT.stat().st_size} bytes")


if __name__ == "__main__":
    main()
