"""The command line, asked in the tests' own process by the console script's function: a command costs no start."""

from __future__ import annotations

import io
import os
import sys
import traceback
from contextlib import chdir, redirect_stderr, redirect_stdout
from pathlib import Path
from subprocess import CompletedProcess
from unittest import mock

from carrara.cli.main import run


def carrara(*words: str | Path, cwd: Path | None = None) -> CompletedProcess[str]:
    """What `carrara WORDS` prints and how it ends. What is killed or waits for a signal needs a process of its own."""
    told, errors = (io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True) for _ in range(2))
    arguments = ["carrara", *map(str, words)]
    here = (mock.patch.object(sys, "argv", arguments), mock.patch.dict(os.environ), chdir(cwd or Path.cwd()))
    with here[0], here[1], here[2], redirect_stdout(told), redirect_stderr(errors):
        code = _ended()
    return CompletedProcess(arguments, code, *(stream.buffer.getvalue().decode() for stream in (told, errors)))


def _ended() -> int:
    try:
        run()
    except SystemExit as ending:
        return ending.code if isinstance(ending.code, int) else int(bool(ending.code))
    except Exception:  # what the interpreter does with what nobody caught
        traceback.print_exc()
        return 1
    return 0
