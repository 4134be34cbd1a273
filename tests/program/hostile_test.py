"""Model folders that are truncated, flipped, oversized or lying: refused with file and reason, or run;
never a crash, a hang or an allocation of what a number promises. Usage: hostile_test.py PROGRAM"""

import functools
import json
import os
import random
import resource
import shutil
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path
from typing import Any

PROGRAM = ""
ROOT = Path(__file__).resolve().parent.parent.parent
ENGINE = ["--kv-memory", "16MiB", "--threads", "1", "--max-batch-tokens", "64", "--max-requests", "4"]
MUTATIONS = int(os.environ.get("HOSTILE_MUTATIONS", "12"))  # of each kind and file


@functools.cache
def is_sanitized() -> bool:
    """Whether the program keeps shadow memory, which takes terabytes of addresses."""
    return b"__asan_init" in Path(PROGRAM).read_bytes()


def limit_memory() -> None:
    if not is_sanitized():
        resource.setrlimit(resource.RLIMIT_AS, (8 << 30, 8 << 30))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def spate(*args: str) -> subprocess.CompletedProcess[bytes]:
    is_sanitized()  # read once, before the fork
    return subprocess.run(
        [PROGRAM, *args], capture_output=True, timeout=60, check=False, preexec_fn=limit_memory, stdin=subprocess.DEVNULL
    )


