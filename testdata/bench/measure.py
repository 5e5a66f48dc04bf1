"""Runs a command and measures its time and memory."""

import os
import subprocess
import sys
import time
from typing import NamedTuple


class Run(NamedTuple):
    seconds: float  # elapsed
    cpu: float      # seconds of user and system time
    mib: float      # peak resident memory


def run(argv, status=0, sync=False):
    """Runs a command and returns its Run. With sync, the disk is synced before the clock starts and what the command
    wrote is synced before it stops. Exits with the command's error output if its exit status is another one."""
    if sync:
        os.sync()
    started = time.monotonic()
    process = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    errors = process.stderr.read()
    _, ended, usage = os.wait4(process.pid, 0)
    if sync:
        os.sync()
    seconds = time.monotonic() - started
    process.returncode = os.waitstatus_to_exitcode(ended)
    if process.returncode != status:
        sys.exit(f"{' '.join(argv)}: exit status {process.returncode}, want {status}\n{errors.decode()[-2000:]}")
    return Run(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)
