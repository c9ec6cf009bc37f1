"""The functions of a module that Python calls, in LLVM: evaluate, one step of descent, a stretch of steps.

All take a frame, a row of addresses and numbers, and the rank of the thread; a stretch takes several frames,
one for each size of batch.  The tiles of a batch are dealt out in shares that depend on the batch alone, each
share sums into a buffer of its own, and the buffers are added in order: so the bits do not depend on how many
threads there are.  Threads meet between the stages of a step.
"""

import os
from collections.abc import Iterator, Sequence

from tinygrad_bp.compiler.backends.llvm.blocks import Lanes
from tinygrad_bp.compiler.backends.llvm.text import Index, Text
from tinygrad_bp.compiler.backends.llvm.updates import Moves
from tinygrad_bp.compiler.roll import Rolled
from tinygrad_bp.compiler.rule import Rule, Update
from tinygrad_bp.compiler.schedule import Kind

ADDRESSES = (
    "scalars", "columns", "sums", "rows", "results", "losses", "memory", "meeting",
    "rates", "shared",  # of the rule: a rate for each step, and what is the same in all of them
    "lists", "lengths",  # sample numbers, those of one step after those of another; how many each step has
    "penalty", "penalty_frame", "penalty_scalars", "penalty_sums",  # another program, evaluated at each step
)  # fmt: skip
COUNTS = (
    "samples", "tile", "per_share", "shares", "buffers", "threads", "steps", "rule", "done", "spoilt",
    "frames", "named", "there",  # one for each size of batch; sample numbers in all; samples that there are
)  # fmt: skip
NUMBERS = ("t", "scale")
FRAME = (*ADDRESSES, *COUNTS, *NUMBERS)  # eight bytes each
YIELD = "SwitchToThread" if os.name == "nt" else "sched_yield"  # let another thread run
PATIENCE = 1 << 12  # turns of waiting before that
LINE = 8  # doubles in a line of the cache: threads that meet write to lines of their own
FEW = 32  # sums: so many are written out

SHUFFLE = """define i64 @shuffle(ptr %orders, i64 %n, ptr %seeds, i64 %epochs) {
entry:
  br label %epoch
epoch:
  %e = phi i64 [ 0, %entry ], [ %e.next, %ended ]
  %more = icmp slt i64 %e, %epochs
  br i1 %more, label %begin, label %done
begin:
  %first = mul i64 %e, %n
  %order = getelementptr i64, ptr %orders, i64 %first
  %seed = getelementptr i64, ptr %seeds, i64 %e
  %state = load i64, ptr %seed
  br label %sample
sample:
  %i = phi i64 [ 0, %begin ], [ %i.next, %sample ]
  %before = phi i64 [ %state, %begin ], [ %after, %sample ]
  %i.next = add i64 %i, 1
  %after = add i64 %before, u0x9E3779B97F4A7C15
  %a = lshr i64 %after, 30
  %b = xor i64 %after, %a
  %c = mul i64 %b, u0xBF58476D1CE4E5B9
  %d = lshr i64 %c, 27
  %f = xor i64 %c, %d
  %g = mul i64 %f, u0x94D049BB133111EB
  %x = lshr i64 %g, 32
  %scaled = mul i64 %x, %i.next
  %j = lshr i64 %scaled, 32
  %here = getelementptr i64, ptr %order, i64 %i
  %there = getelementptr i64, ptr %order, i64 %j
  store i64 %i, ptr %here
  %taken = load i64, ptr %there
  store i64 %taken, ptr %here
  store i64 %i, ptr %there
  %again = icmp slt i64 %i.next, %n
  br i1 %again, label %sample, label %ended
ended:
  %e.next = add i64 %e, 1
  br label %epoch
done:
  ret i64 0
}"""  # what `shuffled` of batches.py does


