#!/usr/bin/env python3
"""Writes a safetensors folder with random bf16 weights of a Llama config's shape, to measure loading.

usage: make_random_checkpoint.py bench/models/llama-3.1-8b OUT
Needs torch; takes a GPU for the random numbers where there is one. Matrices repeat a pool of numbers
and the shards are written side by side: 16 GB take seconds.
"""
import concurrent.futures
import json
import pathlib
import shutil
import struct
import sys
from typing import Iterator

import torch

SHARD_BYTES = 2 << 30
DEVIATION = 0.02
POOL = 1 << 27  # numbers


def shapes(config: dict) -> Iterator[tuple[str, list[int]]]:
    hidden, inner = config["hidden_size"], config["intermediate_size"]
    head = config.get("head_dim") or hidden // config["num_attention_heads"]
    q, kv = head * config["num_attention_heads"], head * config["num_key_value_heads"]
    yield "model.embed_tokens.weight", [config["vocab_size"], hidden]
    for i in range(config["num_hidden_layers"]):
        layer = f"model.layers.{i}."
        yield layer + "input_layernorm.weight", [hidden]
        yield layer + "self_attn.q_proj.weight", [q, hidden]
        yield layer + "self_attn.k_proj.weight", [kv, hidden]
        yield layer + "self_attn.v_proj.weight", [kv, hidden]
        yield layer + "self_attn.o_proj.weight", [hidden, q]
        yield layer + "post_attention_layernorm.weight", [hidden]
        yield layer + "mlp.gate_proj.weight", [inner, hidden]
        yield layer + "mlp.up_proj.weight", [inner, hidden]
        yield layer + "mlp.down_proj.weight", [hidden, inner]
    yield "model.norm.weight", [hidden]
    if not config.get("tie_word_embeddings", False):
        yield "lm_head.weight", [config["vocab_size"], hidden]


def size(shape: list[int]) -> int:
    n = 2
    for extent in shape:
        n *= extent
    return n


def shards(tensors: list[tuple[str, list[int]]]) -> list[list[tuple[str, list[int]]]]:
    out: list[list[tuple[str, list[int]]]] = [[]]
    room = SHARD_BYTES
    for name, shape in tensors:
        if out[-1] and size(shape) > room:
            out.append([])
            room = SHARD_BYTES
        out[-1].append((name, shape))
        room -= size(shape)
    return out


def write_shard(path: pathlib.Path, tensors: list[tuple[str, list[int]]], pool: memoryview) -> None:
    header: dict = {}
    at = 0
    for name, shape in tensors:
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [at, at + size(shape)]}
        at += size(shape)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for _, shape in tensors:
            if len(shape) == 1:
                file.write(b"\x80\x3f" * shape[0])  # norms: ones
                continue
            left = size(shape)
            while left > 0:
                left -= file.write(pool[: min(left, len(pool))])


def main() -> None:
    source, out = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
    out.mkdir(parents=True, exist_ok=True)
    config = json.loads((source / "config.json").read_text())
    shutil.copy(source / "config.json", out)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    numbers = torch.empty(POOL, dtype=torch.bfloat16, device=device).normal_(0.0, DEVIATION)
    pool = memoryview(numbers.cpu().view(torch.int16).numpy()).cast("B")
    parts = shards(list(shapes(config)))
    names = [f"model-{i + 1:05}-of-{len(parts):05}.safetensors" for i in range(len(parts))]
    with concurrent.futures.ThreadPoolExecutor() as threads:
        list(threads.map(lambda n, p: write_shard(out / n, p, pool), names, parts))
    weight_map = {tensor: n for n, part in zip(names, parts) for tensor, _ in part}
    index = {"metadata": {}, "weight_map": weight_map}
    (out / "model.safetensors.index.json").write_text(json.dumps(index))


if __name__ == "__main__":
    main()
