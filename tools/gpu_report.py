#!/usr/bin/env python3
"""Runs the tests and the main benchmarks of a CUDA build on this machine's GPU and ends with one
table (markdown). Exit status 1 if a test fails or a program does not run.

usage: tools/gpu_report.py PROGRAMS [--tests | --sanitize]

PROGRAMS: folder with spate_test_cuda, spate_test_cuda_engine, bench_cuda_attention and spate.
--tests: no benchmarks. --sanitize: small tests of every kernel under compute-sanitizer instead of
all of it; fails on any error or hazard. Run it in the root of a checkout: tests and benchmarks read
its models.
"""
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from gpu_sanitize import sanitize

ROW = re.compile(r"^ *\d+ (b.*?) \| (.*?) +([\d.]+) us +([\d.]+) TF +([\d.]+) TB/s$")
PREFIX = re.compile(r"^cascade: (.*?) \| (cascade|flat decode) +([\d.]+) us$")
# Variants of the attention benchmark that a user meets, by their names there.
VARIANTS = {"tuned": "bf16", "128 rows": "bf16", "tall": "bf16, tall tiles",
            "pages, 128 rows": "bf16, pages", "pages, tall": "bf16, pages, tall tiles",
            "bf16": "bf16", "fp8": "fp8 cache", "int8": "int8 cache",
            "bf16 page 16": "bf16, pages of 16", "bf16 16 segments": "bf16, 16 segments",
            "bf16 dependent": "bf16, behind a kernel"}
ENGINE = [
    ("8B bf16", "llama-3.1-8b", [], "1,16,64"),
    ("8B fp8", "llama-3.1-8b", ["--weights", "fp8", "--kv-dtype", "fp8"], "1,16,64"),
    ("8B q8", "llama-3.1-8b", ["--weights", "q8"], "1,16,64"),
    ("8B q4", "llama-3.1-8b", ["--weights", "q4"], "1,16,64"),
    ("1B bf16", "llama-3.2-1b", [], "1,16"),
]


def markdown(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join(" | ".join(("", *line, "")).strip() for line in lines)


class Report:
    def __init__(self) -> None:
        self.rows: list[tuple[str, str, str, str]] = []
        self.failed = False
        self.bytes_per_second = 0.0  # a plain read, as measured in this run

    def add(self, what: str, seen: str, limit: str = "", share: str = "") -> None:
        self.rows.append((what, seen, limit, share))

    def add_time(self, what: str, seconds: float, n_bytes: float, unit: str) -> None:
        scale = {"us": 1e6, "ms": 1e3}[unit]
        if not self.bytes_per_second:
            self.add(what, f"{seconds * scale:.2f} {unit}")
            return
        limit = n_bytes / self.bytes_per_second
        self.add(what, f"{seconds * scale:.2f} {unit}", f"{limit * scale:.2f} {unit}",
                 f"{limit / seconds:.0%}")

    def table(self, title: str) -> str:
        return markdown((title, "seen", "limit", "limit / seen"), self.rows)


def output_of(command: list[str], timeout: int) -> str | None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout)
    except (OSError, subprocess.TimeoutExpired) as error:
        print(f"{command[0]}: {error}", file=sys.stderr)
        return None
    if done.returncode != 0:
        print(f"{' '.join(command)}: exit {done.returncode}\n{done.stderr}{done.stdout[-2000:]}",
              file=sys.stderr)
        return None
    return done.stdout


def run_shard(program: Path, shard: int, shards: int) -> dict:
    """The result of one part of a program's tests."""
    environment = os.environ | {"GTEST_TOTAL_SHARDS": str(shards), "GTEST_SHARD_INDEX": str(shard)}
    with tempfile.NamedTemporaryFile(suffix=".json") as file:
        code = subprocess.run([program, "--gtest_brief=1", f"--gtest_output=json:{file.name}"],
                              stdout=sys.stderr, env=environment).returncode
        text = Path(file.name).read_text()
    return (json.loads(text) if text else {"tests": 0, "failures": 0}) | {"code": code}


