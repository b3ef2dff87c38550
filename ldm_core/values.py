"""What a person hands over, read by the type that is declared for it: one place says what a number,
a truth, a text or a list is."""

from __future__ import annotations

import operator
import reprlib
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from functools import cache, partial
from pathlib import Path
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union, get_args, get_origin

from ldm_core.annotations import PLAIN, takes_plain

if TYPE_CHECKING:
    from pydantic import TypeAdapter

PLAINER = {"greater than or equal to": "at least", "less than or equal to": "at most"}
SEVERAL = (list, tuple, Sequence)
MOST = 2**24
"""So many entries of a list are read at most; a `range` may have more than memory holds."""


def fitted(annotation: Any, value: Any, text: bool = False) -> Any:
    """A value as an annotation wants it.

    Args:
        text: numbers may be written in text, as on the command line and in recipes, and whole ones
            as 2.0.
    Raises:
        ValueError: it is of another type, or out of range, with the reason.
    """
    if _is_plain(annotation, value):
        return value
    from pydantic import ValidationError

    try:
        return _adapter(annotation, text).validate_python(value)
    except ValidationError as error:
        reason = error.errors()[0]["msg"].removeprefix("Value error, ")
        for words, plainer in PLAINER.items():
            reason = reason.replace(words, plainer)
        raise ValueError(f"{reason[:1].lower()}{reason[1:]}") from None
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _is_plain(annotation: Any, value: Any) -> bool:
    """Whether a value needs no reading, so that pydantic, which takes long to import, is left out:
    anything is declared, or its type is, of those in `PLAIN`, beside none but such and functions.
    Text that is not plain ASCII is read, as it may be none."""
    if annotation is Any or annotation is object:
        return True
    kind = type(value)
    if kind not in PLAIN or not str(value).isascii():
        return False
    whose: Any = kind
    try:
        return takes_plain(annotation, whose)
    except TypeError:  # an annotation may be unhashable
        return takes_plain.__wrapped__(annotation, whose)


def _adapter(annotation: Any, text: bool) -> TypeAdapter[Any]:
    try:
        return _cached_adapter(annotation, text)
    except TypeError:  # an annotation may be unhashable
        return _make_adapter(annotation, text)


def _make_adapter(annotation: Any, text: bool) -> TypeAdapter[Any]:
    from pydantic import ConfigDict, TypeAdapter

    config = ConfigDict(allow_inf_nan=False, arbitrary_types_allowed=True)
    return TypeAdapter[Any](_read_by(annotation, text), config=config)


_cached_adapter = cache(_make_adapter)


def _read_by(annotation: Any, text: bool) -> Any:
    """What pydantic is to read in the place of an annotation."""
    from pydantic import BeforeValidator

    origin, parts = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        first, *more = parts
        return Annotated[(_read_by(first, text), *more)]
    if origin in (Union, UnionType):
        return Union[tuple(_read_by(part, text) for part in parts)]  # noqa: UP007
    if origin is Literal or annotation in (Any, object, None, NoneType, ...):
        return Any if annotation is object else annotation
    if annotation in (int, float, str, bool, Path):
        return Annotated[annotation, BeforeValidator(partial(_READERS[annotation], text=text))]
    kind = origin or annotation
    if kind in SEVERAL:
        inner = tuple(_read_by(part, text) for part in parts)
        return Annotated[kind[inner] if inner else kind, BeforeValidator(_in_order)]
    if kind in (dict, Mapping) and parts:
        return kind[tuple(_read_by(part, text) for part in parts)]
    if kind is type or kind in (dict, Mapping):
        return kind
    if kind is Callable or _is_protocol(kind):
        return Annotated[Any, BeforeValidator(_callable)] if issubclass(kind, Callable) else Any  # type: ignore[arg-type]
    if isinstance(kind, type):
        return Annotated[Any, BeforeValidator(partial(_instance, kind=kind))]
    return Any


BOUNDS = {
    "ge": "minimum",
    "gt": "exclusiveMinimum",
    "le": "maximum",
    "lt": "exclusiveMaximum",
    "multiple_of": "multipleOf",
}
"""What pydantic leaves by its own names where a value is read by ours first."""


def json_schema(annotation: Any) -> dict[str, Any]:
    """What `fitted` takes for an annotation, as a JSON schema. What only Python can give stands
    there as a comment, and where there is another way to say it not at all."""
    schema: dict[str, Any] = _in_words_of_json(_adapter(annotation, True).json_schema())
    if schema or annotation in (Any, object):
        return schema
    return {"$comment": f"{type_name(annotation)}, which only Python can give"}


def _in_words_of_json(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_in_words_of_json(entry) for entry in schema if entry != {}]
    if not isinstance(schema, dict):
        return schema
    several = "Items" if schema.get("type") == "array" else "Length"
    words = {**BOUNDS, "min_length": f"min{several}", "max_length": f"max{several}"}
    return {words.get(key, key): _in_words_of_json(entry) for key, entry in schema.items()}


def is_type(annotation: Any) -> bool:
    """Whether something can be an annotation."""
    return (
        isinstance(annotation, type | UnionType)
        or annotation is Any
        or get_origin(annotation) is not None
    )


def _is_protocol(kind: Any) -> bool:
    return isinstance(kind, type) and "Protocol" in {base.__name__ for base in kind.__bases__}


def whole(value: Any, text: bool = False) -> Any:
    """A whole number of Python, also of one of NumPy or torch.

    Raises:
        ValueError: it is something else, such as 2.0 or True.
    """
    if (type(value) is int and abs(value) < 2**63) or (text and isinstance(value, str | float)):
        return value
    if not _is_truth(value) and not _has_places(value):
        try:
            number = operator.index(value)
        except (TypeError, RuntimeError):  # torch raises the latter of a tensor without numbers
            number = None
        if number is not None and abs(number) >= 2**63:
            raise ValueError("input should be a whole number that is not so large")
        if number is not None:
            return number
    raise ValueError("input should be a whole number")


