#!/usr/bin/env python3
"""Compiler launcher: runs the CUDA compiler and fails where its assembler lost what a kernel needs.

usage: check_ptxas.py --spills fail|note COMPILER ARGUMENTS...

Fails on C75xx (wgmma serialized, setmaxnreg ignored) in any source, and, with `fail`, on registers
that spill in a kernel of the engine for sm_90a beyond what EXPECTED says; other spills are printed.
`note` is for releases of the toolkit other than that of EXPECTED. ccache may stand between this and
nvcc: it replays what the assembler said, so a cached object is checked too.
"""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SPILL = re.compile(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads")
ENTRY = re.compile(r"Compiling entry function '\S+' for '(\w+)'")
FUNCTION = re.compile(r"Function properties for (\S+)")
NOISE = re.compile(r"^ptxas info|^\s+\d+ bytes stack frame|^\s*$")
ARCHITECTURE = "sm_90a"
# Kernels that spill (names as `readable` makes them), the most bytes of stack frame, stores or loads
# with CUDA 13.0, and where or why.
TILES = "once a tile, where results are converted and stored; none in the loop over k"
ROWS = "rows of x stay in registers for a slice of 4096 k, weights pass"
CONVERTERS = "warps that convert the cache, which have few registers"
EXPECTED = (
    (r"PrefillVariant<(bf16|f16), 256, \(Mask\)2, .*\(KvFormat\)0", 12, "window: once a tile"),
    (r"PrefillVariant<bf16, 256, .*\(KvFormat\)1", 8, CONVERTERS),
    (r"PrefillVariant<bf16, (128|256), .*\(KvFormat\)2", 24, CONVERTERS),
    (r"chain_tiles_kernel<TileKernel<bf16, 128>", 8, TILES),
    (r"chain_tiles_kernel<TileKernel<bf16, 192>", 32, TILES),
    (r"chain_tiles_kernel<TileKernel<f16, 128>", 104, TILES),
    (r"chain_tiles_kernel<TileKernel<f16, (160|192)>", 48, TILES),
    (r"chain_tiles_kernel<TileKernel<f16, 224>", 64, TILES),
    (r"chain_tiles_kernel<TileKernel<f16, 256>", 476, TILES),
    (r"StreamKernel<\(StreamFormat\)0, 1, false, 4096>", 32, "bf16; " + ROWS),
    (r"StreamKernel<\(StreamFormat\)0, 2, false, 4096>", 64, "bf16; " + ROWS),
    (r"StreamKernel<\(StreamFormat\)2, 2, false, 4096>", 48, "fp8; " + ROWS),
    (r"StreamKernel<\(StreamFormat\)2, 2, true, 4096>", 412, "fp8, 9 to 16 rows; " + ROWS),
    (r"StreamKernel<\(StreamFormat\)[34], 2, false, 4096>", 8, "q8, q4; " + ROWS),
    (r"normalize_kernel<bf16, 4, true>", 16, "rows of more than 8192 values: once a row"),
    (r"sample_kernel<(true|false)>", 500, "64 registers a thread, so that four blocks fit"),
)


@dataclass
class Spill:
    kernel: str  # as the assembler writes it
    architecture: str
    n_bytes: int
    line: str


def readable(kernels: list[str]) -> list[str]:
    """Names as in the source, without namespaces; as they are where there is no c++filt."""
    text = "\n".join(kernels)
    try:
        text = subprocess.run(["c++filt"], input=text, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        pass
    for long, short in (("spate::cuda::", ""), ("__nv_bfloat16", "bf16"), ("__half", "f16"), ("> >", ">>")):
        while long in text:
            text = text.replace(long, short)
    return text.splitlines()


def expected_bytes(kernel: str) -> int:
    return next((most for pattern, most, _ in EXPECTED if re.search(pattern, kernel)), 0)


def read(report: str) -> tuple[list[str], list[Spill], list[str]]:
    """What the assembler said: lines to fail on, spills, lines of others."""
    fatal: list[str] = []
    spills: list[Spill] = []
    rest: list[str] = []
    function = architecture = "?"
    for line in report.splitlines():
        if match := ENTRY.search(line):
            architecture = match[1]
        if match := FUNCTION.search(line):
            function = match[1]
        if re.search(r"\bC75\d\d\b", line):
            fatal.append(line)
        elif match := SPILL.search(line):
            if most := max(map(int, match.groups())):
                spills.append(Spill(function, architecture, most, line.strip()))
        elif not NOISE.match(line):
            rest.append(line)
    return fatal, spills, rest


def judge(spills: list[Spill], strict: bool) -> tuple[list[str], list[str]]:
    """Lines to fail on, lines to print."""
    fatal: list[str] = []
    notes: list[str] = []
    for spill, kernel in zip(spills, readable([s.kernel for s in spills])):
        line = f"{kernel}, {spill.architecture}: {spill.line}"
        most = expected_bytes(kernel)
        if strict and spill.architecture == ARCHITECTURE and spill.n_bytes > most:
            fatal.append(f"{line}; expected: {most} (EXPECTED in tools/check_ptxas.py)")
        else:
            notes.append(line)
    return fatal, notes


def is_engine(source: str) -> bool:
    return Path(source).resolve().is_relative_to(ROOT / "src")


def main() -> int:
    if len(sys.argv) < 4 or sys.argv[1] != "--spills" or sys.argv[2] not in ("fail", "note"):
        print(__doc__, file=sys.stderr)
        return 2
    command = sys.argv[3:]
    sources = [x for x in command if x.endswith(".cu")]
    if "-c" not in command or not sources:
        return subprocess.run(command, check=False).returncode
    run = subprocess.run([*command, "-Xptxas=-v"], check=False, stderr=subprocess.PIPE, text=True)
    fatal, spills, rest = read(run.stderr)
    spilled, notes = judge(spills, sys.argv[2] == "fail" and is_engine(sources[0]))
    for line in rest:
        print(line, file=sys.stderr)
    for line in notes:
        print(f"{sources[0]}: note: {line}", file=sys.stderr)
    for line in fatal + spilled:
        print(f"{sources[0]}: error: {line}", file=sys.stderr)
    return run.returncode or (1 if fatal or spilled else 0)


if __name__ == "__main__":
    sys.exit(main())
