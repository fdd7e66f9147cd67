"""From what YAML holds to dataclasses: unknown keys, missing ones and wrong types are one sentence with their path."""

import math
from dataclasses import MISSING, fields, is_dataclass
from difflib import get_close_matches
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin, get_type_hints

from sseg.errors import SSegError, shown

TAKES = {int: "a whole number", float: "a number", bool: "true or false", str: "text", list: "a list",
         tuple: "a list", dict: "keys with values"}  # fmt: skip


class Within(NamedTuple):
    """A rule for `Annotated`: a number from `low` to `high`, both allowed."""

    low: float
    high: float = math.inf

    def check(self, value, path: str) -> None:
        if not self.low <= value <= self.high:
            span = f"of at least {self.low}" if self.high == math.inf else f"from {self.low} to {self.high}"
            raise SSegError(f"{path} is {shown(value)}: give a number {span}.")


class FieldsOf(NamedTuple):
    """A rule for `Annotated`: keys and types of a configuration class, "module:name", imported where it is needed."""

    where: str

    def check(self, value: dict, path: str) -> None:
        module, _, name = self.where.partition(":")
        known = getattr(__import__(module, fromlist=[name]), name).__annotations__
        for key, given in value.items():
            check_key(key, known, path)
            value[key] = build(known[key], given, _join(path, key))


Count = Annotated[int, Within(1)]
Number = Annotated[int, Within(0)]
Positive = Annotated[float, Within(0)]
Share = Annotated[float, Within(0, 1)]
Precision = Literal["bf16", "fp32"]


def build(kind, value, path: str = "") -> Any:
    """`value`, as YAML gives it, as `kind`: a dataclass, number, text, list, tuple, choice, or a union of these.

    Numbers may be written as YAML reads text (1e-3). Of a union of dataclasses, the key `name` says which one it is.

    Raises:
        SSegError: what is wrong at which path (`stages.0.batch`), with the nearest key that there is.
    """
    origin, options = get_origin(kind), get_args(kind)
    if origin is Annotated:
        made = build(options[0], value, path)
        for rule in options[1:]:
            rule.check(made, path)
        return made
    if origin in (Union, UnionType):
        return _one_of(options, value, path)
    if origin is Literal:
        if not any(value == option and type(value) is type(option) for option in options):
            raise SSegError(f"{path} is {shown(value)}: take {_or(map(str, options))}.")
        return value
    if is_dataclass(kind):
        return _section(kind, value, path)
    if origin in (list, tuple):
        return _list(origin, options, value, path)
    return _plain(kind, value, path)


def _one_of(options: tuple, value, path: str):
    """The part of a union that the value is of."""
    some = [option for option in options if option is not NoneType]
    if value is None and len(some) < len(options):
        return None
    if len(some) == 1:
        return build(some[0], value, path)
    if all(map(is_dataclass, some)):
        by_name = {get_args(get_type_hints(one)["name"])[0]: one for one in some}
        if not isinstance(value, dict):
            raise _wrong(value, path, dict)
        if value.get("name") not in by_name:
            raise SSegError(f"{_join(path, 'name')} is {shown(value.get('name'))}: {path}.name is {_or(by_name)}.")
        return build(by_name[value["name"]], value, path)
    if not isinstance(value, tuple(some)):
        raise _wrong(value, path, some[0])
    return value


def _section(kind, value, path: str):
    """A dataclass from a mapping."""
    if not isinstance(value, dict):
        raise _wrong(value, path or "The recipe", dict)
    hints, given = get_type_hints(kind, include_extras=True), {}
    for key in value:
        check_key(key, hints, path)
    for field in fields(kind):
        if field.name in value:
            given[field.name] = build(hints[field.name], value[field.name], _join(path, field.name))
        elif field.default is MISSING and field.default_factory is MISSING:
            raise SSegError(f"{_join(path, field.name)} is missing: write that key, as the files in train/recipes do.")
    return kind(**given)


def check_key(key, known, path: str) -> None:
    """Raises SSegError, with the nearest key or all of them: there is no such key in the section at `path`."""
    if key in known:
        return
    near = get_close_matches(str(key), known, n=1)
    instead = f"did you mean {_join(path, near[0])}?" if near else f"there are {', '.join(known)}."
    raise SSegError(f"The recipe's {_join(path, shown(key, 40))} is no key of its kind: {instead}")


def _list(origin, options: tuple, value, path: str):
    """A list of one type, or a tuple of so many."""
    if not isinstance(value, list | tuple):
        raise _wrong(value, path, list)
    if origin is list:
        return [build(options[0], one, _join(path, str(i))) for i, one in enumerate(value)]
    if len(value) != len(options):
        raise SSegError(f"{path} holds {len(value)} values: it takes {len(options)}.")
    pairs = enumerate(zip(options, value, strict=True))
    return tuple(build(kind, one, _join(path, str(i))) for i, (kind, one) in pairs)


def _plain(kind, value, path: str):
    """A number, text, or whatever a bare list or dict holds."""
    if kind in (int, float):
        return _number(kind, value, path)
    if kind is str and type(value) is int:  # out=2024
        return str(value)
    if not isinstance(value, kind):
        raise _wrong(value, path, kind)
    return value


def _number(kind, value, path: str):
    try:
        if isinstance(value, bool):
            raise ValueError
        number = float(value)  # of text, too: YAML reads 1e-3 as one
        if not math.isfinite(number) or (kind is int and number != int(number)):
            raise ValueError
    except (TypeError, ValueError):
        raise _wrong(value, path, kind) from None
    return value if type(value) is kind else kind(number)


def _wrong(value, path: str, kind) -> SSegError:
    found = "empty" if value is None else shown(value, 60)
    return SSegError(f"{path} is {found}: it takes {TAKES[kind]}.")


def _join(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key


def _or(names) -> str:
    *most, last = names
    return f"{', '.join(most)} or {last}" if most else last


def mapping_of(section) -> dict:
    """A dataclass as YAML holds it: plain values alone; what is not set and need not be is left out."""
    found = {}
    for field in fields(section):
        value = getattr(section, field.name)
        if value is not None or field.default is not None:
            found[field.name] = _plain_value(value)
    return found


def _plain_value(value):
    if is_dataclass(value):
        return mapping_of(value)
    return [_plain_value(one) for one in value] if isinstance(value, list | tuple) else value