def _real(value: Any, text: bool) -> Any:
    if text and isinstance(value, str):
        return value
    if not (_is_truth(value) or _has_places(value) or isinstance(value, str | bytes | bytearray)):
        try:
            return float(value)
        except (TypeError, ValueError, RuntimeError):
            pass
        except OverflowError:
            raise ValueError("input should be a number that is not so large") from None
    raise ValueError("input should be a number")


def _word(value: Any, text: bool) -> Any:
    if isinstance(value, str):
        return value
    raise ValueError("input should be text")


def _truth(value: Any, text: bool) -> Any:
    if _is_truth(value):
        return bool(value)
    if text and isinstance(value, str | int):
        return value
    raise ValueError("input should be True or False")


def _path(value: Any, text: bool) -> Any:
    if isinstance(value, str | Path):
        return value
    raise ValueError("input should be a path, as text or a pathlib.Path")


_READERS: Mapping[Any, Callable[..., Any]] = {
    int: whole,
    float: _real,
    str: _word,
    bool: _truth,
    Path: _path,
}


def _in_order(value: Any) -> Any:
    """What can be gone through in an order, more than once."""
    if _has_places(value):
        try:
            value = value.tolist()
        except RuntimeError:  # a sparse tensor, or one without numbers
            raise ValueError("input should be a list") from None
    if isinstance(value, str | bytes | bytearray | Mapping | Set | Iterator) or not isinstance(
        value, Sequence
    ):
        raise ValueError("input should be a list")
    if len(value) > MOST:
        raise ValueError(f"a list has at most {MOST} entries")
    return value if isinstance(value, list | tuple) else list(value)


def _callable(value: Any) -> Any:
    if callable(value):
        return value
    raise ValueError("input should be a function")


def _instance(value: Any, kind: type) -> Any:
    if isinstance(value, kind):
        return value
    raise ValueError(f"input should be an object of the class {kind.__name__}")


def _is_truth(value: Any) -> bool:
    """Whether a value is True or False, of Python, NumPy or torch."""
    numpy, torch = sys.modules.get("numpy"), sys.modules.get("torch")
    return (
        isinstance(value, bool)
        or (numpy is not None and isinstance(value, numpy.bool_))
        or (numpy is not None and isinstance(value, numpy.ndarray) and value.dtype == bool)
        or (torch is not None and isinstance(value, torch.Tensor) and value.dtype == torch.bool)
    )


def _has_places(value: Any) -> bool:
    """Whether a value is an array or tensor of at least one axis, and so no single number."""
    return bool(_is_array(value) and value.ndim)


def _is_array(value: Any) -> bool:
    """Whether a value is an array of NumPy or a tensor; neither library is imported for it."""
    numpy, torch = sys.modules.get("numpy"), sys.modules.get("torch")
    return (numpy is not None and isinstance(value, numpy.ndarray)) or (
        torch is not None and isinstance(value, torch.Tensor)
    )


def plain(value: Any) -> Any:
    """A single number of NumPy or torch as Python's; anything else as it is."""
    numpy = sys.modules.get("numpy")
    scalar = numpy is not None and isinstance(value, numpy.generic)
    if not (scalar or (_is_array(value) and not value.ndim)):
        return value
    try:
        return value.item()
    except RuntimeError:  # a tensor without numbers, such as one of the device "meta"
        return value


def is_number(value: Any) -> bool:
    """Whether a value is one finite number, of Python, NumPy or torch; text and truths are none."""
    return _fits(float, value)


def is_whole(value: Any) -> bool:
    """Whether a value is one whole number, of Python, NumPy or torch."""
    return _fits(int, value)


def _fits(annotation: Any, value: Any) -> bool:
    try:
        fitted(annotation, value)
    except ValueError:
        return False
    return True


def brief(value: Any) -> str:
    """A value as a message shows it: arrays and tensors by their shape, the rest cut short."""
    if _has_places(value):
        dtype = str(value.dtype).removeprefix("torch.")
        return f"{type(value).__name__} of shape {tuple(value.shape)} and dtype {dtype}"
    if type(value) is int and abs(value) >= 10**15:
        return f"{float(value):.3g}" if abs(value) < 10**300 else "a number of over 300 digits"
    try:
        return _short.repr(value)
    except KeyboardInterrupt:
        raise
    except BaseException:  # a class of anyone's
        return f"an object of {type(value).__name__}"


class _Short(reprlib.Repr):
    """In one line, also of what is inside."""

    def repr1(self, x: Any, level: int) -> str:
        if _has_places(x):
            return brief(x)
        text = super().repr1(x, level)
        return " ".join(text.split()) if "\n" in text else text


_short = _Short()
_short.maxstring = _short.maxother = 300
_short.maxlist = _short.maxtuple = _short.maxdict = 6
_short.maxlevel = 3


def type_name(annotation: Any) -> str:
    """A type as a person would write it, without the bounds that are annotated."""
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return type_name(parts[0])
    if origin in (Union, UnionType):
        return " | ".join(type_name(part) for part in parts)
    if annotation is NoneType:
        return "None"
    if origin is Callable or _is_protocol(origin or annotation):
        return "a function"
    if origin is not Literal and isinstance(origin, type):
        inner = ", ".join("..." if part is ... else type_name(part) for part in parts)
        return f"{origin.__name__}[{inner}]"
    if isinstance(annotation, type):
        return annotation.__name__
    return str(annotation).replace("typing.", "")
