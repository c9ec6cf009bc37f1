"""Machine code from LLVM's text: parse, verify, optimise, look up.  The one module that imports llvmlite.

The machine code belongs to an engine, which the returned object keeps; no address leaves it.  Where llvmlite
is missing, or no code can be made (no executable memory, a C library without a function), `make` raises, and
the kernel goes on with generated Python.
"""

import ctypes
import ctypes.util
import mmap
import os
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from tinygrad_bp.compiler import locks
from tinygrad_bp.errors import CompileError, MissingExtraError

_ready: dict[str, Any] = {}
_unused: list[Any] = []  # code to be freed

PTR, INT, NUM = ctypes.c_void_p, ctypes.c_int64, ctypes.c_double
CALLS: dict[str, Any] = {"evaluate": (NUM, PTR, INT), "descend": (NUM, PTR, INT), "train": (INT, PTR, INT),
                         "shuffle": (INT, PTR, INT, PTR, INT)}  # fmt: skip
ENTRIES = (*CALLS, "call")
OLDEST = (20,)  # LLVM, in llvmlite 0.45: before it, text with opaque pointers is refused
INSTRUCTIONS = {"fma": "fma", "floor": "sse4.1", "ceil": "sse4.1", "roundeven": "sse4.1"}  # of what feature
BAKED = """define double @call() {{
  %result = call double inttoptr (i64 {function} to ptr)(ptr inttoptr (i64 {frame} to ptr), i64 0)
  ret double %result
}}"""


class _Code:
    """What must be kept as long as machine code is used.

    It is freed while no other thread compiles, so that no fork comes in between.
    """

    def __init__(self, *kept: Any) -> None:
        weakref.finalize(self, _free, kept).atexit = False


def _free(kept: Any) -> None:
    _unused.append(kept)
    if locks.compiling.acquire(blocking=False):  # else the thread that compiles now does it next time
        _unused.clear()
        locks.compiling.release()


class Machine:
    """The functions of one module as machine code, by name; each takes a frame and the rank of a thread."""

    def __init__(self, code: "_Code", addresses: dict[str, int]) -> None:
        self._code, self._addresses = code, addresses
        self.calls: dict[str, Any] = {}
        for name, address in addresses.items():
            kind: Any = ctypes.CFUNCTYPE(*CALLS[name])
            self.calls[name] = kind(address)

    def address(self, name: str) -> int:
        """Where a function begins, for a frame that calls it; whoever keeps that keeps this machine."""
        return self._addresses[name]

    def baked(self, name: str, keep: Any, frame: int, brief: bool) -> Any:
        """A function without arguments that calls this one on one frame; `keep` is what must live as long.

        It costs less than a tenth of a microsecond. A call that is not brief lets other Python threads run.
        """
        try:
            code, addresses = _made(BAKED.format(function=self._addresses[name], frame=frame), 0)
        except CompileError:  # what is there already can still be called, a little slower
            return partial(_call, self.calls[name], frame, (self, keep))
        call: Any = (ctypes.PYFUNCTYPE if brief else ctypes.CFUNCTYPE)(NUM)(addresses["call"])
        call.keep = self, keep, code
        return call

    def __reduce__(self) -> Any:
        raise TypeError("machine code cannot be copied or pickled: compile again")


def _call(function: Any, frame: int, keep: Any) -> Any:
    return function(frame, 0)


@contextmanager
def _doing(what: str) -> Iterator[None]:
    """What LLVM raises becomes a CompileError of one line: the rest of its messages is the code itself."""
    try:
        yield
    except (OSError, RuntimeError, MemoryError) as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise CompileError(f"{what}: {lines[0].strip()[:200]}") from None


def llvm() -> Any:
    """The binding, initialised. Raises MissingExtraError without it, CompileError where it does not work."""
    with locks.compiling:
        if "binding" not in _ready:
            with _doing("llvmlite does not start"):
                try:
                    from llvmlite import binding
                except ImportError:
                    raise MissingExtraError("native code", "llvmlite", "fast") from None
                if binding.llvm_version_info < OLDEST:
                    raise CompileError("native code needs llvmlite 0.45 or newer: pip install -U llvmlite")
                binding.initialize_native_target()
                binding.initialize_native_asmprinter()
                cpu, features = binding.get_host_cpu_name(), binding.get_host_cpu_features()
            _ready.update(binding=binding, cpu=cpu, features=features)
        return _ready["binding"]


