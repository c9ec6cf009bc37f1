"""The machine's own limit: what one core can do at most, so that a figure can be told as a part of it.

`peak` times a loop of independent fused multiply-adds in registers, made by llvmlite: no kernel of doubles is
faster here.  `dgemm` is what NumPy's BLAS reaches on large matrices.
"""

import ctypes
import os
import platform
import shutil
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

CORES = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
CHAINS, REPEATS = 24, 2_000_000  # independent sums: more than latency times units


def processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def allot(threads: int) -> None:
    """Let processes started from now on have as many cores as threads; thread pools size themselves to it."""
    if CORES:
        os.sched_setaffinity(0, CORES[-threads:])


def environment(threads: int) -> dict[str, str]:
    """The variables that number libraries read when they are imported."""
    ours = dict(os.environ)
    for name in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"):
        ours.pop(name, None)
    for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        ours[name] = str(threads)
    if threads == 1:
        ours["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
    ours.update(JAX_PLATFORMS="cpu", JAX_ENABLE_X64="1", PYTHONHASHSEED="0")
    return ours


def peak(threads: int) -> tuple[float, int]:
    """The most GFLOP/s of so many threads, and the bits of a vector; raises ImportError without llvmlite."""
    run, keep, lanes = _multiply_adds()
    best = max(_rate(run, threads, 2 * lanes * CHAINS * REPEATS) for _ in range(7))
    del keep
    return best / 1e9, lanes * 64


def _rate(run: Callable[[int], float], threads: int, operations: int) -> float:
    workers = [threading.Thread(target=run, args=(REPEATS,)) for _ in range(threads - 1)]
    clock = time.perf_counter if workers else time.process_time
    start = clock()
    for worker in workers:
        worker.start()
    run(REPEATS)
    for worker in workers:
        worker.join()
    return threads * operations / (clock() - start)


def _multiply_adds() -> tuple[Callable[[int], float], Any, int]:
    """A loop of CHAINS vector fmas that do not wait for one another, as a function of its trips."""
    from llvmlite import binding

    binding.initialize_native_target()
    binding.initialize_native_asmprinter()
    features = binding.get_host_cpu_features()
    lanes = 8 if features.get("avx512f") else 4 if features.get("avx") else 2
    vector, chains = f"<{lanes} x double>", range(CHAINS)
    half = f"<{', '.join(['double 0.5'] * lanes)}>"
    begin = [f"  %a{k} = phi {vector} [ zeroinitializer, %top ], [ %b{k}, %loop ]" for k in chains]
    fmas = [
        f"  %b{k} = call {vector} @llvm.fma.v{lanes}f64({vector} %a{k}, {vector} {half}, {vector} {half})"
        for k in chains
    ]
    total = [f"  %s{k + 1} = fadd {vector} %{f's{k}' if k else 'b0'}, %b{k}" for k in chains]
    text = "\n".join([
        f"declare {vector} @llvm.fma.v{lanes}f64({vector}, {vector}, {vector})",
        "define double @run(i64 %n) {", "top:", "  br label %loop", "loop:",
        "  %i = phi i64 [ 0, %top ], [ %j, %loop ]", *begin, *fmas, "  %j = add i64 %i, 1",
        "  %more = icmp slt i64 %j, %n", "  br i1 %more, label %loop, label %end", "end:", *total,
        f"  %r = extractelement {vector} %s{CHAINS}, i32 0", "  ret double %r", "}",
    ])  # fmt: skip
    module = binding.parse_assembly(text)
    # no pass is run: LLVM would see that all chains are the same sum
    target = binding.Target.from_default_triple().create_target_machine(
        cpu=binding.get_host_cpu_name(), features=features.flatten(), opt=1, jit=True
    )
    engine = binding.create_mcjit_compiler(module, target)
    engine.finalize_object()
    run = ctypes.CFUNCTYPE(ctypes.c_double, ctypes.c_int64)(engine.get_function_address("run"))
    return run, (engine, module, target), lanes


def dgemm(threads: int) -> float:
    """The GFLOP/s of a product of two 1000 by 1000 matrices in NumPy; raises ImportError without it."""
    import numpy as np

    n = 1000
    a, b = np.full((n, n), 0.5), np.full((n, n), 0.25)
    clock = time.perf_counter if threads > 1 else time.process_time
    best = 0.0
    for _ in range(9):
        start = clock()
        a.dot(b)
        best = max(best, 2 * n**3 / (clock() - start))
    return best / 1e9


def compilers() -> list[str]:
    """The versions of what makes machine code here."""
    found = []
    try:
        import llvmlite

        found.append(f"llvmlite {llvmlite.__version__}")
    except ImportError:
        pass
    if path := shutil.which("gcc"):
        done = subprocess.run([path, "-dumpfullversion"], capture_output=True, text=True, check=False)
        found.append(f"gcc {done.stdout.strip()}")
    return found
