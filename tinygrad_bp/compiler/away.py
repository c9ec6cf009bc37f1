"""Parameters that are away: their numbers stay in the memory of compiled code from one call to the next.

To write 20,501 numbers back into Values takes as long as forty steps on one sample, and most calls that
train are followed by another, with nobody looking in between. A parameter that is away has a class of its
own, in which the number and the creation number are properties: whoever asks for one of them, of any
parameter, brings all of them home first. Values that are at home pay nothing for this.
"""

from collections.abc import Sequence
from typing import Any

from tinygrad_bp.compiler.locks import nudging
from tinygrad_bp.engine import Value, tick

SLOT: Any = vars(Value)["_data"]  # of the number, or of the Absence while a parameter is away


def _through(name: str) -> Any:
    """A slot of Value, whose parameter comes home first."""

    def get(p: Value) -> Any:
        _come_home(p)
        return getattr(p, name)

    def put(p: Value, x: Any) -> None:
        _come_home(p)
        setattr(p, name, x)

    return property(get, put)


class _Away(Value):
    __slots__ = ()
    _data = _through("_data")
    number = _through("number")

    def __new__(cls, *arguments: Any) -> Any:  # for type(p)(2.0)
        return Value(*arguments)

    def __reduce_ex__(self, protocol: Any) -> Any:  # copies and pickles are of Values
        _come_home(self)
        return self.__reduce_ex__(protocol)


_Away.__name__ = _Away.__qualname__ = "Value"  # as Python's own messages name it


def _come_home(p: Value) -> None:
    with nudging:
        if type(p) is _Away:  # else another thread has brought it home
            SLOT.__get__(p).end()


class Absence:
    """Parameters that go away together and come home together."""

    def __init__(self, params: Sequence[Any]) -> None:
        self.params = params
        self.numbers: Any = None  # while they are away: theirs are the first of this array
        self.calls = 0  # that have trained since they went
        self.wait = self.pause = 0  # calls after which they stay at home: so many each time, so many are left

    def go(self, numbers: Any) -> bool:
        """After training: leave them away, with these numbers; False where they are to be written back."""
        with nudging:
            if self.numbers is None:
                if self.pause:
                    self.pause -= 1
                    return False
                if {*map(type, self.params)} != {Value}:  # a class of the user's
                    return False
                self.calls = 0
                for p in self.params:
                    p.__class__ = _Away
                    SLOT.__set__(p, self)
            self.numbers = numbers
            self.calls += 1
            return True

    def lend(self, numbers: Any) -> None:
        """While others change theirs, these are the numbers of those that are away."""
        with nudging:
            self.numbers = self.numbers and numbers

    def end(self) -> None:
        """Bring them home: what `p.data = x` does. If it is interrupted, whoever looks next goes on.

        If they were looked at after one call, the next calls write them back: twice as many each time.
        """
        with nudging:
            if self.numbers is None:
                return
            for p, x in zip(self.params, self.numbers):
                if type(p) is not Value:
                    number = tick()
                    p.__class__ = Value  # from here on without a call: nobody comes in between
                    p._data = x
                    p.number = number
            self.numbers = None
            self.pause = self.wait = 2 * self.wait + 1 if self.calls == 1 else 0
