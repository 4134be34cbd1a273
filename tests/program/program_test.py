"""The program as a user meets it: exit codes, streams, files, interruptions. Usage: program_test.py PROGRAM"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path

PROGRAM = ""
ENGINE = ["--kv-memory", "64MiB", "--threads", "1"]


def spate(*args: str, stdin: str = "", cwd: str | None = None, **variables: str) -> subprocess.CompletedProcess[str]:
    """Runs the program to its end, with these environment variables besides; a hang fails the test."""
    return subprocess.run(
        [PROGRAM, *args],
        input=stdin,
        capture_output=True,
        text=True,
        cwd=cwd,
        env=os.environ | variables,
        timeout=60,
        check=False,
    )


def json_lines(text: str) -> list[dict]:
    return [json.loads(line) for line in text.splitlines()]


class ProgramTest(unittest.TestCase):
    def setUp(self) -> None:
        self._folder = tempfile.TemporaryDirectory()
        self.addCleanup(self._folder.cleanup)
        self.folder = Path(self._folder.name)

    def write_lines(self, lines: list[dict | str], name: str = "in.jsonl") -> str:
        path = self.folder / name
        path.write_text("".join((x if isinstance(x, str) else json.dumps(x)) + "\n" for x in lines))
        return str(path)

    def assert_fails(self, done: subprocess.CompletedProcess[str], *words: str) -> None:
        """Exit code 1, nothing on stdout, one line of complaint with these words."""
        self.assertEqual(done.returncode, 1, done.stderr)
        complaints = [x for x in done.stderr.splitlines() if x.startswith("spate: ")]
        self.assertEqual(len(complaints), 1, done.stderr)
        for word in words:
            self.assertIn(word, complaints[0])


class Usage(ProgramTest):
    def test_help_and_version_are_done(self) -> None:
        for args in (["--help"], ["--version"], ["batch", "--help"]):
            done = spate(*args)
            self.assertEqual((done.returncode, done.stderr), (0, ""))
            self.assertIn("spate", done.stdout)

    def test_wrong_usage_is_2_and_says_so_on_stderr(self) -> None:
        for args in (
            [],
            ["fly"],
            ["run", "--no-such-option"],
            ["batch"],
            ["batch", "-i", "x"],
            ["score"],
            ["tokenize"],
            ["run", "a", "--threads", "many"],
        ):
            done = spate(*args)
            self.assertEqual((done.returncode, done.stdout), (2, ""), args)
            self.assertTrue(done.stderr, args)

    def test_an_unknown_model_is_named(self) -> None:
        for command in (["run", "a"], ["inspect"], ["tokenize", "a"], ["chat"]):
            done = spate(*command, "--model", "no-such-model")
            self.assert_fails(done, "no-such-model", "stories-12m")
            self.assertEqual(done.stdout, "")

    def test_wrong_values_of_options_are_named(self) -> None:
        for name, value, remedy in (
            ("--dtype", "f7", "auto, f32, bf16, f16"),
            ("--device", "abacus", "cpu"),
            ("--kv-cache", "x", "segment, paged"),
            ("--kv-dtype", "x", "int8"),
            ("--kv-memory", "lots", "kv-memory"),
            ("--weights", "q1", "q8, q4"),
            ("--isa", "x", "avx2"),
            ("--admission", "x", "lookahead, exact"),
            ("--policy", "x", "shortest-first"),
            ("--load-format", "x", "dummy"),
            ("--threads", "-1", "at least 0"),
            ("--max-batch-tokens", "-1", "at least 0"),
            ("--max-requests", "-1", "at least 0"),
            ("--context-length", "-1", "at least 0"),
            ("--temperature", "-1", "0 (greedy) or more"),
            ("--top-p", "2", "at most 1"),
            ("--max-tokens", "0", "at least 1"),
            ("--repetition-penalty", "0", "above 0"),
        ):
            done = spate("run", "a", name, value)
            self.assertEqual((done.returncode, done.stdout), (2, ""), (name, done.stderr))
            complaint = done.stderr.splitlines()[0]
            self.assertTrue(complaint.startswith("spate: "), complaint)
            self.assertIn(value, complaint)
            self.assertIn(remedy, complaint)
            self.assertIn("spate run --help", done.stderr)

    def test_a_cache_that_is_too_small_gets_a_table(self) -> None:
        done = spate("run", "a", "--kv-memory", "1KiB")
        self.assert_fails(done, "not enough memory")
        for row in ("weights", "key-value cache", "workspace", "total", "--kv-memory"):
            self.assertIn(row, done.stderr)
        self.assertEqual(done.stdout, "")

    def test_a_full_standard_output_is_an_error(self) -> None:
        for args in (["inspect", "--json"], ["tokenize", "hello"], ["run", "a", "--max-tokens", "2", *ENGINE]):
            with open("/dev/full", "w", encoding="utf-8") as full:
                done = subprocess.run(
                    [PROGRAM, *args], stdout=full, stderr=subprocess.PIPE, text=True, timeout=60, check=False
                )
            self.assertEqual(done.returncode, 1, args)
            self.assertIn("spate: standard output", done.stderr)


class WithoutGpu(ProgramTest):
    """--device cuda where there is no GPU, no driver, or no CUDA in the build. A GPU is hidden."""

    def refused(self, *args: str) -> str:
        """The one line on stderr."""
        done = spate(*args, "--device", "cuda", CUDA_VISIBLE_DEVICES="")
        self.assert_fails(done, "--device cpu")
        self.assertEqual(done.stdout, "", args)
        self.assertEqual(len(done.stderr.splitlines()), 1, done.stderr)
        self.assertRegex(done.stderr, "no NVIDIA driver|NVIDIA driver here runs|no GPU to use|without CUDA", args)
        return done.stderr

    def test_one_line_says_what_is_missing_and_what_to_do(self) -> None:
        source = self.write_lines([{"prompt": "Once"}])
        lines = {
            self.refused(*command)
            for command in (
                ["run", "Once"],
                ["chat"],
                ["batch", "-i", source, "-o", "-"],
                ["score", "-i", source],
                ["bench", "throughput"],
                ["bench", "latency", "--json"],
                ["bench", "kernels"],
                ["bench", "roofline"],
                ["inspect"],
            )
        }
        self.assertEqual(len(lines), 1, lines)

    def test_no_file_is_touched(self) -> None:
        source = self.write_lines([{"prompt": "Once"}])
        kept, absent = self.folder / "kept", self.folder / "absent"
        kept.write_text("from another day\n")
        for output in (kept, absent):
            self.refused("batch", "-i", source, "-o", str(output))
            self.refused("score", "-i", source, "-o", str(output))
            self.refused("bench", "throughput", "--report", str(output))
        self.assertEqual(kept.read_text(), "from another day\n")
        self.assertFalse(absent.exists())


class MemoryTable(ProgramTest):
    """Long jobs begin with what takes how much memory; single answers do not."""

    ROWS = ("memory plan", "weights", "key-value cache", "logits", "workspace", "rotary", "total")

    def test_jobs_print_it_to_stderr_before_they_begin(self) -> None:
        source = self.write_lines([{"prompt": "Once", "max_tokens": 2, "text": "Once upon"}])
        for command in (
            ["batch", "-i", source, "-o", "-"],
            ["score", "-i", source],
            ["bench", "throughput", "--json", "--repeat", "1", "--num-prompts", "2", "--output-len", "2"],
        ):
            done = spate(*command, *ENGINE)
            self.assertEqual(done.returncode, 0, done.stderr)
            json.loads(done.stdout)  # and nothing else
            table = done.stderr.splitlines()[: len(self.ROWS)]
            for row, line in zip(self.ROWS, table, strict=True):
                self.assertIn(row, line)
            self.assertEqual(len({len(line) for line in table[1:]}), 1, done.stderr)  # aligned

    def test_one_completion_does_not(self) -> None:
        done = spate("run", "Once", "--max-tokens", "2", *ENGINE)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertNotIn("memory", done.stderr)


class Run(ProgramTest):
    def test_streams_from_any_working_directory(self) -> None:
        command = [PROGRAM, "run", "Once upon a time", "--max-tokens", "200", "--ignore-eos", *ENGINE]
        with subprocess.Popen(
            command, cwd=self.folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ) as process:
            assert process.stdout and process.stderr
            pieces = []
            while piece := os.read(process.stdout.fileno(), 65536):
                pieces.append(piece)
            errors = process.stderr.read().decode()
        self.assertEqual(process.returncode, 0, errors)
        text = b"".join(pieces).decode()  # whole: strict UTF-8
        self.assertTrue(text.startswith("Once upon a time"))
        self.assertGreater(len(pieces), 20)  # not in one piece at the end
        self.assertIn("tokens/s", errors)
        self.assertNotIn("tokens/s", text)

    def test_the_same_seed_gives_the_same_text(self) -> None:
        args = ["run", "Once", "--max-tokens", "12", "--temperature", "1", *ENGINE]
        first, same, other = (spate(*args, "--seed", s).stdout for s in ("1", "1", "2"))
        self.assertEqual(first, same)
        self.assertNotEqual(first, other)

    def test_reads_the_prompt_from_standard_input(self) -> None:
        args = ["--max-tokens", "3", "--temperature", "0", *ENGINE]
        self.assertEqual(spate("run", *args, stdin="Once").stdout, spate("run", "Once", *args).stdout)


class Batch(ProgramTest):
    def requests(self, n: int, max_tokens: int) -> list[dict | str]:
        return [
            {"id": f"r{i}", "prompt": "Once upon a time", "max_tokens": 1 + i % max_tokens, "ignore_eos": True}
            for i in range(n)
        ]

    def test_bad_lines_are_isolated_and_the_summary_counts_them(self) -> None:
        lines: list[dict | str] = [*self.requests(3, 4), "nonsense", {"id": "z", "prompt": 3}]
        output = self.folder / "out.jsonl"
        done = spate("batch", "-i", self.write_lines(lines), "-o", str(output), "--keep-order", *ENGINE)
        self.assertEqual((done.returncode, done.stdout), (0, ""), done.stderr)
        results = json_lines(output.read_text())
        self.assertEqual([r["id"] for r in results], ["r0", "r1", "r2", 3, "z"])
        self.assertEqual(["error" in r for r in results], [False, False, False, True, True])
        self.assertIn("5 requests", done.stderr)
        self.assertIn("2 failed", done.stderr)

    def test_standard_input_to_standard_output_has_nothing_else(self) -> None:
        lines = "".join(json.dumps(r) + "\n" for r in self.requests(4, 3))
        done = spate("batch", "-i", "-", "-o", "-", *ENGINE, stdin=lines)
        self.assertEqual({r["id"] for r in json_lines(done.stdout)}, {"r0", "r1", "r2", "r3"})

    def test_a_killed_run_is_resumed_to_the_same_lines(self) -> None:
        source = self.write_lines(self.requests(200, 40))
        output = self.folder / "out.jsonl"
        command = [PROGRAM, "batch", "-i", source, "-o", str(output), "--max-requests", "8", *ENGINE]
        kills = 0
        for size in (1, 8000):
            with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
                while process.poll() is None and (not output.exists() or output.stat().st_size < size):
                    time.sleep(0.002)
                process.send_signal(signal.SIGKILL)
            kills += process.returncode == -signal.SIGKILL
        self.assertEqual(kills, 2)
        before = output.read_bytes()
        with output.open("ab") as file:
            file.write(b'{"id": "r199", "te')  # what a kill within a write leaves
        done = spate(*command[1:])
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertTrue(output.read_bytes().startswith(before[: before.rfind(b"\n") + 1]))
        self.assertEqual(sorted(r["id"] for r in json_lines(output.read_text())), sorted(f"r{i}" for i in range(200)))
        whole = self.folder / "whole.jsonl"
        self.assertEqual(spate("batch", "-i", source, "-o", str(whole), *ENGINE).returncode, 0)
        self.assertEqual(sorted(output.read_text().splitlines()), sorted(whole.read_text().splitlines()))

    def test_ctrl_c_stops_in_order_and_says_how_to_go_on(self) -> None:
        output = self.folder / "out.jsonl"
        command = [PROGRAM, "batch", "-i", self.write_lines(self.requests(2000, 40)), "-o", str(output), *ENGINE]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
            while process.poll() is None and (not output.exists() or output.stat().st_size == 0):
                time.sleep(0.002)
            process.send_signal(signal.SIGINT)
            _, errors = process.communicate(timeout=30)
        self.assertEqual(process.returncode, 1)
        self.assertIn("start the same command again", errors)
        self.assertTrue(output.read_text().endswith("\n"))

    def test_a_full_disk_is_one_clear_line(self) -> None:
        source = self.write_lines(self.requests(5, 3))
        self.assert_fails(spate("batch", "-i", source, "-o", "/dev/full", *ENGINE), "/dev/full", "No space left")
        self.assert_fails(spate("score", "-i", source, "-o", "/dev/full", *ENGINE), "/dev/full", "No space left")

    def test_inputs_that_cannot_be_read_are_named(self) -> None:
        for command in ("batch", "score", "tokenize"):
            engine = [] if command == "tokenize" else ENGINE
            missing = str(self.folder / "missing.jsonl")
            self.assert_fails(spate(command, "-i", missing, "-o", "-", *engine), missing, "No such file")
            self.assert_fails(spate(command, "-i", str(self.folder), "-o", "-", *engine), str(self.folder), "folder")

    def test_an_input_is_never_also_the_output(self) -> None:
        for command in ("batch", "score", "tokenize"):
            source = self.write_lines([{"text": "a", "prompt": "a"}])
            before = Path(source).read_text()
            engine = [] if command == "tokenize" else ENGINE
            self.assert_fails(spate(command, "-i", source, "-o", source, *engine), "both input and output")
            self.assertEqual(Path(source).read_text(), before)


class Score(ProgramTest):
    def test_lines_in_order_with_errors_isolated(self) -> None:
        source = self.write_lines(
            [
                {"id": "a", "text": "Once upon a time"},
                "nonsense",
                {"id": "c", "prompt": "Once upon a", "continuations": [" time", " xylophone"]},
            ]
        )
        done = spate("score", "-i", source, "-o", "-", "--top-logprobs", "2", *ENGINE)
        self.assertEqual(done.returncode, 0, done.stderr)
        text, bad, choice = json_lines(done.stdout)
        self.assertEqual(len(text["logprobs"]), len(text["token_ids"]))
        self.assertIsNone(text["logprobs"][0])
        self.assertEqual([len(t) for t in text["top_logprobs"][1:]], [2] * (len(text["token_ids"]) - 1))
        self.assertIn("error", bad)
        self.assertEqual((choice["id"], choice["best"]), ("c", 0))

    def test_a_document(self) -> None:
        path = self.folder / "document.txt"
        path.write_text("Once upon a time there was a little girl. " * 20)
        done = spate("score", "--text", str(path), "--window", "64", "--stride", "32", *ENGINE)
        self.assertEqual(done.returncode, 0, done.stderr)
        (result,) = json_lines(done.stdout)
        self.assertGreater(result["perplexity"], 1.0)
        self.assertGreater(result["tokens"], 100)


class Tokenize(ProgramTest):
    def test_lines_there_and_back_with_errors_isolated(self) -> None:
        texts = ["Once upon a time", "naïve 🙂 \t x", ""]
        there = self.folder / "ids.jsonl"
        lines: list[dict | str] = [{"id": i, "text": t} for i, t in enumerate(texts)]
        source = self.write_lines([*lines, "nonsense", {"text": 3}, {"token_ids": [10**9]}])
        done = spate("tokenize", "-i", source, "-o", str(there))
        self.assertEqual((done.returncode, done.stdout), (0, ""), done.stderr)
        results = json_lines(there.read_text())
        self.assertEqual([r["id"] for r in results], [0, 1, 2, 3, 4, 5])
        self.assertEqual(["error" in r for r in results], [False] * 3 + [True] * 3)
        back = spate("tokenize", "-i", self.write_lines(results[:3], "back.jsonl"))
        self.assertEqual([r["text"] for r in json_lines(back.stdout)], texts)


class Others(ProgramTest):
    def test_inspect_prints_json_alone(self) -> None:
        done = spate("inspect", "--json", "--kv-memory", "64MiB")
        self.assertEqual(done.returncode, 0, done.stderr)
        info = json.loads(done.stdout)
        self.assertEqual((info["layers"], info["hidden_size"], info["vocab_size"]), (8, 384, 4096))
        self.assertTrue(info["memory"])

    def test_chat_answers_piped_lines_and_leaves(self) -> None:
        done = spate("chat", "--max-tokens", "8", "--seed", "1", *ENGINE, stdin="hello\n/history\n/exit\nnever\n")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("user: hello\nassistant: ", done.stdout)
        self.assertNotIn("never", done.stdout)
        self.assertIn("tokens/s", done.stderr)


if __name__ == "__main__":
    PROGRAM = str(Path(sys.argv.pop(1)).resolve())
    unittest.main()
