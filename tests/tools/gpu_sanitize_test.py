"""What gpu_report.py --sanitize makes of a sanitizer's words, with a made-up one, and whether its tests exist.

Usage: gpu_sanitize_test.py [TEST PROGRAMS OF A CUDA BUILD...]"""

import os
import stat
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

PROGRAMS: list[str] = []
TOOLS = Path(__file__).resolve().parent.parent.parent / "tools"
sys.path.insert(0, str(TOOLS))
import gpu_sanitize  # noqa: E402
from gpu_sanitize import Group, findings  # noqa: E402

# Does what the filter of the tests asks for, and says what each tool would.
FAKE = """#!{python} -SI
import json, os, sys
tool = sys.argv[2]
options = dict(a.split("=", 1) for a in sys.argv[4:])
filter, file = options["--gtest_filter"], options["--gtest_output"].removeprefix("json:")
if int(os.environ["NV_COMPUTE_SANITIZER_MAX_RACECHECK_HAZARDS"]) <= 10_000_000:
    sys.exit("the default")
if filter == "S.Hangs":
    import time
    time.sleep(60)
names = [] if filter == "Missing" else filter.replace("*", "x").split(":")
if filter == "S.Half:S.Missing":
    names.pop()
suites = [{{"name": n.split(".")[0], "testsuite": [{{"name": n.partition(".")[2]}}]}} for n in names]
json.dump({{"tests": len(names), "failures": int(filter == "S.Fails"), "testsuites": suites}}, open(file, "w"))
bad = 2 if filter == "S.Bad" else 0
print("========= COMPUTE-SANITIZER")
if filter == "S.Crashes":
    sys.exit(9)
if tool == "racecheck":
    print(f"========= RACECHECK SUMMARY: {{bad}} hazards displayed (0 errors, {{bad}} warnings)")
else:
    print(f"========= ERROR SUMMARY: {{bad}} errors")
sys.exit(int(filter == "S.Fails"))
"""


class Findings(unittest.TestCase):
    def test_nothing_found_is_well(self) -> None:
        self.assertEqual(findings("memcheck", "a\n========= ERROR SUMMARY: 0 errors\n"), ("0 errors", True))
        clean = "========= RACECHECK SUMMARY: 0 hazards displayed (0 errors, 0 warnings)\n"
        self.assertEqual(findings("racecheck", clean), ("0 hazards", True))

    def test_one_is_enough_and_several_summaries_add_up(self) -> None:
        one = "========= ERROR SUMMARY: 1 error\n"
        self.assertEqual(findings("memcheck", one), ("1 errors", False))
        self.assertEqual(findings("synccheck", one + "========= ERROR SUMMARY: 2 errors"), ("3 errors", False))
        hazard = "========= RACECHECK SUMMARY: 1 hazard displayed (0 errors, 1 warning)\n"
        self.assertEqual(findings("racecheck", hazard), ("1 hazards (0 errors, 1 warnings)", False))
        self.assertEqual(findings("racecheck", hazard * 2), ("2 hazards (0 errors, 2 warnings)", False))

    def test_other_errors_under_racecheck_count(self) -> None:
        clean = "========= RACECHECK SUMMARY: 0 hazards displayed (0 errors, 0 warnings)\n"
        self.assertEqual(
            findings("racecheck", clean + "========= ERROR SUMMARY: 4 errors\n"), ("0 hazards, 4 other errors", False)
        )

    def test_no_summary_is_no_result(self) -> None:
        self.assertIsNone(findings("memcheck", "ERROR SUMMARY: 0 errors, says a test"))
        self.assertIsNone(findings("racecheck", "========= ERROR SUMMARY: 0 errors\n"))
        self.assertIsNone(findings("memcheck", ""))


class Sanitize(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        fake = self.folder / "compute-sanitizer"
        fake.write_text(FAKE.format(python=sys.executable))
        fake.chmod(fake.stat().st_mode | stat.S_IXUSR)
        self.path = os.environ["PATH"]
        os.environ["PATH"] = f"{self.folder}:{self.path}"
        self.addCleanup(os.environ.__setitem__, "PATH", self.path)
        self.timeout = gpu_sanitize.TIMEOUT
        self.addCleanup(setattr, gpu_sanitize, "TIMEOUT", self.timeout)

    def run_groups(self, *filters: str) -> tuple[list[tuple[str, ...]], bool]:
        groups = [Group(name, name, ("memcheck", "racecheck")) for name in filters]
        return gpu_sanitize.sanitize(self.folder, groups)

    def test_a_row_for_every_group_and_tool(self) -> None:
        rows, ok = self.run_groups("S.Good", "S.Fine:T.*/1:S.More")
        self.assertTrue(ok)
        expected = []
        for name, tests in (("S.Good", "1"), ("S.Fine:T.*/1:S.More", "3")):
            expected += [(name, "memcheck", tests, "0 errors"), (name, "racecheck", tests, "0 hazards")]
        self.assertEqual(rows, expected)

    def test_each_kind_of_failure_fails_the_run(self) -> None:
        gpu_sanitize.TIMEOUT = 1
        for name, memcheck, racecheck in (
            ("S.Bad", "2 errors", "2 hazards (0 errors, 2 warnings)"),
            ("Missing", "no such test: Missing", "no such test: Missing"),
            ("S.Half:S.Missing", "no such test: S.Missing", "no such test: S.Missing"),
            ("S.Crashes", "no summary, exit 9", "no summary, exit 9"),
            ("S.Hangs", "not done in 1 s", "not done in 1 s"),
            ("S.Fails", "0 errors, but 1 tests failed, exit 1", "0 hazards, but 1 tests failed, exit 1"),
        ):
            rows, ok = self.run_groups("S.Good", name)
            self.assertFalse(ok, name)
            self.assertEqual([row[3] for row in rows[2:]], [memcheck, racecheck])

    def test_the_report_ends_with_the_table_and_the_status(self) -> None:
        report = [sys.executable, str(TOOLS / "gpu_report.py"), str(self.folder), "--sanitize"]
        done = subprocess.run(report, capture_output=True, text=True, timeout=120, check=False)
        self.assertEqual(done.returncode, 0, done.stderr)
        table = done.stdout.splitlines()
        self.assertEqual(len(table), 2 + sum(len(group.tools) for group in gpu_sanitize.GROUPS))
        self.assertEqual(table[1], "| --- | --- | --- | --- |")
        self.assertEqual(subprocess.run([*report, "--tests"], capture_output=True, check=False).returncode, 2)

    def test_a_machine_without_the_tool_is_told(self) -> None:
        (self.folder / "compute-sanitizer").unlink()
        if gpu_sanitize.find_sanitizer() is None:
            self.assertEqual(self.run_groups("S.Good"), ([], False))


class Groups(unittest.TestCase):
    def test_every_pattern_has_a_test_in_the_programs(self) -> None:
        if not PROGRAMS:
            self.skipTest("a build without CUDA")
        program_of = {Path(p).name: p for p in PROGRAMS}
        for group in gpu_sanitize.GROUPS:
            for pattern in group.tests.split(":"):
                command = [program_of[group.program], "--gtest_list_tests", f"--gtest_filter={pattern}"]
                listed = subprocess.run(command, cwd=TOOLS.parent, capture_output=True, text=True, check=True).stdout
                self.assertRegex(listed, r"(?m)^  \w", pattern)


if __name__ == "__main__":
    PROGRAMS = sys.argv[1:]
    del sys.argv[1:]
    unittest.main()
