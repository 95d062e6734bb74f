"""Reading pickles of strangers, as CIFAR is published, without running anything that they ask for."""

import pickle
import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clce_bench.errors import UserError

_BROKEN: tuple[type[Exception], ...] = (pickle.UnpicklingError, EOFError, ValueError, TypeError, LookupError)
_BROKEN += (AttributeError, MemoryError, OverflowError, RecursionError)


def load_pickle(path: Path) -> Any:
    """Opens a pickle of numpy arrays, numbers, texts, lists, tuples and dictionaries.

    Texts that Python 2 wrote are read as Latin-1.

    Raises:
        UserError: it is not a pickle, or it asks for anything else.
    """
    with path.open("rb") as file:
        try:
            return _made_real(_Inert(file, encoding="latin1").load())
        except _BROKEN as error:
            raise UserError(f"{path}: refused: {error or 'not a pickle'}.") from None


class _Dtype:
    """Stands for a numpy type; numpy itself would trust the pickle, and crashes on a malformed one."""

    name, order = "", "|"

    def __init__(self, name: str = "", *_: Any) -> None:
        self.name = name

    def __setstate__(self, state: Any) -> None:
        self.order = state[1]

    def real(self) -> np.dtype[Any]:
        if not re.fullmatch(r"[<>=|][biuf]\d", f"{self.order}{self.name}"):
            raise pickle.UnpicklingError(f"it has an array of type {self.name!r}")
        return np.dtype(f"{self.order}{self.name}")


class _Array:
    """Stands for a numpy array."""

    state: tuple[Any, ...] = ()

    def __init__(self, *_: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def real(self) -> NDArray[Any]:
        _, shape, dtype, fortran, data = self.state
        values = np.frombuffer(data.encode("latin1") if isinstance(data, str) else data, dtype.real())
        return values.reshape(shape, order="F" if fortran else "C")


def _encoded(text: str, _encoding: str) -> bytes:
    return text.encode("latin1")


# What a pickle of arrays refers to, by numpy 1's names and numpy 2's, and how Python 3 writes bytes for Python 2.
_STAND_INS = {
    ("numpy", "dtype"): _Dtype,
    ("numpy", "ndarray"): _Array,
    ("numpy.core.multiarray", "_reconstruct"): _Array,
    ("numpy._core.multiarray", "_reconstruct"): _Array,
    ("_codecs", "encode"): _encoded,
}


class _Inert(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _STAND_INS:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which is not a numpy array")
        return _STAND_INS[module, name]


def _made_real(value: Any) -> Any:
    if isinstance(value, _Array):
        return value.real()
    if isinstance(value, dict):
        return {key: _made_real(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_made_real(item) for item in value)
    return value