def _memory_can_run() -> bool:
    """Whether this process may run what it wrote to memory: LLVM would end the process where it may not.

    One page is treated as LLVM treats its own: written first, made executable then.
    """
    if os.name == "nt":
        return True
    with mmap.mmap(-1, mmap.PAGESIZE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as page:
        begin = ctypes.c_char.from_buffer(page)
        mprotect = ctypes.CDLL(None).mprotect
        mprotect.argtypes = PTR, ctypes.c_size_t, ctypes.c_int
        may: bool = mprotect(ctypes.addressof(begin), mmap.PAGESIZE, mmap.PROT_READ | mmap.PROT_EXEC) == 0
        del begin
    return may


def vectors() -> tuple[int, int]:
    """How many doubles a vector of this processor holds, and how many such registers there are."""
    llvm()
    features = _ready["features"]
    width = 8 if features.get("avx512f") else 4 if features.get("avx") else 2
    return width, 32 if width == 8 or features.get("neon") else 16


def _found(name: str) -> bool:
    """Whether LLVM can call this function of the C library; shows it where."""
    binding = _ready["binding"]
    if binding.address_of_symbol(name):
        return True
    libraries = ("ucrtbase", "kernel32") if os.name == "nt" else (None, ctypes.util.find_library("m"))
    for library in libraries:
        try:
            function = getattr(ctypes.CDLL(library), name)
        except (OSError, TypeError, AttributeError):
            continue
        binding.add_symbol(name, ctypes.cast(function, PTR).value)
        return True
    return False


def _in_the_c_library(function: Any) -> str:
    """The C function that is needed, or "": also for an intrinsic without an instruction here."""
    name: str = function.name
    if name.startswith("llvm."):
        name = name.split(".")[1]
        return name if _ready["features"].get(INSTRUCTIONS.get(name)) is False else ""
    return name if function.is_declaration else ""


def make(text: str, effort: int = 2) -> Machine:
    """Machine code of a module.

    Effort 2 is for a few statements on plain numbers, whose loops it writes out; 1 is for code that is loops
    over vectors already, and 0 for long code without loops. All that LLVM can do takes twice as long, and
    hardly gains.

    Raises CompileError if LLVM refuses it, or if it calls a function that this process does not have.
    """
    code, addresses = _made(text, effort)
    return Machine(code, {name: address for name, address in addresses.items() if name in CALLS})


def _made(text: str, effort: int) -> tuple[_Code, dict[str, int]]:
    """The code, and where each of its functions begins."""
    binding = llvm()
    with locks.compiling:
        _unused.clear()
        with _doing("LLVM does not accept the code"):
            module = binding.parse_assembly(text)
            module.verify()
        missing = [name for name in map(_in_the_c_library, module.functions) if name and not _found(name)]
        if missing:  # LLVM would end the process
            raise CompileError(f"the C library here has no {', '.join(missing)}")
        with _doing("LLVM cannot improve the code"):
            machine = _improved(binding, module, effort)
        with _doing("no machine code can be made here"):
            if not _memory_can_run():
                raise CompileError("this process is not allowed to run code that it writes to memory")
            engine = binding.create_mcjit_compiler(module, machine)
            engine.finalize_object()
            names = [f.name for f in module.functions if f.name in ENTRIES and not f.is_declaration]
            return _Code(engine, module, machine), {name: engine.get_function_address(name) for name in names}


def _improved(binding: Any, module: Any, effort: int) -> Any:
    """Run LLVM's passes over a module; the target machine that they were run for."""
    target = binding.Target.from_default_triple()
    machine = target.create_target_machine(
        cpu=_ready["cpu"], features=_ready["features"].flatten(), opt=1 if effort else 0, jit=True
    )
    builder = binding.create_pass_builder(machine, binding.create_pipeline_tuning_options(speed_level=0))
    if effort == 0:
        passes = builder.getModulePassManager()
    else:
        passes = binding.create_new_module_pass_manager()
        passes.add_always_inliner_pass()
        passes.add_sroa_pass()
        passes.add_simplify_cfg_pass()
        passes.add_loop_rotate_pass()
        if effort == 2:
            passes.add_loop_unroll_pass()
        passes.add_instruction_combine_pass()
        passes.add_simplify_cfg_pass()
    passes.run(module, builder)
    return machine
