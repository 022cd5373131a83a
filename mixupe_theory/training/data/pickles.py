"""Reading pickled arrays without running what a pickle may tell to run."""

from __future__ import annotations

import io
import pickle
from typing import Any

import numpy as np

# all that arrays need, under the names of numpy 1 (and of Python 2) and of numpy 2
_ARRAY = {("numpy", name): getattr(np, name) for name in ("ndarray", "dtype")} | {
    (f"numpy.{core}.multiarray", "_reconstruct"): np.empty(0).__reduce__()[0] for core in ("core", "_core")
}


class _Arrays(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ARRAY:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}; only numpy arrays and built-in types are read")
        found = _ARRAY[module, name]
        return _dtype if found is np.dtype else found


def _dtype(name: str, align: int = False, copy: int = False) -> np.dtype:
    """numpy.dtype with the integers of Python 2 in the place of booleans, which numpy 2.4.0 to 2.4.4 warn of."""
    return np.dtype(name, align=bool(align), copy=bool(copy))


def load(content: bytes) -> Any:
    """What a pickle of Python 2 or 3 holds, if that is made of numpy arrays and built-in types.

    Text of Python 2 is read as latin-1. Nothing that the pickle names is called, but for what builds an array.

    Raises:
        pickle.UnpicklingError: If it holds anything else, or is damaged.

    Example:
        >>> load(pickle.dumps({"labels": [1, 2], "data": np.arange(3)}))
        {'labels': [1, 2], 'data': array([0, 1, 2])}
        >>> load(pickle.dumps(print))
        Traceback (most recent call last):
        _pickle.UnpicklingError: it asks for builtins.print; only numpy arrays and built-in types are read
    """
    try:
        return _Arrays(io.BytesIO(content), encoding="latin1").load()
    except pickle.UnpicklingError:
        raise
    except Exception as error:  # damaged bytes may raise anything
        raise pickle.UnpicklingError(f"damaged: {error}") from error
