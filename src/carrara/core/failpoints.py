"""Failpoints: named places in the code at which a test makes this process die, fail or wait.

`CARRARA_FAILPOINTS="register.before-commit=kill"`, several with commas. Nothing happens where none is set.
"""

from __future__ import annotations

import errno
import os
import signal
import time

ENVIRONMENT = "CARRARA_FAILPOINTS"


def reach(name: str) -> None:
    """Do what is asked of this place: `kill` this process, `raise` an OSError of a full disk, or `sleep:SECONDS`."""
    asked = os.environ.get(ENVIRONMENT)
    if not asked:
        return
    action, _, argument = dict(_pair(one) for one in asked.split(",")).get(name, "").partition(":")
    if action == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif action == "raise":
        raise OSError(errno.ENOSPC, f"failpoint {name}")
    elif action == "sleep":
        time.sleep(float(argument))


def _pair(text: str) -> tuple[str, str]:
    name, _, action = text.partition("=")
    return name, action
