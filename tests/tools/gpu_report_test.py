"""The table of gpu_report.py, with programs that print what the real ones do. Usage: gpu_report_test.py"""

import json
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

REPORT = Path(__file__).resolve().parent.parent.parent / "tools" / "gpu_report.py"
DECODE = " 9 b64 q1 k8192 32/8 d128 full"
ATTENTION = f"""
 0 b1 q1024 k1024 64/8 d128 causal | tall                34.10 us   500.0 TF   1.000 TB/s
{DECODE} | bf16               460.00 us    80.0 TF   4.600 TB/s
{DECODE} | bf16 page 16       470.00 us    80.0 TF   4.500 TB/s
{DECODE} | bf16 16 segments   461.00 us    80.0 TF   4.600 TB/s
{DECODE} | bf16 split 512     500.00 us    80.0 TF   4.600 TB/s
{DECODE} | read only          456.00 us    80.0 TF   4.640 TB/s
cascade: prefix 32768, batch 256, own 256, 32/32 heads | cascade           443.00 us
cascade: prefix 32768, batch 256, own 256, 32/32 heads | own part alone    200.00 us
cascade: prefix 32768, batch 256, own 256, 32/32 heads | flat decode     21200.00 us
"""
LATENCY = {
    "setup": {"weight_bytes": 16.0e9},
    "decode": [{"batch": b, "step_ms": {"p50": 5.0}, "gpu_idle_share": 0.0123} for b in (1, 64)],
    "first_token_seconds": {"median": 0.022},
}
TESTS = """
import json, sys
file = next(a for a in sys.argv if a.startswith("--gtest_output=json:")).partition(":")[2]
json.dump({"tests": 2, "failures": 0}, open(file, "w"))
"""


class GpuReport(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.program("spate_test_cuda", TESTS)
        self.program("spate_test_cuda_engine", TESTS)
        self.program("bench_cuda_attention", f"print({ATTENTION!r})")
        self.program("spate", f"print({json.dumps(LATENCY)!r})")

    def program(self, name: str, python: str) -> None:
        path = self.folder / name
        path.write_text(f"#!{sys.executable} -SI\n{python}")
        path.chmod(0o755)

    def report(self, *options: str) -> tuple[int, list[str]]:
        done = subprocess.run(
            [sys.executable, str(REPORT), str(self.folder), *options], capture_output=True, text=True, timeout=60, check=False
        )
        return done.returncode, done.stdout.splitlines()

    def test_rows_of_everything_that_a_user_meets(self) -> None:
        code, table = self.report()
        self.assertEqual(code, 0, table)
        what = "attention b64 q1 k8192 32/8 d128 full"
        prefix = "attention, shared prefix 32768, batch 256, own 256, 32/32 heads"
        for row in (
            "| attention b1 q1024 k1024 64/8 d128 causal, bf16, tall tiles | 34.1 us |  | 500 TFLOP/s |",
            f"| {what}, bf16 | 460.00 us | 456.03 us | 99% |",
            f"| {what}, bf16, pages of 16 | 470.00 us | 455.82 us | 97% |",
            f"| {what}, bf16, 16 segments | 461.00 us | 457.03 us | 99% |",
            f"| {prefix}, cascade | 443.0 us |  |  |",
            f"| {prefix}, flat decode | 21200.0 us |  |  |",
            "| 8B bf16, step of 64 | 5.00 ms | 3.45 ms | 69% |",
            "| 8B bf16, step of 64, GPU idle | 1.2% |  |  |",
            "| 8B q4, prompt of 1024 to first token | 22.0 ms |  |  |",
        ):
            self.assertIn(row, table)
        self.assertFalse([row for row in table if "split 512" in row or "own part" in row])
        self.assertFalse([row for row in table if "step of 1, GPU idle" in row])

    def test_tests_alone(self) -> None:
        code, table = self.report("--tests")
        self.assertEqual((code, len(table)), (0, 4))
        self.assertIn("| spate_test_cuda | ", table[2])

    def test_a_program_that_does_not_run_fails_it(self) -> None:
        self.program("bench_cuda_attention", "raise SystemExit(1)")
        self.assertEqual(self.report()[0], 1)
        self.program("spate_test_cuda_engine", TESTS + "raise SystemExit(1)")
        self.assertEqual(self.report("--tests")[0], 1)

    def test_unknown_options_are_wrong_usage(self) -> None:
        self.assertEqual(self.report("--sanitise")[0], 2)


if __name__ == "__main__":
    unittest.main()
