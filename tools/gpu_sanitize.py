"""compute-sanitizer over small tests of every CUDA kernel, for tools/gpu_report.py --sanitize.

memcheck, racecheck and synccheck. Not initcheck: the tests fill all memory with NaN first, which
counts as written there and shows in the values instead.
"""
from __future__ import annotations

import fnmatch
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ALL_TOOLS = ("memcheck", "racecheck", "synccheck")
TIMEOUT = 150  # seconds, of one tool over one group
# Hazards that racecheck keeps (10 million unless told otherwise): beyond, it drops them.
MOST_HAZARDS = {"NV_COMPUTE_SANITIZER_MAX_RACECHECK_HAZARDS": "40000000"}
ERRORS = re.compile(r"^=+ ERROR SUMMARY: (\d+) errors?\b", re.M)
HAZARDS = re.compile(
    r"^=+ RACECHECK SUMMARY: (\d+) hazards? displayed \((\d+) errors?, (\d+) warnings?\)", re.M)


@dataclass(frozen=True)
class Group:
    """Kernels, and tests with few and small launches of them: racecheck takes 50 times as long."""
    name: str
    tests: str  # a filter of GoogleTest
    tools: tuple[str, ...] = ALL_TOOLS
    program: str = "spate_test_cuda"


GROUPS = [
    Group("prefill bf16", "PrefillBf16.SurvivesLargeScores:PrefillVariants.*TwoSidedWindows"),
    Group("prefill bf16, pages", "PrefillPages.*WithPaddedRows:PrefillPages.*AtHeadDim64"),
    Group("prefill f16", "PrefillF16.MatchesTheReferenceAtHeadDim128"),
    Group("prefill tall", "PrefillTall.SurvivesLargeScores:PrefillTall.MatchesTheReferenceInF16"),
    Group("prefill, decode int8", "AttentionInt8.MatchesTheReferenceWithAWindow"),
    Group("prefill, decode fp8", "AttentionWork.TakesQueriesOfAnySizeOverE4M3"),
    Group("decode bf16", "DecodeBf16.*AtHeadDim64:DecodeBf16.*WithSixteenColumns"),
    Group("decode bf16, scores", "DecodeScores.*"),
    Group("decode bf16, splits", "DecodeBf16.MatchesTheReferenceWithFixedSplits"),
    Group("decode bf16, segments", "AttentionWork.*OverSegmentsOfOddLengths"),
    Group("decode fp8", "DecodeFp8.SurvivesLargeScores"),
    Group("attention, plain kernel", "AttentionInt8.MatchesTheReferenceInThePlainKernel"),
    Group("attention before Hopper", "DecodeFallback.*InF16:PrefillFallback.*InF16"),
    Group("merge", "Merge.*"),
    Group("normalize", "Shapes/NormalizeTest.AgreesWith*:NormalizeDealt.*"),
    Group("activation", "Shapes/ActivationTest.AgreesWith*:ActivationDealt.*"),
    Group("qkv", "Shapes/QkvTest.KeysAndValuesLie*"),
    Group("embed, gather, copies", "Tables/EmbedTest.*:Gather.*:KvCopyTest.*"),
    Group("sampling", "Rules/AgreeTest.*/masks:Rules/AgreeTest.*/logprob_penalties:"
          "Rules/AgreeTest.*/top_k_500_flat:DeviceSampling.TiesGoToTheLowestIds"),
    Group("sampling, greedy", "Shapes/GreedyTest.*/2:Shapes/GreedyTest.*/4"),
    Group("chain product, wide, tiles", "GemmChain.TakesSmallModels"),
    Group("streaming product", "GemmStream.TakesSmallModels"),
    Group("streaming product, quantized", "Formats/GemmQuant.TakesPartsOfBlocks/*"),
    Group("widening product", "Formats/GemmWiden.HasTheBitsOfDequantizedWeights/*"),
    Group("quantizing, converting", "Formats/GemmQuant.UnpacksToTheNearestBf16/*:"
          "DeviceMatrix.ConvertsBetweenFloatTypes"),
    # The library's kernels are not ours to check; what they are given is.
    Group("cuBLASLt", "GemmLt.IsCapturedWithoutTuning", ("memcheck",)),
    Group("engine, graphs", "GpuGeneration.StopsWhereTheTextSaysSo", ("memcheck",),
          "spate_test_cuda_engine"),
]


