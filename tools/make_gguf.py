"""Writes a GGUF file with random bf16 weights in the shape of a Llama config.json.

It is for timing llama.cpp and ik_llama.cpp beside Spate (tools/bench_cpu.sh); the tokens are made
up. Needs the packages gguf and numpy.

usage: make_gguf.py FOLDER OUT.gguf     (FOLDER has the config.json)
"""

import json
import sys
from pathlib import Path

import gguf
import numpy as np


def bf16(values: np.ndarray) -> np.ndarray:
    """The nearest bf16 values of an array without NaN, as bytes."""
    bits = values.astype(np.float32).view(np.uint32)
    rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16
    return rounded.astype(np.uint16).view(np.uint8)


def add_header(writer: gguf.GGUFWriter, config: dict) -> None:
    heads = config["num_attention_heads"]
    writer.add_context_length(8192)
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(heads)
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_rope_dimension_count(config.get("head_dim", config["hidden_size"] // heads))
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_rope_freq_base(config.get("rope_theta", 10000.0))
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_BF16)


def add_vocabulary(writer: gguf.GGUFWriter, size: int) -> None:
    writer.add_vocab_size(size)
    writer.add_tokenizer_model("llama")
    words = [b"<unk>", b"<s>", b"</s>"] + [f"t{i}".encode() for i in range(3, size)]
    writer.add_token_list(words)
    writer.add_token_scores([0.0] * size)
    writer.add_token_types([2, 3, 3] + [1] * (size - 3))
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)


def shapes_of(config: dict) -> dict[str, tuple[int, ...]]:
    """Rows and columns of each matrix, elements of each norm."""
    hidden, ffn = config["hidden_size"], config["intermediate_size"]
    heads = config["num_attention_heads"]
    head_dim = config.get("head_dim", hidden // heads)
    q, kv = heads * head_dim, config["num_key_value_heads"] * head_dim
    shapes = {"token_embd": (config["vocab_size"], hidden), "output_norm": (hidden,)}
    if not config.get("tie_word_embeddings", False):
        shapes["output"] = (config["vocab_size"], hidden)
    for i in range(config["num_hidden_layers"]):
        shapes |= {
            f"blk.{i}.attn_norm": (hidden,),
            f"blk.{i}.attn_q": (q, hidden),
            f"blk.{i}.attn_k": (kv, hidden),
            f"blk.{i}.attn_v": (kv, hidden),
            f"blk.{i}.attn_output": (hidden, q),
            f"blk.{i}.ffn_norm": (hidden,),
            f"blk.{i}.ffn_gate": (ffn, hidden),
            f"blk.{i}.ffn_up": (ffn, hidden),
            f"blk.{i}.ffn_down": (hidden, ffn),
        }
    return shapes


def main() -> None:
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    config = json.loads((Path(sys.argv[1]) / "config.json").read_text())
    writer = gguf.GGUFWriter(sys.argv[2], "llama")
    add_header(writer, config)
    add_vocabulary(writer, config["vocab_size"])
    random = np.random.default_rng(0)
    for name, shape in shapes_of(config).items():
        if len(shape) == 1:
            writer.add_tensor(f"{name}.weight", np.ones(shape, dtype=np.float32))
            continue
        values = random.standard_normal(shape, dtype=np.float32) * shape[1] ** -0.5
        writer.add_tensor(
            f"{name}.weight", bf16(values), raw_dtype=gguf.GGMLQuantizationType.BF16
        )
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


if __name__ == "__main__":
    main()
