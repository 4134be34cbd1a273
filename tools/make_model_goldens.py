#!/usr/bin/env python3
"""Writes tests/models/data/<name>/: tiny models with random weights and their logits.

usage: make_model_goldens.py [NAME...]     only those; all without one

Needs torch, safetensors and transformers 5. Each folder is a model as it would be published, plus
golden.json (token ids, the context they are for, the rows kept, the greedy continuation with its
log-probabilities and their distance to the second best) and golden.safetensors (float32 logits of
those rows; for some models also with weights, rows or a cache rounded as in model_rounding.py).
Logits come from transformers reading that very folder in float32 on the CPU with eager attention.
The weights are drawn so that attention is sharp and every feature shows: each case names a change
of its config, and the script fails if that change hardly moves the logits.
"""

import json
import shutil
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from transformers import AutoConfig, AutoModelForCausalLM

from model_rounding import ROUNDINGS, rounded_logits

OUT = Path(__file__).resolve().parent.parent / "tests" / "models" / "data"
VOCAB = 128
KEEP_ALL = 40  # sequences up to this length keep every row, longer ones the last LAST_ROWS
LAST_ROWS = 12
GREEDY = 24  # tokens of the continuation, if the context has room
VISIBLE = 0.05  # in logits, whose deviation is about 2


@dataclass
class Case:
    name: str
    dtype: str
    config: dict[str, Any]
    without: dict[str, Any]  # a change to the config that must change the logits
    lengths: tuple[int, int] = (40, 100)
    contexts: tuple[int, int] = (128, 128)
    shards: int = 1
    row_step: int = 0  # keep every so manieth row of a long sequence, up to the last
    rounded: bool = False  # also the longest sequence's logits with roundings
    generation: dict[str, Any] = field(default_factory=lambda: {"eos_token_id": 2})


def llama(hidden: int, inner: int, heads: tuple[int, int, int], **more: Any) -> dict[str, Any]:
    query, kv, dim = heads
    base = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "bos_token_id": 1,
            "eos_token_id": 2, "hidden_act": "silu", "hidden_size": hidden,
            "intermediate_size": inner, "max_position_embeddings": 128, "num_attention_heads": query,
            "num_hidden_layers": 2, "num_key_value_heads": kv, "rms_norm_eps": 1e-5,
            "tie_word_embeddings": False, "vocab_size": VOCAB}
    if dim * query != hidden:
        base["head_dim"] = dim
    return {**base, **more}


def as_family(config: dict[str, Any], family: str, **more: Any) -> dict[str, Any]:
    name = family.capitalize()
    return {**config, "architectures": [f"{name}ForCausalLM"], "model_type": family, **more}


def cases_of_head_dims() -> list[Case]:
    """Shapes for which a GPU has attention kernels of their own, over several tiles and blocks."""
    theta = {"rope_type": "default", "rope_theta": 10000.0}
    turned = {"rope_parameters": {**theta, "rope_theta": 100.0}}

    def base(hidden: int, layers: int, heads: tuple[int, int, int], context: int,
             **more: Any) -> dict[str, Any]:
        shape = {"dtype": "bfloat16", "rope_parameters": theta, "num_hidden_layers": layers,
                 "max_position_embeddings": context}
        return llama(hidden, hidden, heads, **{**shape, **more})

    long: dict[str, Any] = {"lengths": (40, 510), "contexts": (1024, 1024), "row_step": 17}
    return [
        # Prefill in tall tiles; more than one chunk of 1024 keys.
        Case("llama-gqa4-dim128", "bfloat16", base(64, 1, (8, 2, 128), 2048), turned,
             lengths=(40, 1090), contexts=(2048, 2048), row_step=33, rounded=True),
        Case("mistral-window-dim256", "float16",
             as_family(base(64, 1, (4, 2, 256), 1024, dtype="float16"), "mistral",
                       sliding_window=150), {"sliding_window": None}, **long, rounded=True),
        Case("llama-gqa16-dim64", "bfloat16", base(64, 1, (16, 1, 64), 1024), turned, **long,
             rounded=True),
        Case("llama-gqa8-dim96", "bfloat16", base(32, 1, (16, 2, 96), 1024), turned, **long),
        # Groups that are no power of two.
        Case("qwen2-gqa7-dim112", "bfloat16",
             as_family(base(32, 2, (7, 1, 112), 1024), "qwen2", use_sliding_window=False,
                       head_dim=112), turned, **long),
        Case("qwen3-gqa3-dim192", "bfloat16",
             as_family(base(32, 2, (3, 1, 192), 1024), "qwen3", use_sliding_window=False,
                       sliding_window=None, layer_types=["full_attention"] * 2), turned, **long),
    ]


