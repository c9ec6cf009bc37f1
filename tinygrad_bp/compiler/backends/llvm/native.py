"""Machine code from LLVM's text: parse, verify, optimise, look up.  The one room that knows llvmlite.

The machine code belongs to an engine, which the returned object keeps; no address leaves it.  Where llvmlite
is missing, or no code can be made (no executable memory, a C library without a function), `make` raises, and
the kernel goes on with generated Python.  Read kernel.py next.
"""

import ctypes
import ctypes.util
import os
import threading
from typing import Any

from tinygrad_bp.errors import CompileError, MissingExtraError

_lock = threading.RLock()
if hasattr(os, "register_at_fork"):  # where processes fork
    os.register_at_fork(after_in_child=lambda: globals().update(_lock=threading.RLock()))
_ready: dict[str, Any] = {}

PTR, INT, NUM = ctypes.c_void_p, ctypes.c_int64, ctypes.c_double
CALLS: dict[str, Any] = {"evaluate": (NUM, PTR, INT), "descend": (NUM, PTR, INT), "train": (INT, PTR, INT)}
ENTRIES = (*CALLS, "call")
INSTRUCTIONS = {"fma": "fma", "floor": "sse4.1", "ceil": "sse4.1", "roundeven": "sse4.1"}  # of what feature
BAKED = """define double @call() {{
  %result = call double inttoptr (i64 {function} to ptr)(ptr inttoptr (i64 {frame} to ptr), i64 0)
  ret double %result
}}"""


def compiling() -> Any:
    """The lock under which code is made."""
    return _lock


class Machine:
    """The functions of one module as machine code, by name; each takes a frame and the rank of a thread."""

    def __init__(self, keep: tuple[Any, ...], addresses: dict[str, int]) -> None:
        self._keep, self._addresses = keep, addresses  # the code lives as long as what is kept
        self.calls: dict[str, Any] = {}
        for name, address in addresses.items():
            kind: Any = ctypes.CFUNCTYPE(*CALLS[name])
            self.calls[name] = kind(address)

    def baked(self, name: str, keep: Any, frame: int, brief: bool) -> Any:
        """A function without arguments that calls this one on one frame; `keep` is what must live as long.

        It costs less than a tenth of a microsecond. A call that is not brief lets other Python threads run.
        """
        code, addresses = _made(BAKED.format(function=self._addresses[name], frame=frame), 0)
        call: Any = (ctypes.PYFUNCTYPE if brief else ctypes.CFUNCTYPE)(NUM)(addresses["call"])
        call.keep = self, keep, code
        return call

    def __reduce__(self) -> Any:
        raise TypeError("machine code cannot be copied or pickled: compile again")


def llvm() -> Any:
    """The binding, initialised. Raises MissingExtraError without it, CompileError for one too old."""
    with _lock:
        if "binding" not in _ready:
            try:
                from llvmlite import binding
            except ImportError:
                raise MissingExtraError("native code", "llvmlite", "fast") from None
            if not hasattr(binding, "create_pass_builder"):
                raise CompileError("native code needs llvmlite 0.44 or newer: pip install -U llvmlite")
            binding.initialize_native_target()
            binding.initialize_native_asmprinter()
            _ready["binding"] = binding
            _ready["cpu"] = binding.get_host_cpu_name()
            _ready["features"] = binding.get_host_cpu_features()
        return _ready["binding"]


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
    """The name of a function that is called and not defined: an instruction is one where there is none."""
    name: str = function.name
    if name.startswith("llvm."):
        name = name.split(".")[1]
        return name if _ready["features"].get(INSTRUCTIONS.get(name)) is False else ""
    return name if function.is_declaration else ""


def make(text: str, effort: int = 2) -> Machine:
    """Machine code of a module.

    Effort 2 is all that LLVM can do; 1 leaves out what hardly gains in code that is loops already, and 0 is
    for long code without loops, where there is much to read and little to gain.

    Raises CompileError if LLVM refuses it, or if it calls a function that this process does not have.
    """
    keep, addresses = _made(text, effort)
    return Machine(keep, {name: address for name, address in addresses.items() if name in CALLS})


def _made(text: str, effort: int) -> tuple[tuple[Any, ...], dict[str, int]]:
    """What must be kept as long as the code is used, and where each function begins."""
    binding = llvm()
    with _lock:
        try:
            module = binding.parse_assembly(text)
            module.verify()
        except RuntimeError as error:
            raise CompileError(f"LLVM does not accept the code: {error}") from None
        missing = [name for name in map(_in_the_c_library, module.functions) if name and not _found(name)]
        if missing:  # LLVM would end the process
            raise CompileError(f"the C library here has no {', '.join(missing)}")
        target = binding.Target.from_default_triple()
        machine = target.create_target_machine(
            cpu=_ready["cpu"], features=_ready["features"].flatten(), opt=2 if effort else 0, jit=True
        )
        options = binding.create_pipeline_tuning_options(speed_level=2 if effort == 2 else 0)
        options.loop_vectorization = False  # the text has vectors where they pay
        builder = binding.create_pass_builder(machine, options)
        if effort != 1:
            passes = builder.getModulePassManager()
        else:
            passes = binding.create_new_module_pass_manager()
            passes.add_always_inliner_pass()
            passes.add_sroa_pass()
            passes.add_instruction_combine_pass()
            passes.add_simplify_cfg_pass()
        passes.run(module, builder)
        try:
            engine = binding.create_mcjit_compiler(module, machine)
            engine.finalize_object()
        except (RuntimeError, MemoryError) as error:
            raise CompileError(f"no machine code can be made here: {error}") from None
        names = [f.name for f in module.functions if f.name in ENTRIES and not f.is_declaration]
        return (engine, module, machine), {name: engine.get_function_address(name) for name in names}
