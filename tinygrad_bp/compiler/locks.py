"""Two locks, always taken in this order, and by a fork before it copies the process: a child must not find a
lock held by a thread that it does not have. (LLVM has locks of its own, which would stay held for ever.)"""

import os
import threading

compiling = threading.RLock()  # held while code is made: LLVM is one for the process
nudging = threading.RLock()  # held while parameters have other numbers: who reads them takes it


def _acquire() -> None:
    compiling.acquire()
    nudging.acquire()


def _release() -> None:
    nudging.release()
    compiling.release()


if hasattr(os, "register_at_fork"):  # where processes fork
    os.register_at_fork(before=_acquire, after_in_parent=_release, after_in_child=_release)
