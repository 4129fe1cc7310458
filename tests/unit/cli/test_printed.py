from __future__ import annotations

import io
import threading
import time

from twinstack.cli.printed import _LINES_MAX, Printed


def test_each_line_has_its_program_and_cannot_change_the_terminal() -> None:
    out = io.StringIO()
    printed = Printed(out)
    for line in ("2.98 °C\n".encode(), b"\x1b[2J\xff\x00junk\r\n", b"no end of line"):
        printed.add("car_1", line)
    printed.close()
    assert out.getvalue() == "car_1 | 2.98 °C\ncar_1 | ?[2J\ufffd?junk\ncar_1 | no end of line\n"


def test_what_the_terminal_cannot_write_is_replaced() -> None:
    raw = io.BytesIO()
    printed = Printed(io.TextIOWrapper(raw, encoding="ascii"))
    printed.add("car_1", "2.98 °C\n".encode())
    printed.close()
    assert raw.getvalue() == b"car_1 | 2.98 ?C\n"


class StandsStill(io.StringIO):
    def __init__(self) -> None:
        super().__init__()
        self.go_on = threading.Event()

    def write(self, text: str) -> int:
        self.go_on.wait(10)
        return super().write(text)


def test_a_terminal_that_stands_still_holds_up_nobody_and_what_is_left_out_is_said() -> None:
    out = StandsStill()
    printed = Printed(out)
    started = time.monotonic()
    for i in range(_LINES_MAX + 50):
        printed.add("car_1", b"%d\n" % i)
    assert time.monotonic() - started < 5
    out.go_on.set()
    printed.close()
    assert " lines were not shown" in out.getvalue()


class Gone(io.StringIO):
    def write(self, text: str) -> int:
        raise BrokenPipeError


def test_a_reader_that_left_ends_nothing() -> None:
    printed = Printed(Gone())
    for _ in range(3):
        printed.add("car_1", b"x\n")
    printed.close()
    assert not printed._thread.is_alive()
