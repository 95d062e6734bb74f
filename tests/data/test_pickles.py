import os
import pickle
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from clce_bench.data.pickles import load_pickle
from clce_bench.errors import UserError
from tests.helpers.originals import python2_pickle


class Evil:
    def __reduce__(self):
        return os.system, ("touch evil",)


@pytest.mark.parametrize("value", [Evil(), {"data": Evil()}, [Path("a")], print, np.random.default_rng(0)])
def test_a_pickle_that_runs_code_is_refused(value):
    Path("batch").write_bytes(pickle.dumps(value))
    with pytest.raises(UserError, match="batch: refused: it asks for .* which is not a numpy array"):
        load_pickle(Path("batch"))
    assert not Path("evil").exists()


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_arrays_in_plain_containers_are_read(protocol):
    value = {"data": np.arange(12, dtype=np.uint8).reshape(3, 4), "labels": [1, 2, 3], "name": b"training batch 1"}
    Path("batch").write_bytes(pickle.dumps(value, protocol=protocol))
    found = load_pickle(Path("batch"))
    assert (found["data"] == value["data"]).all()
    assert found["labels"] == [1, 2, 3]


@pytest.mark.parametrize(
    "content",
    [b"", b"no pickle", b"\x80\x02]K\x01s.", b"\x80\x04\x8e" + b"\xff" * 8, pickle.dumps({"a": np.zeros(100)})[:-50]],
)
def test_what_is_no_pickle_is_refused(content):
    Path("batch").write_bytes(content)
    with pytest.raises(UserError, match="batch: refused"):
        load_pickle(Path("batch"))


@given(arrays(st.sampled_from(["u1", "<i4", ">i8", "<f4", "?"]), array_shapes(max_dims=3, min_side=0)), st.booleans())
def test_arrays_come_back_as_they_were(array, fortran):
    array = np.asfortranarray(array) if fortran else array
    for content in (python2_pickle([array]), pickle.dumps((array,), protocol=4)):
        Path("batch").write_bytes(content)
        (found,) = load_pickle(Path("batch"))
        assert found.dtype == array.dtype
        np.testing.assert_array_equal(found, array)


def test_numpy_never_sees_the_pickle():
    whole = pickle.dumps(np.arange(40, dtype=np.uint8), protocol=2)
    # Loaded by pickle itself, this shortened description of the array's type crashes the interpreter.
    short = whole.replace(b"NNNJ", b"N0NJ")
    assert short != whole
    Path("batch").write_bytes(short)
    assert load_pickle(Path("batch")).tolist() == list(range(40))


def test_arrays_of_objects_are_refused():
    Path("batch").write_bytes(pickle.dumps(np.array([None, 1]), protocol=2))
    with pytest.raises(UserError, match="batch: refused: it has an array of type 'O8'"):
        load_pickle(Path("batch"))
