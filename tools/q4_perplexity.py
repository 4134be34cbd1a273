#!/usr/bin/env python3
"""Compares ways of rounding weights to four bits by the perplexity they leave: numpy rounds every
linear map of a model and writes it back as f32, `spate score` reads it. The head and the embeddings
stay as they are.

usage: q4_perplexity.py SPATE MODEL TEXT... [--tokens N]
"""

from __future__ import annotations

import argparse
import json
import math
import shutil
import struct
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

GROUP = 32
Array = np.ndarray


def read_safetensors(path: Path) -> dict[str, Array]:
    data = path.read_bytes()
    (n,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + n])
    out = {}
    for name, t in header.items():
        if name == "__metadata__":
            continue
        raw = data[8 + n + t["data_offsets"][0] : 8 + n + t["data_offsets"][1]]
        if t["dtype"] == "BF16":
            values = (np.frombuffer(raw, np.uint16).astype(np.uint32) << 16).view(np.float32)
        else:
            values = np.frombuffer(raw, {"F32": np.float32, "F16": np.float16}[t["dtype"]])
        out[name] = values.astype(np.float32).reshape(t["shape"])
    return out


def write_safetensors(path: Path, tensors: dict[str, Array]) -> None:
    header, at = {}, 0
    for name, t in tensors.items():
        header[name] = {"dtype": "F32", "shape": list(t.shape), "data_offsets": [at, at + t.nbytes]}
        at += t.nbytes
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for t in tensors.values():
            file.write(np.ascontiguousarray(t, np.float32).tobytes())


def f16(x: Array) -> Array:
    return x.astype(np.float16).astype(np.float32)


def inverse(x: Array) -> Array:
    return np.where(x == 0, 0, 1 / np.where(x == 0, 1, x))


def symmetric(w: Array) -> Array:
    """Spate's q4 (kernels/cpu/quantize.h): q in [-8, 7], an f16 scale a group, five grids tried."""
    g = w.reshape(-1, GROUP)
    peak = np.take_along_axis(g, np.abs(g).argmax(1, keepdims=True), 1)
    best_gain, best_scale = np.full_like(peak, -1), np.zeros_like(peak)
    for grid in (-8, -9, -8.5, -7.5, -7):
        q = np.clip(np.rint(g * inverse(peak) * grid), -8, 7)
        scale = (g * q).sum(1, keepdims=True) * inverse((q * q).sum(1, keepdims=True))
        gain = (g * q).sum(1, keepdims=True) * scale
        best_scale = np.where(gain > best_gain, scale, best_scale)
        best_gain = np.maximum(gain, best_gain)
    scale = f16(best_scale)
    return (np.clip(np.rint(g * inverse(scale)), -8, 7) * scale).reshape(w.shape)


def fit_affine(g: Array, weight: Array) -> tuple[Array, Array]:
    """Scale and minimum of each group, w = scale q - minimum with q in [0, 15] and minimum >= 0:
    a few grids, each fitted by weighted least squares."""
    low, high = np.minimum(g.min(1, keepdims=True), 0), g.max(1, keepdims=True)
    best = np.full_like(low, np.inf)
    best_scale, best_minimum = np.zeros_like(low), np.zeros_like(low)
    for steps in np.arange(13.5, 17.1, 0.25):
        q = np.clip(np.rint((g - low) * inverse(high - low) * steps), 0, 15)
        w0, w1, w2 = (
            weight.sum(1, keepdims=True),
            (weight * q).sum(1, keepdims=True),
            (weight * q * q).sum(1, keepdims=True),
        )
        x0, x1 = (weight * g).sum(1, keepdims=True), (weight * g * q).sum(1, keepdims=True)
        determinant = w0 * w2 - w1 * w1
        scale = (w0 * x1 - w1 * x0) * inverse(determinant)
        minimum = (w1 * x1 - w2 * x0) * inverse(determinant)
        through_zero = minimum < 0
        scale = np.where(through_zero, x1 * inverse(w2), scale)
        minimum = np.where(through_zero, 0, minimum)
        q = np.clip(np.rint((g + minimum) * inverse(scale)), 0, 15)
        error = (weight * (scale * q - minimum - g) ** 2).sum(1, keepdims=True)
        better = (error < best) & (scale > 0)
        best_scale = np.where(better, scale, best_scale)
        best_minimum = np.where(better, minimum, best_minimum)
        best = np.where(better, error, best)
    return best_scale, best_minimum


