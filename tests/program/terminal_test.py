"""The program on a terminal: keys of the line editor, Ctrl-C, history, the progress bar. Usage: terminal_test.py PROGRAM"""

import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import sys
import tempfile
import termios
import time
import unittest
from pathlib import Path

PROGRAM = ""
ENGINE = ["--kv-memory", "64MiB", "--threads", "1"]
CTRL_C, CTRL_D, BACKSPACE, UP, LEFT, HOME = "\x03", "\x04", "\x7f", "\x1b[A", "\x1b[D", "\x01"


class Terminal:
    """A program behind a terminal of its own."""

    def __init__(self, *args: str, state: str, columns: int = 80, locale: str = "C") -> None:
        self.seen = ""
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            try:
                fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
                os.execve(
                    PROGRAM,
                    [PROGRAM, *args],
                    # libedit keeps copies of its key bindings to the end, which counts as a leak.
                    {
                        "TERM": "xterm",
                        "XDG_STATE_HOME": state,
                        "HOME": state,
                        "LC_ALL": locale,
                        "ASAN_OPTIONS": "detect_leaks=0",
                    },
                )
            finally:
                os._exit(127)  # not a second test runner where there is no such program

    def read(self, seconds: float) -> bool:
        """Takes what comes within the time; False at the end."""
        if not select.select([self.fd], [], [], seconds)[0]:
            return True
        try:
            self.seen += os.read(self.fd, 65536).decode(errors="replace")
            self.seen = re.sub(r"\x1b\[\?2004[hl]", "", self.seen)  # paste marks asked for, or not
        except OSError:
            return False
        return True

    def wait_for(self, pattern: str, seconds: float = 60) -> str:
        """Waits for text that matches; takes it and what was before it."""
        end = time.monotonic() + seconds
        while not (found := re.search(pattern, self.seen)):
            if time.monotonic() > end or not self.read(0.1):
                raise AssertionError(f"no {pattern!r} in {self.seen!r}")
        taken, self.seen = self.seen[: found.end()], self.seen[found.end() :]
        return taken

    def prompt(self) -> str:
        """Waits until a line can be edited: keys before that are the kernel's business."""
        taken = self.wait_for("> ")
        while termios.tcgetattr(self.fd)[3] & termios.ICANON:
            time.sleep(0.001)
        return taken

    def send(self, keys: str) -> None:
        os.write(self.fd, keys.encode())

    def end(self, seconds: float = 60) -> int:
        """The exit code."""
        end = time.monotonic() + seconds
        while time.monotonic() < end and self.read(0.1):
            pass
        while (status := os.waitpid(self.pid, os.WNOHANG)) == (0, 0):
            if time.monotonic() > end:
                os.kill(self.pid, signal.SIGKILL)
                raise AssertionError(f"does not end; {self.seen!r}")
            time.sleep(0.01)
        os.close(self.fd)
        return os.waitstatus_to_exitcode(status[1])


class TerminalTest(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)

    def chat(self, *args: str, max_tokens: int = 3, **more: object) -> Terminal:
        terminal = Terminal(
            "chat", "--max-tokens", str(max_tokens), "--seed", "1", *ENGINE, *args, state=str(self.folder), **more
        )
        terminal.wait_for("Ctrl-D leaves")
        terminal.prompt()
        return terminal

    def said(self, terminal: Terminal) -> list[str]:
        """What the conversation has of the user, by /history."""
        terminal.send("/history\r")
        terminal.wait_for(r"/history\r*\n")
        text = terminal.prompt().replace("\r", "")
        return re.findall(r"^user: (.*?)\n(?=assistant: )", text, re.M | re.S)

    def leave(self, terminal: Terminal) -> None:
        terminal.send(CTRL_D)
        self.assertEqual(terminal.end(), 0)


class Editing(TerminalTest):
    def test_keys_work_on_characters_of_any_width(self) -> None:
        for locale in ("C", "C.UTF-8"):
            terminal = self.chat(locale=locale)
            terminal.send("naïve 你好吗" + BACKSPACE + LEFT + BACKSPACE + "们" + HOME + "¡\r")
            terminal.wait_for(r"tokens/s\]")
            terminal.prompt()
            self.assertEqual(self.said(terminal), ["¡naïve 们好"], locale)
            self.leave(terminal)

    def test_history_lasts_from_one_session_to_the_next(self) -> None:
        first = self.chat()
        first.send("what was said\r")
        first.wait_for(r"tokens/s\]")
        first.prompt()
        os.kill(first.pid, signal.SIGKILL)
        first.end()
        second = self.chat()
        second.send(UP + " before\r")
        second.wait_for(r"tokens/s\]")
        second.prompt()
        self.assertEqual(self.said(second), ["what was said before"])
        self.leave(second)
        mode = (self.folder / "spate" / "chat_history").stat().st_mode & 0o777
        self.assertEqual(mode, 0o600)

    def test_several_lines_in_three_ways(self) -> None:
        terminal = self.chat()
        for keys, text in (
            ("one\\\rtwo\r", "one\ntwo"),
            ('"""\rthree\r\rfour\r"""\r', "three\n\nfour\n"),
            ("\x1b[200~five\rsix\r\x1b[201~\r", "five\nsix"),
        ):
            terminal.send(keys)
            terminal.wait_for(r"tokens/s\]")
            terminal.prompt()
            self.assertEqual(self.said(terminal)[-1], text)
        self.leave(terminal)

    def test_a_very_long_line_is_taken_whole(self) -> None:
        terminal = self.chat()
        text = "a very long line " * 600
        for i in range(0, len(text), 500):
            terminal.send(text[i : i + 500])
            terminal.read(0.01)
        terminal.send("\r")
        terminal.wait_for(r"fills the context|tokens/s\]", 120)
        terminal.prompt()
        self.leave(terminal)


