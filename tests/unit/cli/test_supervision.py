"""Child processes: started, watched, and never left behind. The children are real."""

import os
import signal
import sys
import threading
import time

import pytest

from rhesis.backend.cli.failures import CommandFailed
from rhesis.backend.cli.supervise import Family, Interrupted, Interruptions, Program
from support.commands import assert_gone
from support.waiting import eventually

SLEEPS = "import time; print('up', flush=True); time.sleep(600)"
STUBBORN = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(600)"
)
FORKS = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print("up", flush=True)
time.sleep(600)
"""


def program(source: str, name: str = "child", stage: int = 0) -> Program:
    return Program(name, (sys.executable, "-c", source), stage=stage)


@pytest.fixture
def interruptions():
    with Interruptions() as entered:
        yield entered


def is_up(child) -> bool:
    return "up" in child.tail


def test_leaving_the_block_ends_children_and_what_they_forked(interruptions):
    with Family(interruptions) as family:
        child = family.start(program(FORKS))
        eventually(lambda: is_up(child), within=20, what="the child")
    assert_gone({child.process.pid})


def test_a_child_that_ignores_term_is_killed_when_patience_ends(interruptions):
    with Family(interruptions, patience_seconds=0.3) as family:
        child = family.start(program(STUBBORN))
        eventually(lambda: is_up(child), within=20, what="the child")
        began = time.monotonic()
    assert time.monotonic() - began < 10
    assert child.process.returncode == -signal.SIGKILL


def test_a_failure_inside_the_block_leaves_nothing(interruptions):
    with pytest.raises(RuntimeError, match="mine"), Family(interruptions) as family:
        child = family.start(program(SLEEPS))
        raise RuntimeError("mine")
    assert_gone({child.process.pid})


def test_lower_stages_have_ended_before_higher_ones_are_asked(interruptions, tmp_path):
    order = tmp_path / "order"
    source = f"""
import signal, sys, time
def end(*_):
    time.sleep(0.3)
    with open({str(order)!r}, "a") as file:
        file.write(sys.argv[1])
    sys.exit(0)
signal.signal(signal.SIGTERM, end)
print("up", flush=True)
time.sleep(600)
"""
    with Family(interruptions) as family:
        children = [
            family.start(Program(name, (sys.executable, "-c", source, name), stage=stage))
            for name, stage in (("c", 2), ("b", 1), ("a", 0))
        ]
        eventually(lambda: all(map(is_up, children)), within=30, what="the children")
    assert order.read_text() == "abc"


def test_a_child_that_ends_by_itself_is_a_failure_with_its_last_words(interruptions):
    with pytest.raises(CommandFailed, match=r"talker ended by itself \(exit code 3\): the reason"):
        with Family(interruptions) as family:
            family.start(program("print('the reason'); print(); raise SystemExit(3)", name="talker"))
            family.wait_until(lambda: False, seconds=20, what="nothing")


def test_waiting_for_something_that_never_comes_is_bounded(interruptions):
    with pytest.raises(CommandFailed, match="a miracle was not ready within 0.2 s"), Family(interruptions) as family:
        family.wait_until(lambda: False, seconds=0.2, what="a miracle")


def test_output_goes_to_a_file_or_to_the_terminal_under_the_childs_name(interruptions, tmp_path, capfd):
    with Family(interruptions, log=tmp_path / "logs") as family:
        child = family.start(program("print('hello')", name="quiet"))
        eventually(lambda: child.exit_code() == 0, within=20, what="its end")
    with Family(interruptions) as family:
        child = family.start(program("print('\\x1b[31mhello')", name="loud"))
        eventually(lambda: child.exit_code() == 0, within=20, what="its end")
    assert (tmp_path / "logs" / "quiet.log").read_text() == "hello\n"
    assert capfd.readouterr().err == "loud      | \\x1b[31mhello\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_stop_signal_interrupts_and_ends_the_children(number):
    before = signal.getsignal(number)
    with pytest.raises(Interrupted) as interrupted, Interruptions() as interruptions, Family(interruptions) as family:
        child = family.start(program(SLEEPS))
        eventually(lambda: is_up(child), within=20, what="the child")
        os.kill(os.getpid(), number)
        family.wait_for_an_end()
    assert interrupted.value.exit_code == 128 + number
    assert_gone({child.process.pid})
    assert signal.getsignal(number) is before, "the handlers are put back"


def test_a_signal_waits_while_a_child_is_being_made(interruptions):
    with pytest.raises(Interrupted):
        with interruptions.held():
            os.kill(os.getpid(), signal.SIGTERM)
            reached = True
    assert reached


def test_a_second_signal_while_stopping_does_not_wait_for_patience(interruptions):
    with Family(interruptions, patience_seconds=60) as family:
        child = family.start(program(STUBBORN))
        eventually(lambda: is_up(child), within=20, what="the child")
        threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
        began = time.monotonic()
    assert time.monotonic() - began < 30
    assert_gone({child.process.pid})