def k_quant(w: Array, emphasis: bool) -> Array:
    """Groups of 32 with 6-bit scales and minima under two f16 factors a block of 256 (4.5 bits a
    weight; a whole row where it is no multiple of 256). `emphasis` weighs large weights more."""
    k = w.shape[1]
    block = 256 if k % 256 == 0 else k
    g = w.reshape(-1, GROUP)
    rms = np.sqrt((g * g).mean(1, keepdims=True))
    weight = rms + np.abs(g) if emphasis else np.ones_like(g)
    scale, minimum = (x.reshape(-1, block // GROUP) for x in fit_affine(g, weight))

    def six_bits(x: Array) -> Array:
        factor = f16(x.max(1, keepdims=True) / 63)
        return np.clip(np.rint(x * inverse(factor)), 0, 63) * factor

    scale, minimum = six_bits(scale).reshape(-1, 1), six_bits(minimum).reshape(-1, 1)
    q = np.clip(np.rint((g + minimum) * inverse(scale)), 0, 15)
    return (q * scale - minimum).reshape(w.shape)


def affine(w: Array) -> Array:
    """An f16 scale and an f16 minimum a group (5 bits): what six bits for them may cost."""
    g = w.reshape(-1, GROUP)
    scale, minimum = (f16(x) for x in fit_affine(g, np.ones_like(g)))
    q = np.clip(np.rint((g + minimum) * inverse(scale)), 0, 15)
    return (q * scale - minimum).reshape(w.shape)


WAYS: dict[str, Callable[[Array], Array]] = {
    "as stored": lambda w: w,
    "q4 as it is (4.5 bits)": symmetric,
    "k-quant-like (4.5 bits)": lambda w: k_quant(w, False),
    "the same, large weights weigh more": lambda w: k_quant(w, True),
    "f16 scale and minimum (5 bits)": affine,
}


def documents(spate: str, model: Path, text: Path, n_tokens: int, folder: Path) -> Path:
    """The text's first tokens in lines of 512."""
    (folder / "text.jsonl").write_text(json.dumps({"text": text.read_text(errors="replace")[: 8 * n_tokens]}))
    out = subprocess.run(
        [spate, "tokenize", "--model", str(model), "-i", str(folder / "text.jsonl")],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    ids = json.loads(out.stdout)["token_ids"][:n_tokens]
    path = folder / f"{text.stem}.jsonl"
    path.write_text("".join(json.dumps({"token_ids": ids[i : i + 512]}) + "\n" for i in range(0, len(ids) - 1, 512)))
    return path


def logprobs(spate: str, model: Path, lines: Path, *options: str) -> Array:
    out = subprocess.run(
        [spate, "score", "--model", str(model), "-i", str(lines), "--dtype", "f32", "--kv-memory", "128MiB", *options],
        capture_output=True, text=True,
    )  # fmt: skip
    if out.returncode != 0:
        raise SystemExit(out.stderr)
    return np.array([x for line in out.stdout.splitlines() for x in json.loads(line)["logprobs"] if x is not None])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("spate")
    parser.add_argument("model", type=Path)
    parser.add_argument("text", type=Path, nargs="+")
    parser.add_argument("--tokens", type=int, default=40_000)
    o = parser.parse_args()
    tensors = read_safetensors(o.model / "model.safetensors")
    linear = [n for n, t in tensors.items() if t.ndim == 2 and "embed" not in n and "lm_head" not in n]
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        lines = {text: documents(o.spate, o.model, text, o.tokens, folder) for text in o.text}
        results: dict[str, dict[Path, Array]] = {}
        for name, way in WAYS.items():
            rounded = {n: way(t).astype(np.float32) if n in linear else t for n, t in tensors.items()}
            squares = sum(float(((rounded[n] - tensors[n]) ** 2).sum()) for n in linear)
            total = sum(float((tensors[n] ** 2).sum()) for n in linear)
            copy = folder / "model"
            copy.mkdir(exist_ok=True)
            for file in (f for f in o.model.iterdir() if f.suffix == ".json"):
                shutil.copyfile(file, copy / file.name)
            write_safetensors(copy / "model.safetensors", rounded)
            results[name] = {text: logprobs(o.spate, copy, path) for text, path in lines.items()}
            print(f"{name}: relative error {math.sqrt(squares / total):.4f}", flush=True)
        results["q4 of the program"] = {t: logprobs(o.spate, o.model, p, "--weights", "q4") for t, p in lines.items()}
    for text in o.text:
        print(f"\n{o.model.name}, {text.stem}, {len(results['as stored'][text])} tokens")
        base = results["q4 as it is (4.5 bits)"][text]
        for name, by_text in results.items():
            x = by_text[text]
            d = x - base  # against today's q4, token by token
            error = d.std() / math.sqrt(len(d))
            print(f"  {name:<36} perplexity {math.exp(-x.mean()):8.4f}   nats gained on q4 {d.mean():+.5f} +- {error:.5f}")


if __name__ == "__main__":
    main()
