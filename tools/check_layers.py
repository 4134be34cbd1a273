#!/usr/bin/env python3
"""Fails on what reviews should not have to look for: an #include that points up the layers, files
that are too long, headers without #pragma once, preprocessor conditionals outside the kernels,
globals' usual doors (getenv) outside apps/. The layers are read from src/CMakeLists.txt."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
HARD_LIMIT = 800


def layers() -> dict[str, set[str]]:
    """Folder of src/ -> every folder that it may include, itself included."""
    text = (ROOT / "src/CMakeLists.txt").read_text()
    allowed: dict[str, set[str]] = {}
    for name, rest in re.findall(r"^spate_library\((\w+)(.*?)\)", text, re.M | re.S):
        depends = re.search(r"DEPENDS ([\w ]+?)(?: LIBS|$)", rest)
        allowed[name] = {name}
        for lower in depends.group(1).split() if depends else []:
            if lower not in allowed:
                sys.exit(f"src/CMakeLists.txt: {name} depends on {lower}, which comes later")
            allowed[name] |= allowed[lower]
    return allowed


def tracked() -> list[Path]:
    out = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, check=True, capture_output=True, text=True
    )
    return [ROOT / line for line in out.stdout.splitlines() if (ROOT / line).is_file()]


def check_includes(path: Path, lines: list[str], allowed: dict[str, set[str]]) -> list[str]:
    relative = path.relative_to(ROOT)
    top = relative.parts[0]
    problems = []
    for number, line in enumerate(lines, 1):
        found = re.match(r'\s*#\s*include "([^"]+)"', line)
        if not found:
            continue
        target = found.group(1)
        where = f"{relative}:{number}: includes {target}"
        if ".." in target:
            problems.append(f"{where}: write it from the root of src/ or include/")
        folder = target.split("/")[0]
        if top == "include" and folder != "spate":
            problems.append(f"{where}: public headers depend on public headers only")
        if relative.parts[:3] == ("include", "spate", "kernels") and not target.startswith("spate/kernels/"):
            problems.append(f"{where}: kernel headers depend on nothing else")
        if top == "src" and folder in allowed and folder not in allowed.get(relative.parts[1], set()):
            problems.append(f"{where}: {relative.parts[1]} is not above {folder}")
    return problems


def check_file(path: Path, allowed: dict[str, set[str]]) -> list[str]:
    relative = path.relative_to(ROOT)
    lines = path.read_text(errors="replace").splitlines()
    problems = check_includes(path, lines, allowed)
    if len(lines) > HARD_LIMIT:
        problems.append(f"{relative}: {len(lines)} lines; split it by concept (limit {HARD_LIMIT})")
    if path.suffix in {".h", ".cuh"} and "#pragma once" not in lines:
        problems.append(f"{relative}: no #pragma once")
    in_kernels = relative.parts[:3] == ("include", "spate", "kernels") or relative.parts[0] == "tests"
    in_kernels |= relative.parts[:2] == ("src", "device")  # where the processor is asked what it is
    for number, line in enumerate(lines, 1):
        if re.match(r"\s*#\s*if", line) and not in_kernels:
            problems.append(f"{relative}:{number}: preprocessor conditionals belong to include/spate/kernels and src/device")
        if "getenv" in line and relative.parts[0] not in {"apps", "tests", "tools"}:
            problems.append(f"{relative}:{number}: getenv outside apps")
        if re.search(r"\bTODO\b", line):
            problems.append(f"{relative}:{number}: TODO; file an issue")
    return problems


def main() -> int:
    allowed = layers()
    suffixes = {".h", ".cc", ".cu", ".cuh", ".inc"}
    problems = [p for path in tracked() if path.suffix in suffixes for p in check_file(path, allowed)]
    print("\n".join(problems) if problems else f"check_layers: {len(allowed)} layers in order")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