@dataclass(frozen=True)
class Outcome:
    tests: int
    found: str
    ok: bool


def findings(tool: str, output: str) -> tuple[str, bool] | None:
    """What the tool's summary says and whether that is nothing; None without a summary."""
    errors = [int(n) for n in ERRORS.findall(output)]
    hazards = [tuple(map(int, match)) for match in HAZARDS.findall(output)]
    if tool != "racecheck":
        return (f"{sum(errors)} errors", sum(errors) == 0) if errors else None
    if not hazards:
        return None
    shown, bad, warnings = (sum(column) for column in zip(*hazards))
    text = f"{shown} hazards ({bad} errors, {warnings} warnings)" if shown else "0 hazards"
    if sum(errors):
        text += f", {sum(errors)} other errors"
    return text, shown + bad + warnings + sum(errors) == 0


def run_to_end(command: list[str]) -> tuple[int | None, str]:
    """Exit status and output; None where it had to be ended, with everything that it started."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          errors="replace", start_new_session=True,
                          env=os.environ | MOST_HAZARDS) as process:
        try:
            output, _ = process.communicate(timeout=TIMEOUT)
            return process.returncode, output
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            return None, process.communicate()[0]


def patterns_without_tests(filter_: str, result: dict) -> list[str]:
    """Those of a filter's patterns that no test of the run has."""
    names = [f"{suite['name']}.{test['name']}"
             for suite in result.get("testsuites", []) for test in suite["testsuite"]]
    return [pattern for pattern in filter_.split(":") if not fnmatch.filter(names, pattern)]


def outcome_of(group: Group, tool: str, code: int | None, output: str, result: dict) -> Outcome:
    tests = result.get("tests", 0)
    failures = result.get("failures", 0) + result.get("errors", 0)
    found = findings(tool, output)
    if code is None:
        return Outcome(tests, f"not done in {TIMEOUT} s", False)
    if found is None:
        return Outcome(tests, f"no summary, exit {code}", False)
    if missing := patterns_without_tests(group.tests, result):
        return Outcome(tests, f"no such test: {', '.join(missing)}", False)
    if found[1] and (failures or code != 0):
        return Outcome(tests, f"{found[0]}, but {failures} tests failed, exit {code}", False)
    return Outcome(tests, *found)


def run_group(sanitizer: str, programs: Path, group: Group, tool: str) -> Outcome:
    begin = time.monotonic()
    with tempfile.NamedTemporaryFile(suffix=".json") as file:
        code, output = run_to_end([sanitizer, "--tool", tool, str(programs / group.program),
                                   "--gtest_brief=1", f"--gtest_filter={group.tests}",
                                   f"--gtest_output=json:{file.name}"])
        text = Path(file.name).read_text()
    outcome = outcome_of(group, tool, code, output, json.loads(text) if text else {})
    print(f"{tool}, {group.name}: {outcome.found}, {time.monotonic() - begin:.0f} s",
          file=sys.stderr)
    if not outcome.ok:
        print(output[:6000], output[6000:][-2000:], sep="\n", file=sys.stderr)
    return outcome


def find_sanitizer() -> str | None:
    return shutil.which("compute-sanitizer") or shutil.which("/usr/local/cuda/bin/compute-sanitizer")


def sanitize(programs: Path, groups: list[Group] = GROUPS) -> tuple[list[tuple[str, ...]], bool]:
    """Rows of a table (kernels, tool, tests, found), and whether all is well."""
    sanitizer = find_sanitizer()
    if sanitizer is None:
        print("no compute-sanitizer: it is part of the CUDA toolkit; put it on the PATH",
              file=sys.stderr)
        return [], False
    jobs = [(group, tool) for group in groups for tool in group.tools]
    # Side by side: much of their time is the host's.
    with ThreadPoolExecutor(max(1, min(4, (os.cpu_count() or 1) // 2))) as pool:
        outcomes = list(pool.map(lambda job: run_group(sanitizer, programs, *job), jobs))
    rows = [(group.name, tool, str(outcome.tests), outcome.found)
            for (group, tool), outcome in zip(jobs, outcomes)]
    return rows, all(outcome.ok for outcome in outcomes)