def run_tests(report: Report, programs: list[Path]) -> None:
    """All tests, parts of them side by side: most of their time is the host's."""
    shards = max(1, min(8, (os.cpu_count() or 1) // 2))
    with ThreadPoolExecutor(shards) as pool:
        begin = time.monotonic()
        parts = {program: [pool.submit(run_shard, program, i, shards) for i in range(shards)]
                 for program in programs}
        for program, futures in parts.items():
            results = [future.result() for future in futures]
            tests = sum(r["tests"] for r in results)
            bad = sum(r["failures"] + r.get("errors", 0) for r in results)
            report.failed |= tests == 0 or any(r["code"] != 0 for r in results)
            report.add(program.name, f"{tests - bad} of {tests} passed, "
                       f"{time.monotonic() - begin:.0f} s")


def run_attention(report: Report, program: Path) -> None:
    text = output_of([str(program)], 300)
    report.failed |= text is None
    lines = (text or "").splitlines()
    found = [match.groups() for match in map(ROW.match, lines) if match]
    # The largest read is the chip's: small ones are mostly latency.
    reads = [float(rate) for _, variant, _, _, rate in found if variant == "read only"]
    report.bytes_per_second = max(reads, default=0) * 1e12
    for shape, variant, us, flops, rate in found:
        if variant not in VARIANTS:
            continue
        what = f"attention {shape}, {VARIANTS[variant]}"
        if " q1 " in f" {shape} ":
            report.add_time(what, float(us) * 1e-6, float(us) * float(rate) * 1e6, "us")
        else:
            report.add(what, f"{float(us):.1f} us", "", f"{float(flops):.0f} TFLOP/s")
    for shape, variant, us in [match.groups() for match in map(PREFIX.match, lines) if match]:
        report.add(f"attention, shared {shape}, {variant}", f"{float(us):.1f} us")


def run_engine(report: Report, program: Path) -> None:
    for name, model, options, batch in ENGINE:
        text = output_of([str(program), "bench", "latency", "--json", "--device", "cuda",
                          "--load-format", "dummy", "--model", f"bench/models/{model}",
                          "--prompt-len", "1024", "--output-len", "128", "--depth", "128",
                          "--repeat", "2", "--batch", batch, *options], 120)
        report.failed |= text is None
        if text is None:
            continue
        result = json.loads(text)
        weights = result["setup"]["weight_bytes"]
        for d in result["decode"]:
            report.add_time(f"{name}, step of {d['batch']}", d["step_ms"]["p50"] * 1e-3, weights,
                            "ms")
            if d["batch"] == 64:
                report.add(f"{name}, step of 64, GPU idle", f"{d['gpu_idle_share']:.1%}")
        first = result["first_token_seconds"]["median"]
        report.add(f"{name}, prompt of 1024 to first token", f"{first * 1e3:.1f} ms")


def name_of_gpu() -> str:
    gpu = output_of(["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"], 30)
    return (gpu or "no GPU").splitlines()[0]


def main() -> int:
    folders = [a for a in sys.argv[1:] if not a.startswith("--")]
    options = {a for a in sys.argv[1:] if a.startswith("--")}
    if len(folders) != 1 or len(options) > 1 or not options <= {"--tests", "--sanitize"}:
        print(__doc__, file=sys.stderr)
        return 2
    programs = Path(folders[0])
    if "--sanitize" in options:
        rows, ok = sanitize(programs)
        print(markdown((name_of_gpu(), "tool", "tests", "found"), rows))
        return 0 if ok else 1
    report = Report()
    run_tests(report, [programs / "spate_test_cuda", programs / "spate_test_cuda_engine"])
    if "--tests" not in options:
        run_attention(report, programs / "bench_cuda_attention")
        run_engine(report, programs / "spate")
    print(report.table(name_of_gpu()))
    return 1 if report.failed else 0


if __name__ == "__main__":
    sys.exit(main())