def cases() -> list[Case]:
    llama3 = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0,
              "high_freq_factor": 4.0, "original_max_position_embeddings": 32}
    yarn = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32,
            "rope_theta": 10000.0}
    theta = {"rope_type": "default", "rope_theta": 10000.0}
    return [
        # Llama 2's own config has neither rope_theta nor, at first, num_key_value_heads.
        Case("llama2-mha", "float16",
             llama(64, 80, (4, 4, 16), torch_dtype="float16", rope_scaling=None, pad_token_id=None,
                   attention_bias=False), {"rope_theta": 100.0}, shards=2),
        Case("llama3-old-dialect", "bfloat16",
             llama(64, 48, (2, 1, 64), torch_dtype="bfloat16", rope_theta=500000.0,
                   rope_scaling=llama3, tie_word_embeddings=True), {"rope_scaling": None},
             generation={"eos_token_id": [2, 5], "do_sample": True, "temperature": 0.6,
                         "top_p": 0.9}),
        Case("llama3-transformers5", "float32",
             llama(32, 48, (4, 2, 16), dtype="float32", tie_word_embeddings=True,
                   rope_parameters={**llama3, "rope_theta": 10000.0}), {"rope_parameters": theta}),
        Case("llama-linear", "float32",
             llama(32, 32, (4, 1, 16), torch_dtype="float32", rope_theta=10000.0,
                   tie_word_embeddings=True, rope_scaling={"type": "linear", "factor": 4.0}),
             {"rope_scaling": None}),
        # Each sequence in a context of its own length: beyond the trained length frequencies
        # depend on it, and transformers takes the sequence's.
        Case("llama-dynamic", "bfloat16",
             llama(64, 80, (4, 2, 16), torch_dtype="bfloat16", rope_theta=10000.0,
                   max_position_embeddings=64, rope_scaling={"type": "dynamic", "factor": 2.0}),
             {"rope_scaling": None}, contexts=(64, 100)),
        Case("llama-yarn", "bfloat16",
             llama(96, 32, (6, 2, 16), dtype="bfloat16", tie_word_embeddings=True, rope_parameters=yarn),
             {"rope_parameters": theta}),
        Case("llama-biases", "bfloat16",
             llama(64, 80, (4, 2, 16), torch_dtype="bfloat16", rope_theta=10000.0,
                   attention_bias=True, mlp_bias=True), {"attention_bias": False}),
        Case("mistral-window", "float16",
             as_family(llama(32, 64, (2, 1, 80), dtype="float16", rope_parameters=theta),
                       "mistral", sliding_window=16), {"sliding_window": None}),
        Case("mistral-no-window", "bfloat16",
             as_family(llama(64, 80, (4, 2, 16), torch_dtype="bfloat16", rope_theta=1000000.0),
                       "mistral", sliding_window=None), {"sliding_window": 16}),
        Case("qwen2", "bfloat16",
             as_family(llama(64, 80, (4, 2, 16), torch_dtype="bfloat16", rope_theta=1000000.0,
                             tie_word_embeddings=True, rms_norm_eps=1e-6), "qwen2",
                       use_sliding_window=False, sliding_window=8, max_window_layers=0),
             {"use_sliding_window": True}),
        Case("qwen2-window", "bfloat16",
             as_family(llama(64, 80, (4, 2, 16), torch_dtype="bfloat16", rope_theta=10000.0,
                             rms_norm_eps=1e-6), "qwen2",
                       use_sliding_window=True, sliding_window=12, max_window_layers=1),
             {"max_window_layers": 0}),
        Case("qwen3", "bfloat16",
             as_family(llama(32, 48, (2, 1, 128), dtype="bfloat16", tie_word_embeddings=True,
                             rms_norm_eps=1e-6, rope_parameters={**theta, "rope_theta": 1e6}),
                       "qwen3", use_sliding_window=False, sliding_window=None,
                       layer_types=["full_attention", "full_attention"]),
             {"rope_parameters": theta}),
        Case("qwen3-window", "float32",
             as_family(llama(32, 32, (4, 2, 32), dtype="float32", rms_norm_eps=1e-6,
                             rope_parameters=theta), "qwen3", use_sliding_window=True,
                       sliding_window=10, layer_types=["sliding_attention", "full_attention"]),
             {"layer_types": ["full_attention", "full_attention"]}),
        *cases_of_head_dims(),
    ]


def random_weights(case: Case, seed: int) -> dict[str, torch.Tensor]:
    """Deviations that keep the residual stream near 1 and make scores of deviation about 2."""
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(**case.config))
    rng = torch.Generator().manual_seed(seed)
    tied = case.config["tie_word_embeddings"]
    out = {}
    for name, value in model.state_dict().items():
        if name == "lm_head.weight" and tied:
            continue
        noise = torch.randn(value.shape, generator=rng)
        if "norm" in name:
            drawn = 1.0 + 0.2 * noise
        elif name.endswith("bias"):
            drawn = 0.4 * noise
        elif "embed_tokens" in name:
            drawn = noise * (2.0 / value.shape[1] ** 0.5 if tied else 1.0)
        else:
            gain = 1.5 if "q_proj" in name or "k_proj" in name else 1.0
            gain = 2.0 if "lm_head" in name else gain
            drawn = noise * gain / value.shape[1] ** 0.5
        out[name] = drawn.to(getattr(torch, case.dtype)).contiguous()
    return out


