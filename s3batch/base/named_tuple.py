"""Named tuples whose classes cost a tenth to make: a short job makes more than a hundred of them.

``typing.NamedTuple`` compiles a constructor with each class, and the text of each annotation: 0.15 to 0.25 ms a class.
Here a constructor is compiled at its second use, and annotations stay text. All else is as there, and type checkers see
no difference.
"""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, ClassVar, Self

_FieldReader: Any = type(namedtuple("_One", "field").field)  # type: ignore[attr-defined]  # noqa: PYI024 - C, unnamed


_called: set[type] = set()
"""The classes that were called."""


class _FieldTuple(tuple[Any, ...]):
    """What all named tuples have in common."""

    __slots__ = ()
    _fields: ClassVar[tuple[str, ...]]
    _field_defaults: ClassVar[dict[str, Any]]

    def __new__(cls, *values: Any, **named: Any) -> Self:
        """Make the first tuple of a class, which often is the only one; then compile the constructor."""
        made: Any = next(each for each in cls.__mro__ if "_fields" in each.__dict__)
        if made not in _called:
            _called.add(made)
            given = {**dict(zip(made._fields, values, strict=False)), **named}
            whole = {**made._field_defaults, **given}
            if len(given) == len(values) + len(named) and whole.keys() == set(made._fields):
                return tuple.__new__(cls, map(whole.__getitem__, made._fields))
        made.__new__ = staticmethod(_compile_constructor(made._fields, made._field_defaults))  # it tells what is wrong
        return made.__new__(cls, *values, **named)  # type: ignore[no-any-return]

    @classmethod
    def _make(cls, values: Iterable[Any]) -> Self:
        """Return a tuple of *values*, in the order of the fields."""
        made = tuple.__new__(cls, values)
        if len(made) != len(cls._fields):
            raise TypeError(f"Expected {len(cls._fields)} arguments, got {len(made)}")
        return made

    def _replace(self, /, **changed: Any) -> Self:
        """Return a tuple with other values in the named fields."""
        made = self._make(map(changed.pop, self._fields, self))
        if changed:
            raise ValueError(f"Got unexpected field names: {list(changed)!r}")
        return made

    def _asdict(self) -> dict[str, Any]:
        """Return the values by the names of their fields."""
        return dict(zip(self._fields, self, strict=True))

    def __repr__(self) -> str:
        values = ", ".join(f"{name}={value!r}" for name, value in zip(self._fields, self, strict=True))
        return f"{type(self).__name__}({values})"

    def __getnewargs__(self) -> tuple[Any, ...]:
        return tuple(self)


class _NamedTupleMaker(type):
    """Makes an ordinary class of a body below ``NamedTuple``, as the metaclass of ``typing.NamedTuple`` does."""

    def __new__(cls, name: str, bases: tuple[type, ...], body: dict[str, Any]) -> Any:
        fields = tuple(body["__annotations__"])
        defaults = {field: body[field] for field in fields if field in body}
        readers = {field: _FieldReader(index, "") for index, field in enumerate(fields)}
        body |= readers
        body |= {"__slots__": (), "__match_args__": fields, "_fields": fields, "_field_defaults": defaults}
        return type(name, (_FieldTuple, *bases[1:]), body)


def _compile_constructor(fields: Iterable[str], defaults: dict[str, Any]) -> Callable[..., Any]:
    names = ", ".join(fields)
    code = f"lambda cls, {names}: make(cls, ({names},))"
    constructor: Any = eval(code, {"make": tuple.__new__, "__builtins__": {}})  # noqa: S307 - names of fields alone
    constructor.__name__ = "__new__"
    constructor.__defaults__ = tuple(defaults.values())
    return constructor  # type: ignore[no-any-return]


if TYPE_CHECKING:
    from typing import NamedTuple as NamedTuple  # noqa: PLC0414, TID251 - exported
else:
    NamedTuple = type.__new__(_NamedTupleMaker, "NamedTuple", (), {})