class HostileTest(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.model = Path(folder.name) / "model"
        self.model.mkdir()
        self.random = random.Random(7)

    def copy(self, *sources: Path) -> None:
        for source in sources:
            shutil.copyfile(source, self.model / source.name)

    def check(self, what: str, *words: str, command: tuple[str, ...] = ("run", "Once", "--max-tokens", "2")) -> int:
        """Done, or refused in one line that has these words."""
        engine = [] if command[0] == "tokenize" else ENGINE
        done = spate(*command, "--model", str(self.model), *engine)
        self.assertIn(done.returncode, (0, 1), f"{what}: {done.stderr.decode(errors='replace')[-2000:]}")
        if done.returncode == 1:
            errors = done.stderr.decode(errors="strict")
            self.assertTrue(errors.startswith("spate: "), f"{what}: {errors}")
            self.assertLess(len(errors), 4000, what)
            for word in words:
                self.assertIn(word, errors, what)
        return done.returncode

    def attack(self, name: str, command: tuple[str, ...] = ("run", "Once", "--max-tokens", "2"), head: int = 1 << 30) -> None:
        """Truncates, flips and extends a file; `head`: only its first bytes are of interest."""
        path = self.model / name
        whole = path.read_bytes()
        n = min(len(whole), head)
        for i in range(MUTATIONS):
            path.write_bytes(whole[: self.random.randrange(n)])
            self.check(f"{name} truncated, {i}", command=command)
        for i in range(MUTATIONS):
            flipped = bytearray(whole)
            for _ in range(self.random.choice((1, 1, 3, 30))):
                flipped[self.random.randrange(n)] ^= 1 << self.random.randrange(8)
            path.write_bytes(flipped)
            self.check(f"{name} flipped, {i}", command=command)
        path.write_bytes(whole + bytes(self.random.randrange(256) for _ in range(100)))
        self.check(f"{name} extended", command=command)
        path.write_bytes(b"")
        self.check(f"{name} empty", name, command=command)
        path.unlink()
        path.mkdir()
        self.check(f"{name} a folder", command=command)
        path.rmdir()
        path.write_bytes(whole)


class Weights(HostileTest):
    def setUp(self) -> None:
        super().setUp()
        source = ROOT / "tests/models/data/llama-biases"
        self.copy(*(source / f for f in ("config.json", "generation_config.json", "model.safetensors")))
        lines = self.model.parent / "in.jsonl"
        lines.write_text('{"prompt_token_ids": [1, 2, 3], "max_tokens": 2}\n')
        self.command = ("batch", "-i", str(lines), "-o", "-")

    def header(self) -> tuple[dict[str, Any], bytes]:
        data = (self.model / "model.safetensors").read_bytes()
        n = int.from_bytes(data[:8], "little")
        return json.loads(data[8 : 8 + n]), data[8 + n :]

    def write_header(self, header: dict[str, Any] | bytes, body: bytes, length: int | None = None) -> None:
        text = header if isinstance(header, bytes) else json.dumps(header).encode()
        n = len(text) if length is None else length
        (self.model / "model.safetensors").write_bytes(n.to_bytes(8, "little") + text + body)

    def test_runs_as_it_is(self) -> None:
        self.assertEqual(self.check("untouched", command=self.command), 0)

    def test_safetensors_in_any_state(self) -> None:
        self.attack("model.safetensors", self.command, head=3000)

    def test_configs_in_any_state(self) -> None:
        self.attack("config.json", self.command)
        self.attack("generation_config.json", self.command)

    def test_headers_that_lie(self) -> None:
        header, body = self.header()
        name = next(k for k in header if k != "__metadata__")
        for what, change in {
            "ends beyond the file": {"data_offsets": [0, 1 << 40]},
            "begins before it": {"data_offsets": [-8, 8]},
            "offsets backwards": {"data_offsets": [64, 0]},
            "an extent of 2^62": {"shape": [1 << 62, 4]},
            "a negative extent": {"shape": [-1, 4]},
            "extents that overflow": {"shape": [1 << 33, 1 << 33]},
            "many dimensions": {"shape": [1] * 1000},
            "another dtype": {"dtype": "F64"},
            "no dtype at all": {"dtype": 7},
            "an unknown dtype": {"dtype": "Q99"},
        }.items():
            self.write_header({**header, name: {**header[name], **change}}, body)
            self.assertEqual(self.check(what, "model.safetensors", command=self.command), 1, what)

    def test_header_lengths_that_lie(self) -> None:
        header, body = self.header()
        for length in (0, 1, 1 << 20, 1 << 40, (1 << 64) - 1):
            self.write_header(header, body, length)
            self.assertEqual(self.check(f"header of {length}", "model.safetensors", command=self.command), 1)

    def test_headers_nested_deeply_or_full_of_junk(self) -> None:
        _, body = self.header()
        for text in (b"[" * 200_000, b'{"a":' * 100_000, b'{"a": "' + b"x" * 1_000_000 + b'"}', b"\xff" * 100, b"{}"):
            self.write_header(text, body)
            self.assertEqual(self.check(repr(text[:20]), command=self.command), 1)

    def test_config_numbers_that_lie(self) -> None:
        config = json.loads((self.model / "config.json").read_text())
        numbers = [k for k, v in config.items() if isinstance(v, int) and not isinstance(v, bool)]
        for key in numbers:
            for value in (0, -1, 1 << 31, 1 << 62, 1 << 70, 0.5, "7", None, [], {}, True):
                (self.model / "config.json").write_text(json.dumps({**config, key: value}))
                self.check(f"{key}: {value}", command=self.command)

    def test_config_numbers_of_reals_that_lie(self) -> None:
        config = json.loads((self.model / "config.json").read_text())
        for key in ("rms_norm_eps", "rope_theta", "rope_scaling", "rope_parameters", "hidden_act", "architectures"):
            for value in (0, -1, 1e300, -1e-300, "x" * 5000, [], {}, {"rope_type": "yarn"}, {"type": 3}, None):
                (self.model / "config.json").write_text(json.dumps({**config, key: value}))
                self.check(f"{key}: {value}", command=self.command)

    def test_shards_that_do_not_fit_their_index(self) -> None:
        header, _ = self.header()
        names = [k for k in header if k != "__metadata__"]
        (self.model / "model.safetensors").rename(self.model / "a.safetensors")
        index = self.model / "model.safetensors.index.json"
        for what, weight_map in {
            "a shard that is not there": dict.fromkeys(names, "b.safetensors"),
            "a shard outside the folder": dict.fromkeys(names, "../../../../etc/passwd"),
            "an absolute shard": dict.fromkeys(names, "/etc/passwd"),
            "a tensor that is not in its shard": {**dict.fromkeys(names, "a.safetensors"), "other": "a.safetensors"},
            "no names": {},
            "numbers": dict.fromkeys(names, 7),
        }.items():
            index.write_text(json.dumps({"metadata": {"total_size": 1 << 60}, "weight_map": weight_map}))
            self.assertEqual(self.check(what, command=self.command), 1, what)
        index.write_text(json.dumps({"weight_map": dict.fromkeys(names, "a.safetensors")}))
        self.assertEqual(self.check("a good index", command=self.command), 0)
        self.attack("model.safetensors.index.json", self.command)


class Tokenizers(HostileTest):
    command = ("tokenize", "Once upon a time, naïve 你好")

    def test_tokenizer_json_in_any_state(self) -> None:
        for family in ("llama2", "gpt2", "t5", "bert"):
            self.copy(ROOT / f"tests/tokenizer/data/{family}/tokenizer.json")
            self.attack("tokenizer.json", self.command)

    def test_tokenizer_model_in_any_state(self) -> None:
        for family in ("sp_llama", "sp_unigram", "sp_not_legacy"):
            shutil.rmtree(self.model)
            self.model.mkdir()
            self.copy(*(ROOT / f"tests/tokenizer/data/{family}").glob("tokenizer*"))
            self.attack("tokenizer.model", self.command)

    def test_config_and_old_files_in_any_state(self) -> None:
        self.copy(*(ROOT / "tests/tokenizer/data/opt").iterdir())
        for name in sorted(f.name for f in self.model.iterdir() if f.name != "goldens.json"):
            self.attack(name, self.command)


class Templates(HostileTest):
    def test_chat_templates_in_any_state(self) -> None:
        self.copy(*(ROOT / "models/stories-12m").iterdir())
        lines = self.model.parent / "in.jsonl"
        lines.write_text('{"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 1}\n')
        command = ("batch", "-i", str(lines), "-o", "-")
        template = self.model / "chat_template.jinja"
        for text in (
            "{% for i in range(1000000000) %}x{% endfor %}",
            "{% set x = 'x' * 1000000000 %}{{ x }}",
            "{{ 'x' * 999999999999999999 }}",
            "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
            "{" * 100_000,
            "{{ " + "(" * 100_000,
            "{{ 1 // 0 }}",
            "{% if x %}" * 1000,
            "{{ messages[0]['content'].__class__.__mro__ }}",
            "\xff\xfe\x00",
            "x" * 2_000_000,
        ):
            template.write_text(text)
            self.check(text[:40], command=command)
        template.write_text("{% for m in messages %}{{ m.role }}: {{ m.content }}{% endfor %}")
        self.attack("chat_template.jinja", command)


if __name__ == "__main__":
    PROGRAM = str(Path(sys.argv.pop(1)).resolve())
    unittest.main()