def write_weights(folder: Path, weights: dict[str, torch.Tensor], shards: int) -> None:
    if shards == 1:
        save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
        return
    names = sorted(weights)
    where = {}
    for i in range(shards):
        file = f"model-{i + 1:05}-of-{shards:05}.safetensors"
        part = names[i * len(names) // shards:(i + 1) * len(names) // shards]
        save_file({n: weights[n] for n in part}, folder / file, metadata={"format": "pt"})
        where |= {n: file for n in part}
    size = sum(w.nbytes for w in weights.values())
    index = {"metadata": {"total_size": size}, "weight_map": where}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=1) + "\n")


def load(folder: Path) -> torch.nn.Module:
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32,
                                                attn_implementation="eager")


def logits_of(model: torch.nn.Module, ids: list[int]) -> torch.Tensor:
    with torch.no_grad():
        return model(torch.tensor([ids])).logits[0]


def logits(folder: Path, ids: list[int]) -> torch.Tensor:
    # A fresh model for each sequence: dynamic scaling remembers the longest that it saw.
    return logits_of(load(folder), ids)


def logits_without(folder: Path, case: Case, ids: list[int]) -> torch.Tensor:
    with tempfile.TemporaryDirectory() as changed:
        shutil.copytree(folder, changed, dirs_exist_ok=True)
        config = json.dumps({**case.config, **case.without})
        (Path(changed) / "config.json").write_text(config)
        return logits(Path(changed), ids)


def greedy(folder: Path, ids: list[int], n_tokens: int) -> dict[str, list[Any]]:
    """The most likely continuation; its log-probabilities, and how far the second best is below."""
    model, ids = load(folder), list(ids)
    found: dict[str, list[Any]] = {"ids": [], "logprobs": [], "margins": []}
    for _ in range(n_tokens):
        best = logits_of(model, ids)[-1].double().log_softmax(-1).topk(2)
        first, second = best.values.tolist()
        ids.append(best.indices[0].item())
        found["ids"].append(ids[-1])
        found["logprobs"].append(round(first, 6))
        found["margins"].append(round(first - second, 6))
    return found


def kept_rows(case: Case, length: int) -> dict[str, int]:
    if length <= KEEP_ALL:
        return {"first_row": 0, "row_step": 1}
    if case.row_step:
        return {"first_row": (length - 1) % case.row_step, "row_step": case.row_step}
    return {"first_row": length - LAST_ROWS, "row_step": 1}


def write_goldens(case: Case, folder: Path, rng: torch.Generator) -> tuple[float, float]:
    """How much the logits deviate, and how far the case's change moves them."""
    sequences, rows = [], {}
    change = 0.0
    for i, (length, context) in enumerate(zip(case.lengths, case.contexts)):
        ids = torch.randint(3, VOCAB, (length,), generator=rng).tolist()
        keep = kept_rows(case, length)
        kept = slice(keep["first_row"], None, keep["row_step"])
        full = logits(folder, ids)
        rows[f"logits.{i}"] = full[kept].contiguous()
        change = max(change, (full - logits_without(folder, case, ids)).abs().max().item())
        if case.rounded and length == max(case.lengths):
            for what in ROUNDINGS:
                rows[f"{what}.{i}"] = rounded_logits(load(folder), what, ids)[kept].contiguous()
        sequences.append({"ids": ids, "context": context, **keep,
                          "greedy": greedy(folder, ids, min(GREEDY, context - length))})
    golden = {"sequences": sequences, "logits": "golden.safetensors"}
    (folder / "golden.json").write_text(json.dumps(golden) + "\n")
    save_file(rows, folder / "golden.safetensors")
    return rows["logits.0"].std().item(), change


def write_case(case: Case, seed: int) -> None:
    folder = OUT / case.name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(case.config, indent=1) + "\n")
    (folder / "generation_config.json").write_text(json.dumps(case.generation, indent=1) + "\n")
    write_weights(folder, random_weights(case, seed), case.shards)
    spread, change = write_goldens(case, folder, torch.Generator().manual_seed(seed + 1))
    size = sum(f.stat().st_size for f in folder.iterdir())
    print(f"{case.name}: {size} bytes, logits deviate {spread:.2f}, {case.without} moves them by "
          f"{change:.2f}")
    if change < VISIBLE:
        raise SystemExit(f"{case.name}: {case.without} is not visible in the logits")


def main() -> None:
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    wanted = sys.argv[1:]
    for i, case in enumerate(cases()):
        if not wanted or case.name in wanted:
            write_case(case, 1000 + 10 * i)


if __name__ == "__main__":
    main()
