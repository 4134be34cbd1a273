"""What check_ptxas.py makes of the assembler's words. Usage: check_ptxas_test.py"""

import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

TOOLS = Path(__file__).resolve().parent.parent.parent / "tools"
sys.path.insert(0, str(TOOLS))
import check_ptxas  # noqa: E402

LISTED = "_ZN5spate4cuda13sample_kernelILb0EEEvNS0_12SampleParamsE"
OTHER = "_ZN5spate4cuda10qkv_kernelEv"


def words(kernel: str, n_bytes: int, architecture: str = "sm_90a") -> str:
    return f"""ptxas info    : 0 bytes gmem
ptxas info    : Compiling entry function '{kernel}' for '{architecture}'
ptxas info    : Function properties for {kernel}
    {n_bytes} bytes stack frame, {n_bytes // 2} bytes spill stores, 0 bytes spill loads
ptxas info    : Used 64 registers, used 1 barriers
"""


def judged(report: str, strict: bool = True) -> tuple[int, int]:
    """How many lines fail and how many are noted."""
    fatal, notes = check_ptxas.judge(check_ptxas.read(report)[1], strict)
    return len(fatal), len(notes)


class CheckPtxas(unittest.TestCase):
    def test_no_spill_is_no_word(self) -> None:
        self.assertEqual(check_ptxas.read(words(OTHER, 0)), ([], [], []))

    def test_an_unlisted_spill_fails_whatever_its_size(self) -> None:
        self.assertEqual(judged(words(OTHER, 8)), (1, 0))
        self.assertEqual(judged(words(OTHER, 8), strict=False), (0, 1))
        self.assertEqual(judged(words(OTHER, 8, "sm_80")), (0, 1))
        self.assertEqual(judged(words(OTHER, 8, "sm_80") + words(OTHER, 8)), (1, 1))

    def test_a_listed_one_fails_beyond_its_bytes(self) -> None:
        most = check_ptxas.expected_bytes("void sample_kernel<false>(SampleParams)")
        self.assertGreater(most, 0)
        self.assertEqual(judged(words(LISTED, most)), (0, 1))
        self.assertEqual(judged(words(LISTED, most + 8)), (1, 0))

    def test_names_are_those_of_the_source(self) -> None:
        names = check_ptxas.readable([LISTED, OTHER, "k"])
        self.assertEqual(names, ["void sample_kernel<false>(SampleParams)", "qkv_kernel()", "k"])
        self.assertEqual(check_ptxas.readable([]), [])

    def test_serialized_products_fail_and_the_compilers_own_lines_stay(self) -> None:
        said = "ptxas info    : (C7510) Potential Performance Loss: wgmma serialized\na.cu(3): warning: unused\n"
        fatal, spills, rest = check_ptxas.read(said)
        self.assertEqual((len(fatal), spills, rest), (1, [], ["a.cu(3): warning: unused"]))

    def test_only_the_engines_sources_are_held_to_the_list(self) -> None:
        self.assertTrue(check_ptxas.is_engine(str(TOOLS.parent / "src/ops/cuda/linear.cu")))
        self.assertFalse(check_ptxas.is_engine(str(TOOLS.parent / "tests/cuda/qkv_test.cu")))

    def test_the_launcher_ends_with_what_it_saw(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            compiler = Path(folder) / "nvcc"
            compiler.write_text(f"#!{sys.executable}\nimport sys\nsys.stderr.write({words(OTHER, 8)!r})\n")
            compiler.chmod(0o755)
            source = str(TOOLS.parent / "src/ops/cuda/linear.cu")
            for mode, code, word in (("fail", 1, "error: qkv_kernel()"), ("note", 0, "note: qkv_kernel()")):
                command = [sys.executable, str(TOOLS / "check_ptxas.py"), "--spills", mode, str(compiler), "-c", source]
                done = subprocess.run(command, capture_output=True, text=True, check=False)
                self.assertEqual(done.returncode, code, done.stderr)
                self.assertIn(word, done.stderr)


if __name__ == "__main__":
    unittest.main()
