#!/usr/bin/env python3
"""Compiler launcher: runs the CUDA compiler and fails where its assembler lost what a kernel needs.

usage: check_ptxas.py --strict WORD COMPILER ARGUMENTS...

Fails on C75xx (wgmma serialized, setmaxnreg ignored) in any source, and on spills and stack frames
in sources whose path contains WORD (but for functions named fallback); elsewhere they are printed. ccache may stand between this and
nvcc: it replays what the assembler said, so a cached object is checked too.
"""

from __future__ import annotations

import re
import subprocess
import sys

SPILL = re.compile(
    r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads"
)
FUNCTION = re.compile(r"Function properties for (\S+)")
# Bytes: the widest heads with a window or narrow caches spill a register or ten outside their loops.
EXPECTED_SPILL = 64
NOISE = re.compile(r"^ptxas info|^\s+\d+ bytes stack frame|^\s*$")


def findings(report: str, strict: bool) -> tuple[list[str], list[str], list[str]]:
    """What the assembler said: lines to fail on, lines to print, lines of others."""
    fatal: list[str] = []
    notes: list[str] = []
    rest: list[str] = []
    function = "?"
    for line in report.splitlines():
        if match := FUNCTION.search(line):
            function = match[1]
        if re.search(r"\bC75\d\d\b", line):
            fatal.append(line)
        elif match := SPILL.search(line):
            if any(int(x) > 0 for x in match.groups()):
                many = max(int(x) for x in match.groups()) > EXPECTED_SPILL
                tuned = strict and many and "fallback" not in function
                (fatal if tuned else notes).append(f"{function}: {line.strip()}")
        elif not NOISE.match(line):
            rest.append(line)
    return fatal, notes, rest


def main() -> int:
    if len(sys.argv) < 4 or sys.argv[1] != "--strict":
        print(__doc__, file=sys.stderr)
        return 2
    word, command = sys.argv[2], sys.argv[3:]
    sources = [x for x in command if x.endswith(".cu")]
    if "-c" not in command or not sources:
        return subprocess.run(command, check=False).returncode
    run = subprocess.run(
        [*command, "-Xptxas=-v"], check=False, stderr=subprocess.PIPE, text=True
    )
    strict = any(word in x for x in sources)
    fatal, notes, rest = findings(run.stderr, strict)
    for line in rest:
        print(line, file=sys.stderr)
    for line in notes:
        print(f"{sources[0]}: note: {line}", file=sys.stderr)
    for line in fatal:
        print(f"{sources[0]}: error: {line}", file=sys.stderr)
    return run.returncode or (1 if fatal else 0)


if __name__ == "__main__":
    sys.exit(main())
