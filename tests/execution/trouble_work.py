"""What the workers of the tests of trouble do with tasks: by their number, in a folder."""

import os
import socket
import subprocess
import time

from daflow.execution.tasks.under_way import under_way
from daflow.names import Status
from daflow.records import Outcome

LONG = 5
"""The task that takes for ever, with a child process of its own; those before it take no time."""


def work(folder, tasks):
    """Do tasks one after the other under this thread's mark; the long one says who it is."""
    done = []
    with under_way(folder, tasks) as mark:
        for task in tasks:
            mark.begin(task)
            if task.index == LONG:
                child = subprocess.Popen(["sleep", "600"])
                (folder / "long.tmp").write_text(f"{os.getpid()} {child.pid}")
                (folder / "long.tmp").rename(folder / "long")
                time.sleep(600)
            done.append(Outcome(task, Status.OK, 0.01, socket.gethostname(), started=time.time()))
    return done