class Interruptions(TerminalTest):
    def test_ctrl_c_drops_the_line_and_not_the_program(self) -> None:
        terminal = self.chat()
        terminal.send("not this" + CTRL_C)
        terminal.prompt()
        terminal.send('"""\rnor this' + CTRL_C)
        terminal.wait_for(r"\^C\r*\n")
        terminal.prompt()
        terminal.send("this\r")
        terminal.wait_for(r"tokens/s\]")
        terminal.prompt()
        self.assertEqual(self.said(terminal), ["this"])
        self.leave(terminal)

    def test_ctrl_c_stops_the_answer_and_not_the_program(self) -> None:
        terminal = self.chat("--ignore-eos", max_tokens=1900)
        for word in ("first", "second"):
            terminal.send(word + "\r")
            terminal.wait_for(word + r"\r*\n.{20}")
            terminal.send(CTRL_C)
            line = terminal.wait_for(r"first token after .* (\d+) tokens, .*tokens/s\]")
            self.assertLess(int(re.findall(r"(\d+) tokens, ", line)[-1]), 1900)
            terminal.prompt()
        self.assertEqual(self.said(terminal), ["first", "second"])
        self.leave(terminal)

    def test_ctrl_d_leaves_only_an_empty_line(self) -> None:
        terminal = self.chat()
        terminal.send("x" + CTRL_D + BACKSPACE)
        terminal.send("/exit\r")
        self.assertEqual(terminal.end(), 0)


class Commands(TerminalTest):
    def test_unknown_ones_get_the_list(self) -> None:
        terminal = self.chat()
        terminal.send("/fly\r")
        self.assertIn("/reset", terminal.wait_for("Ctrl-C stops"))
        terminal.prompt()
        self.leave(terminal)

    def test_reset_and_retry(self) -> None:
        terminal = self.chat()
        terminal.send("/retry\r")
        terminal.wait_for("nothing to answer yet")
        terminal.prompt()
        for keys in ("one\r", "/retry\r"):
            terminal.send(keys)
            terminal.wait_for(r"tokens/s\]")
            terminal.prompt()
        self.assertEqual(self.said(terminal), ["one"])
        terminal.send("/reset\r")
        terminal.prompt()
        self.assertEqual(self.said(terminal), [])
        self.leave(terminal)


class Progress(TerminalTest):
    def test_the_bar_keeps_to_the_width_of_the_terminal(self) -> None:
        source = self.folder / "in.jsonl"
        line = {"prompt": "Once upon a time", "max_tokens": 20, "ignore_eos": True}
        source.write_text((json.dumps(line) + "\n") * 100_000)
        redraw = "\r\x1b[K"
        for columns in (20, 44, 100):
            output = self.folder / f"{columns}.jsonl"
            terminal = Terminal(
                "batch", "-i", str(source), "-o", str(output), *ENGINE, state=str(self.folder), columns=columns
            )
            drawn = terminal.wait_for(f"({re.escape(redraw)}[^\r]+){{4}}{re.escape(redraw)}", 120)
            drawn = drawn.split(redraw)[1:-1]  # before it is the memory plan
            terminal.send(CTRL_C)
            terminal.wait_for("interrupted: start the same command again")
            self.assertEqual(terminal.end(), 1)
            self.assertEqual(len(drawn), 4)
            for text in drawn:
                self.assertLess(len(text), columns)
                self.assertNotIn("\n", text)
            self.assertEqual(any(x.startswith("[") for x in drawn), columns > 40)

    def test_the_bar_is_gone_when_all_is_done(self) -> None:
        source = self.folder / "in.jsonl"
        source.write_text((json.dumps({"prompt": "Once", "max_tokens": 4}) + "\n") * 300)
        terminal = Terminal(
            "batch", "-i", str(source), "-o", str(self.folder / "out.jsonl"), *ENGINE, state=str(self.folder)
        )
        drawn = terminal.wait_for("300 requests in", 120)
        self.assertEqual(terminal.end(), 0)
        self.assertTrue(drawn.endswith("\r\x1b[K300 requests in"), drawn)


if __name__ == "__main__":
    PROGRAM = str(Path(sys.argv.pop(1)).resolve())
    unittest.main()