def rows_size(rolled: Rolled, lanes: Lanes) -> int:
    """Doubles that the rows of one thread take."""
    return -(-(lanes.apart or rolled.rows) * lanes.tile // LINE) * LINE + LINE


def sums_size(rolled: Rolled) -> int:
    """Doubles that one buffer of sums takes: whole vectors."""
    return -(-(len(rolled.outputs) + 1) // LINE) * LINE


def calls(
    rolled: Rolled,
    params: int,
    lanes: Lanes,
    update: Update | None,
    moving: Sequence[tuple[int, int]],
    passed: Sequence[tuple[int, int]],
    declared: dict[str, str],
) -> list[str]:
    """The texts of the functions; with an update, of a gradient and its loss, also those that train.

    `moving` are the parameters (first, end) that the functions `sums0`, `sums1` ... move by themselves, and
    `passed` those that are moved on the way back, in `others0` (by the first rule), `others1` ...
    """
    writer = _Calls(rolled, params, lanes, update, declared)
    texts = [writer.stage(), writer.evaluate()]
    if lanes.tile > lanes.width:
        texts.insert(0, writer.meet())
    if update and update.rules:
        texts += [writer.move(update), writer.descend(), writer.train(bool(moving or passed))]
        if update.listed:
            texts.append(SHUFFLE)
        if moving or passed:
            texts += map(writer.apply, range(len(update.rules)), update.rules)
            texts.append(writer.step(update, moving, passed))
    return texts


def field(text: Text, name: str) -> str:
    """A field of the frame."""
    kind = "ptr" if name in ADDRESSES else "i64" if name in COUNTS else "double"
    place = text.place("%frame", FRAME.index(name), kind)
    return text.let(f"load {kind}, ptr {place}, align 8, !invariant.load !0")


class _Calls:
    def __init__(
        self, rolled: Rolled, params: int, lanes: Lanes, update: Update | None, declared: dict[str, str]
    ) -> None:
        self.rolled, self.params, self.lanes, self.declared = rolled, params, lanes, declared
        self.penalty = bool(update and update.penalty)
        self.listed = bool(update and update.listed)
        self.sums = len(rolled.outputs) if rolled.summed else 0
        self.shared = lanes.tile > lanes.width  # a batch of several vectors, and maybe of several threads

    def text(self) -> Text:
        return Text(self.lanes.width, self.declared)

    field = staticmethod(field)

    # --- threads -------------------------------------------------------------------------------------------

    def meet(self) -> str:
        """Wait until all threads are here. The last one to come opens the gate for the others."""
        return f"""define internal void @meet(ptr %frame) noinline #0 {{
entry:
  %number = getelementptr i64, ptr %frame, i64 {FRAME.index("threads")}
  %threads = load i64, ptr %number
  %alone = icmp sle i64 %threads, 1
  br i1 %alone, label %on, label %several
several:
  %place = getelementptr ptr, ptr %frame, i64 {FRAME.index("meeting")}
  %here = load ptr, ptr %place
  %gate = getelementptr i64, ptr %here, i64 {LINE}
  %before = load atomic i64, ptr %gate acquire, align 8
  %others = atomicrmw add ptr %here, i64 1 acq_rel
  %all = add i64 %others, 1
  %last = icmp eq i64 %all, %threads
  br i1 %last, label %open, label %wait
open:
  store atomic i64 0, ptr %here release, align 8
  %next = add i64 %before, 1
  store atomic i64 %next, ptr %gate release, align 8
  br label %on
wait:
  %turn = phi i64 [ 0, %several ], [ %turned, %again ], [ %turned, %patient ]
  %now = load atomic i64, ptr %gate acquire, align 8
  %opened = icmp ne i64 %now, %before
  br i1 %opened, label %on, label %again
again:
  %turned = add i64 %turn, 1
  %rest = and i64 %turned, {PATIENCE - 1}
  %tired = icmp eq i64 %rest, 0
  br i1 %tired, label %patient, label %wait
patient:
  %unused = call i32 @{YIELD}()
  br label %wait
on:
  ret void
}}

declare i32 @{YIELD}()"""

    def meeting(self, text: Text) -> None:
        if self.shared:
            text.do("call void @meet(ptr %frame)")

    def slice(self, text: Text, total: int) -> tuple[Index, Index]:
        """The part of `total` numbers that is this thread's: whole lines."""
        if not self.shared:
            return 0, total
        threads = self.field(text, "threads")
        lines = text.let(f"udiv i64 {text.index(threads, -(-total // LINE) - 1)}, {threads}")
        first = text.let(f"mul i64 {text.index((LINE, lines))}, %rank")
        return text.smallest(first, total), text.smallest(text.index(first, (LINE, lines)), total)

    @staticmethod
    def turns(text: Text, first: Index, end: Index) -> Iterator[Index]:
        """Vectors of numbers from first to end: written out if they are few."""
        if isinstance(first, int) and isinstance(end, int) and end - first <= FEW:
            yield from range(first, end, text.width)
        else:
            with text.loop(first, end, text.width) as k:
                yield k

    # --- stages of a step ----------------------------------------------------------------------------------

    def stage(self) -> str:
        """All tiles, then the sums: scaled, and whether one of them is not finite."""
        text = self.text()
        scalars, sums, rows = (self.field(text, name) for name in ("scalars", "sums", "rows"))
        once = any(nest.kind in (Kind.ONCE, Kind.COUNT) for nest in self.rolled.nests)
        if once or self.penalty:
            with text.only_if(text.let("icmp eq i64 %rank, 0")):
                if once:
                    count = self.field(text, "samples")
                    text.do(f"call void @once(ptr {scalars}, ptr {rows}, ptr {sums}, i64 {count})")
                if self.penalty:
                    self.penalize(text, scalars)
            self.meeting(text)
        self.tiles(text, scalars, sums, rows)
        if not self.sums:
            text.do("ret i64 0")
        elif self.shared:
            self.meeting(text)
            text.do(f"ret i64 {self.agreed(text, self.settle(text, sums), 0)}")
        else:
            text.do(f"ret i64 {self.settle(text, sums)}")
        return self.function("i64", "stage", "ptr %frame, ptr %list, i64 %rank, i1 %fresh", text)

    def agreed(self, text: Text, bits: str, board: int) -> str:
        """What any thread has found, for all of them; each kind of question has a board of its own."""
        if not self.shared:
            return bits
        flags = text.place(self.field(text, "meeting"), 2 * LINE, "i64")
        flags = text.place(flags, text.index((board * LINE, self.field(text, "threads"))), "i64")
        text.store(bits, flags, text.index((LINE, "%rank")), "i64")
        self.meeting(text)
        found = text.variable("i64")
        text.set(found, "0", "i64")
        with text.loop(0, self.field(text, "threads")) as rank:
            flag = text.load(flags, text.index((LINE, rank)), "i64")
            text.set(found, text.let(f"or i64 {text.get(found, 'i64')}, {flag}"), "i64")
        return text.get(found, "i64")

    def penalize(self, text: Text, scalars: str) -> None:
        """Evaluate the penalty at the parameters of now."""
        names = ("penalty", "penalty_frame", "penalty_scalars")
        function, frame, into = (self.field(text, name) for name in names)
        name = "llvm.memcpy.p0.p0.i64"
        self.declared.setdefault(name, f"declare void @{name}(ptr, ptr, i64, i1)")
        text.do(f"call void @{name}(ptr {into}, ptr {scalars}, i64 {8 * self.params}, i1 false)")
        text.let(f"call double {function}(ptr {frame}, i64 0)")

    def tiles(self, text: Text, scalars: str, sums: str, rows: str) -> None:
        columns, results, count = (self.field(text, name) for name in ("columns", "results", "samples"))
        data = f"ptr {columns}, ptr %list, ptr {results}"
        if not self.shared:  # one tile, or tiles of one sample
            step = self.lanes.tile
            with text.loop(0, 1 if self.lanes.alone else count, step) as begin:
                live = count if step > 1 else "1"
                first = text.let(f"icmp eq i64 {begin}, 0")
                memory = f"ptr {scalars}, ptr {rows}, ptr {sums}"
                text.do(f"call void @tile({memory}, {data}, i64 {begin}, i64 {live}, i1 {first}, i1 true)")
            return
        names = ("tile", "per_share", "shares", "buffers", "threads")
        tile, each, shares, buffers, threads = (self.field(text, name) for name in names)
        mine = text.place(rows, text.index((rows_size(self.rolled, self.lanes), "%rank")))
        all_tiles = text.let(f"mul i64 {shares}, {each}")
        packed = text.let(f"icmp sle i64 {all_tiles}, {threads}")  # each thread's rows hold its only tile
        fresh = text.let(f"select i1 {packed}, i1 %fresh, i1 true")
        with text.loop("%rank", shares, threads) as share:
            buffer = text.smallest(share, text.index(buffers, -1))
            own = text.let(f"icmp eq i64 {buffer}, {share}")
            into = text.place(sums, text.index((sums_size(self.rolled), buffer)))
            start = text.let(f"mul i64 {text.let(f'mul i64 {share}, {each}')}, {tile}")
            end = text.index(start, text.let(f"mul i64 {each}, {tile}"))
            with text.loop(start, text.smallest(end, count), tile) as begin:
                rest = text.smallest(tile, text.let(f"sub i64 {count}, {begin}"))
                first = text.let(f"and i1 {own}, {text.let(f'icmp eq i64 {begin}, {start}')}")
                memory = f"ptr {scalars}, ptr {mine}, ptr {into}"
                text.do(f"call void @tile({memory}, {data}, i64 {begin}, i64 {rest}, i1 {first}, i1 {fresh})")

    def settle(self, text: Text, sums: str) -> str:
        """Add up the buffers and scale the sums; a number that is not 0 if one of them is not finite."""
        buffers, scale = self.field(text, "buffers"), self.field(text, "scale")
        extra = self.field(text, "penalty_sums") if self.penalty else ""
        size = sums_size(self.rolled)
        first, end = self.slice(text, size)
        with text.as_wide_as(self.lanes.vector):
            scales = text.spread(scale)
            wrong, total = text.variable(text.ints), text.variable(text.type)
            text.set(wrong, "zeroinitializer", text.ints)
            for k in self.turns(text, first, end):
                text.set(total, text.load_lanes(sums, k, 8))
                if self.shared:
                    with text.loop(1, buffers) as buffer:
                        more = text.load_lanes(sums, text.index((size, buffer), k), 8)
                        text.set(total, text.let(f"fadd {text.type} {text.get(total)}, {more}"))
                x = text.let(f"fmul {text.type} {text.get(total)}, {scales}")
                if extra:
                    x = text.let(f"fadd {text.type} {x}, {text.load_lanes(extra, k, 8)}")
                text.store_lanes(x, sums, k, 8)
                difference = text.let(f"fsub {text.type} {x}, {x}")  # 0, or nan for inf and nan
                bits = text.let(f"bitcast {text.type} {difference} to {text.ints}")
                text.set(wrong, text.let(f"or {text.ints} {text.get(wrong, text.ints)}, {bits}"), text.ints)
            return text.any_bit(text.get(wrong, text.ints))

    def move(self, update: Update) -> str:
        """Every parameter by its gradient; a number that is not 0 if one is no longer finite."""
        text = self.text()
        first, end = self.slice(text, self.params)
        wrong = text.variable("i64")
        text.set(wrong, "0", "i64")
        which = self.field(text, "rule")
        for place, rule in enumerate(update.rules):
            alone = len(update.rules) == 1
            with text.only_if("true" if alone else text.let(f"icmp eq i64 {which}, {place}")):
                moves = Moves(text, rule, self.params, self.field, self.lanes.vector)
                text.set(wrong, moves.write(first, end), "i64")
        found = self.agreed(text, text.get(wrong, "i64"), 1)
        text.do(f"ret i64 {found}")
        return self.function("i64", "move", "ptr %frame, i64 %step, i64 %rank", text)

    # --- a step in which sums move their parameters at once -------------------------------------------------

    def apply(self, place: int, rule: Rule) -> str:
        """Some parameters by their gradients, which are not scaled yet; not 0 if one is not finite."""
        text = self.text()
        moves = Moves(text, rule, self.params, self.field, self.lanes.vector)
        moves.sums, moves.scale = text.place("%g", text.let("sub i64 0, %first")), self.field(text, "scale")
        with text.as_wide_as(1):
            once = {term: text.load("%once", k) for k, term in enumerate(rule.shared_terms)}
        found = moves.write("%first", text.let("add i64 %first, %count"), once)
        text.do(f"ret i64 {found}")
        given = "ptr %frame, ptr %once, ptr %g, i64 %first, i64 %count"
        return f"define internal i64 @apply{place}({given}) noinline #0 {{\n{text.body()}\n}}"

    def step(
        self, update: Update, moving: Sequence[tuple[int, int]], passed: Sequence[tuple[int, int]]
    ) -> str:
        """A whole step; a number that is not 0 if one is no longer finite, and parameters may be spoilt."""
        text = self.text()
        scalars, sums, rows = (self.field(text, name) for name in ("scalars", "sums", "rows"))
        count = self.field(text, "samples")
        if any(nest.kind in (Kind.ONCE, Kind.COUNT) for nest in self.rolled.nests):
            text.do(f"call void @once(ptr {scalars}, ptr {rows}, ptr {sums}, i64 {count})")
        most = max(len(rule.shared_terms) for rule in update.rules)
        once, wrong = text.variable(f"[{most + 1} x double]"), text.variable("i64")
        applies, others = text.variable("ptr"), text.variable("ptr")
        for place, rule in enumerate(update.rules):
            alone = len(update.rules) == 1
            which = "true" if alone else text.let(f"icmp eq i64 {self.field(text, 'rule')}, {place}")
            with text.only_if(which), text.as_wide_as(1):
                numbers = Moves(text, rule, self.params, self.field, self.lanes.vector).once()
                for k, term in enumerate(rule.shared_terms):
                    text.store(numbers[term], once, k)
                text.set(applies, f"@apply{place}", "ptr")
                text.set(others, f"@others{place}", "ptr")
        memory = f"ptr {scalars}, ptr {rows}, ptr {sums}"
        data = f"ptr {self.field(text, 'columns')}, ptr %list, i64 {count}, i1 %fresh"
        given = f"{memory}, {data}, ptr %frame, ptr {once}"
        text.set(wrong, text.let(f"call i64 {text.get(others, 'ptr')}({given})"), "i64")
        loss = text.let(f"fmul double {text.load(sums, self.sums - 1)}, {self.field(text, 'scale')}")
        text.store(loss, sums, self.sums - 1)
        difference = text.let(f"fsub double {loss}, {loss}")
        bits = text.let(f"bitcast double {difference} to i64")
        text.set(wrong, text.let(f"or i64 {text.get(wrong, 'i64')}, {bits}"), "i64")
        apply, end = text.get(applies, "ptr"), 0
        for first, after in [*sorted([*moving, *passed]), (self.params, self.params)]:
            if end < first:  # the gradients between are stored
                g = text.place(sums, end)
                given = f"ptr %frame, ptr {once}, ptr {g}, i64 {end}, i64 {first - end}"
                self.also(text, wrong, f"call i64 {apply}({given})")
            end = after
        for place in range(len(moving)):
            given = f"{memory}, i64 {count}, ptr %frame, ptr {once}, ptr {apply}"
            self.also(text, wrong, f"call i64 @sums{place}({given})")
        text.do(f"ret i64 {text.get(wrong, 'i64')}")
        given = "ptr %frame, ptr %list, i64 %step, i1 %fresh"
        return f"define internal i64 @step({given}) noinline #0 {{\n{text.body()}\n}}"

    @staticmethod
    def also(text: Text, wrong: str, call: str) -> None:
        text.set(wrong, text.let(f"or i64 {text.get(wrong, 'i64')}, {text.let(call)}"), "i64")

    # --- what Python calls ---------------------------------------------------------------------------------

    def evaluate(self) -> str:
        """One evaluation; the last sum, or the last result of the first sample."""
        text = self.text()
        self.staged(text)
        where = "sums" if self.sums else "results"
        text.do(f"ret double {text.load(self.field(text, where), max(0, len(self.rolled.outputs) - 1))}")
        return self.function("double", "evaluate", "ptr %frame, i64 %rank", text, "")

    def staged(self, text: Text) -> str:
        return text.let(f"call i64 @stage(ptr %frame, ptr {self.field(text, 'lists')}, i64 %rank, i1 true)")

    def descend(self) -> str:
        """One step; the loss before it, or nan if it was not taken."""
        text = self.text()
        wrong = self.staged(text)
        with text.only_if(text.let(f"icmp ne i64 {wrong}, 0"), leave="ret double 0x7FF8000000000000"):
            pass
        loss = text.load(self.field(text, "sums"), self.sums - 1)
        text.let("call i64 @move(ptr %frame, i64 0, i64 %rank)")
        text.do(f"ret double {loss}")
        return self.function("double", "descend", "ptr %frame, i64 %rank", text, "")

    def train(self, moving: bool) -> str:
        """A stretch of steps. The frame says how many were done before a number was not finite, and whether
        that was one of the parameters: it and the memory are spoilt then."""
        text = self.text()
        names = ("steps", "losses", "sums", "lists", "lengths", "frames")
        steps, losses, sums, lists, lengths, frames = (self.field(text, name) for name in names)
        done, spoilt = (text.place("%frame", FRAME.index(name), "i64") for name in ("done", "spoilt"))
        if self.listed:
            self.refuse_strangers(text, lists)
        start, chosen = text.variable("i64"), text.variable("ptr")
        text.set(start, "0", "i64")
        text.set(chosen, "%frame", "ptr")
        with text.loop(0, steps) as step:
            samples, fresh = lists, "true" if self.listed else text.let(f"icmp eq i64 {step}, 0")
            if self.listed:
                begin, length = text.get(start, "i64"), text.load(lengths, step, "i64")
                samples = text.place(lists, begin, "i64")
                text.set(start, text.let(f"add i64 {begin}, {length}"), "i64")
                with text.loop(0, frames) as k:
                    one = text.place("%frame", text.index((len(FRAME), k)), "i64")
                    fits = text.let(f"icmp eq i64 {text.load(one, FRAME.index('samples'), 'i64')}, {length}")
                    before = text.get(chosen, "ptr")
                    text.set(chosen, text.let(f"select i1 {fits}, ptr {one}, ptr {before}"), "ptr")
            frame = text.get(chosen, "ptr")
            at = f"ptr {frame}, ptr {samples}"
            first = text.let("icmp eq i64 %rank, 0")
            if moving:  # but the last step of all leaves its gradient
                last = text.let(f"icmp eq i64 {step}, {text.let(f'sub i64 {steps}, 1')}")
                with text.only_if(text.let(f"xor i1 {last}, true")):
                    found = text.let(f"call i64 @step({at}, i64 {step}, i1 {fresh})")
                    self.note(text, step, sums, losses, done, first)
                    self.stop_if(text, found, spoilt, first)
            with text.only_if(last if moving else "true"):
                found = text.let(f"call i64 @stage({at}, i64 %rank, i1 {fresh})")
                self.note(text, step, sums, losses, done, first)
                with text.only_if(text.let(f"icmp ne i64 {found}, 0"), leave="ret i64 0"):
                    pass
                found = text.let(f"call i64 @move(ptr {frame}, i64 {step}, i64 %rank)")
                self.stop_if(text, found, spoilt, first)
        with text.only_if(text.let("icmp eq i64 %rank, 0")):
            text.do(f"store i64 {steps}, ptr {done}")
        text.do("ret i64 0")
        return self.function("i64", "train", "ptr %frame, i64 %rank", text, "")

    def note(self, text: Text, step: Index, sums: str, losses: str, done: str, first: str) -> None:
        """The loss before a step, and that so many were taken before."""
        with text.only_if(first):
            text.store(text.load(sums, self.sums - 1), losses, step)
            text.do(f"store i64 {step}, ptr {done}")

    @staticmethod
    def stop_if(text: Text, wrong: str, spoilt: str, first: str) -> None:
        bad = text.let(f"icmp ne i64 {wrong}, 0")
        with text.only_if(bad, leave="ret i64 0"), text.only_if(first):
            text.do(f"store i64 1, ptr {spoilt}")

    def refuse_strangers(self, text: Text, lists: str) -> None:
        """Return 1 if a list names a sample that is not there."""
        named, there = self.field(text, "named"), self.field(text, "there")
        strange, width = text.variable(text.ints), self.lanes.width
        text.set(strange, text.integers(0), text.ints)
        with text.loop(0, named, width) as k:
            numbers = text.let(f"load {text.ints}, ptr {text.place(lists, k, 'i64')}, align 8")
            beyond = text.let(f"icmp uge {text.ints} {numbers}, {text.spread(there, 'i64')}")
            bits = text.let(f"sext {text.mask} {beyond} to {text.ints}")
            text.set(strange, text.let(f"or {text.ints} {text.get(strange, text.ints)}, {bits}"), text.ints)
        found = text.let(f"icmp ne i64 {text.any_bit(text.get(strange, text.ints))}, 0")
        with text.only_if(found, leave="ret i64 1"):
            pass

    def function(self, kind: str, name: str, parameters: str, text: Text, linkage: str = "internal") -> str:
        attribute = "" if self.shared or not linkage else "alwaysinline "
        kind = f"{linkage} {kind}".strip()
        return f"define {kind} @{name}({parameters}) {attribute}#0 {{\n{text.body()}\n}}"
