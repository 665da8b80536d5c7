"""Our named tuples beside those of ``typing``: what one can do, the other can."""

from __future__ import annotations

import copy
import pickle
import typing
from collections.abc import Callable
from typing import Any, Generic, TypeVar

import pytest

from s3batch.base.named_tuple import NamedTuple

T = TypeVar("T")


class Place(NamedTuple):
    """Where something is."""

    bucket: str
    key: str = "k"
    sizes: tuple[int, ...] = ()

    @property
    def url(self) -> str:
        return f"s3://{self.bucket}/{self.key}"

    def __str__(self) -> str:
        return self.url


def make_theirs() -> type:
    class Theirs(typing.NamedTuple):
        bucket: str
        key: str = "k"
        sizes: tuple[int, ...] = ()

    return Theirs


def make_ours() -> type:
    class Ours(NamedTuple):
        bucket: str
        key: str = "k"
        sizes: tuple[int, ...] = ()

    return Ours


class Pair(NamedTuple, Generic[T]):
    first: T
    second: T


class Special(Place):
    """A class below a named tuple, called before that one ever was."""

    __slots__ = ()


CALLS: dict[str, Callable[[Any], Any]] = {
    "by place": lambda made: made("b", "c", (1,)),
    "by name": lambda made: made(sizes=(2,), bucket="b"),
    "too few": lambda made: made(),
    "too many": lambda made: made(1, 2, 3, 4),
    "an unknown name": lambda made: made("b", colour=1),
    "an unknown name in the place of a field": lambda made: made(colour=1),
    "no defaults": lambda made: made("b", "c", sizes=()),
    "a name given twice": lambda made: made("b", bucket="c"),
    "made of values": lambda made: made._make(["b", "c", ()]),
    "made of too few values": lambda made: made._make(["b"]),
    "with another value": lambda made: made("b")._replace(key="c"),
    "with an unknown value": lambda made: made("b")._replace(colour="c"),
    "as a dictionary": lambda made: made("b")._asdict(),
    "its fields": lambda made: (made._fields, made._field_defaults, made.__match_args__),
    "an attribute more": lambda made: setattr(made("b"), "colour", 1),
    "another value in place": lambda made: setattr(made("b"), "key", 1),
    "written out": lambda made: repr(made("b")).partition("(")[2],
    "hashed": lambda made: hash(made("b")),
    "a field of the class": lambda made: made.key.__get__(made("b")),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_it_does_what_the_one_of_typing_does(call: Callable[[Any], Any]) -> None:
    ours, theirs = make_ours(), make_theirs()

    def outcome(made: type) -> object:
        try:
            return call(made)
        except Exception as error:  # noqa: BLE001 - any error is to be the same
            return type(error)

    for _ in range(3):  # the first tuple, the constructor compiled, the constructor as it is
        assert outcome(ours) == outcome(theirs)


def test_methods_and_doc_stay() -> None:
    assert str(Place("b")) == Place("b").url == "s3://b/k"
    assert repr(Place("b")) == "Place(bucket='b', key='k', sizes=())"
    assert Place.__doc__ == "Where something is."
    assert type(Place) is type


def test_a_class_below_it_can_be_the_first_that_is_called() -> None:
    assert type(Special("b")) is Special
    assert (Special("b"), Special("b").url) == (Place("b"), "s3://b/k")


def test_it_can_be_generic() -> None:
    assert Pair[int](1, 2).second == 2


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_it_travels(protocol: int) -> None:
    for value in (Place("b", sizes=(1,)), Special("b")):
        read = pickle.loads(pickle.dumps(value, protocol))
        assert (read, type(read)) == (value, type(value))
        assert copy.deepcopy(value) == value


def test_a_pattern_matches_its_fields() -> None:
    match Place("b", "c"):
        case Place(bucket, key):
            assert (bucket, key) == ("b", "c")
