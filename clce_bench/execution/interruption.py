"""Ctrl-C and SIGTERM are answered in two lines, whatever each job has to say about its end."""

import os
import signal
import sys
from collections.abc import Callable
from functools import partial
from threading import Event, Thread
from types import FrameType
from typing import NoReturn

MESSAGE = "Interrupted. Finished results and checkpoints are kept.\nThe same command continues from there."
TERMINATED = "Terminated. The jobs at work are finished first; the same command continues from there."

_asked = Event()


def answer_briefly(*, at_once: bool = False) -> None:
    """Answers Ctrl-C from now on: the message, and no more logging of this process.

    A process in the background, which Ctrl-C does not reach, stays so.

    Args:
        at_once: end the process, which has nothing to tidy up yet, instead of raising ``KeyboardInterrupt``.
    """
    if signal.getsignal(signal.SIGINT) != signal.SIG_IGN:
        signal.signal(signal.SIGINT, partial(_answer, at_once))


def answer_termination(end: Callable[[], object]) -> None:
    """Answers SIGTERM from now on: the message, and a call in a thread of its own.

    Args:
        end: begins the end. It may take a lock that the interrupted thread holds, which would wait for itself for ever.
    """

    def answer(_number: int, _frame: FrameType | None) -> None:
        if not _asked.is_set():
            _asked.set()
            print(TERMINATED, file=sys.stderr, flush=True)
        Thread(target=end).start()

    signal.signal(signal.SIGTERM, answer)


def end_by_signal() -> NoReturn:
    """Ends this process as Ctrl-C ends others, so that the shell that called it ends too."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    os.kill(os.getpid(), signal.SIGINT)
    raise SystemExit(130)


def was_interrupted() -> bool:
    """Says whether Ctrl-C or SIGTERM was answered."""
    return _asked.is_set()


def _answer(at_once: bool, _number: int, _frame: FrameType | None) -> None:
    if not _asked.is_set():
        _asked.set()
        print(f"\r{MESSAGE}", file=sys.stderr, flush=True)
        import logging  # Most processes are never asked, and start sooner without it.

        logging.disable(logging.CRITICAL)
    if at_once:
        end_by_signal()
    raise KeyboardInterrupt
