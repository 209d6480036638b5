"""The pickles inside a TorchScript file, read without making anything: their grammar, bounds and tensors.

libtorch has a reader of its own for these, which runs no Python. It does trust what a tensor says of its size, and
follows nesting as deep as it goes. `check_pickle` walks through the same instructions with inert values, and refuses
what libtorch does not know, what would be followed without end, and tensors that reach beyond their record.
"""

from __future__ import annotations

import pickletools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from ..errors import ModelError

__all__ = ["check_pickle"]

_OPERATIONS = 20_000_000
_DEPTH = 400
_ITEM_SIZES = {
    "DoubleStorage": 8, "FloatStorage": 4, "HalfStorage": 2, "BFloat16Storage": 2, "LongStorage": 8, "IntStorage": 4,
    "ShortStorage": 2, "CharStorage": 1, "ByteStorage": 1, "BoolStorage": 1, "ComplexDoubleStorage": 16,
    "ComplexFloatStorage": 8, "UntypedStorage": 1, "QUInt8Storage": 1, "QInt8Storage": 1, "QInt32Storage": 4,
}  # fmt: skip
_MODULES = ("torch.jit._pickle", "torch._utils", "torch", "collections", "torch.storage")
_TENSORS = ("_rebuild_tensor_v2", "_rebuild_qtensor")


@dataclass(frozen=True)
class _Global:
    module: str
    name: str


@dataclass
class _Value:
    """Something that is not a number or text; `depth` is how deeply it nests."""

    kind: str
    items: list[Any]
    depth: int = 1


_MARK = object()


def check_pickle(data: bytes, label: str, records: Mapping[str, int], folder: str) -> None:
    """Check a pickle of a TorchScript file.

    Parameters
    ----------
    data
        The pickle.
    label
        What it is, for messages.
    records
        Size in bytes of every record by name.
    folder
        Where its tensors are: ``data`` or ``constants``.

    Raises
    ------
    ModelError
        If it is not what torch.jit.save writes.
    """
    reader = _Reader(label, records, folder)
    try:
        for count, (opcode, argument, position) in enumerate(pickletools.genops(data)):
            if count > _OPERATIONS:
                reader.refuse("more instructions than any model needs", position or 0)
            reader.step(opcode.name, argument, position or 0)
        if position is not None and position + 1 != len(data):
            reader.refuse("bytes after its end", position)
    except (ValueError, IndexError, KeyError, OverflowError, UnicodeDecodeError, AttributeError, TypeError) as error:
        if isinstance(error, ModelError):
            raise
        reader.refuse(f"instructions that make no sense ({str(error)[:120]})", 0)
    if not reader.done:
        reader.refuse("no end", 0)


class _Reader:
    def __init__(self, label: str, records: Mapping[str, int], folder: str) -> None:
        self.label, self.records, self.folder = label, records, folder
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}
        self.done = False

    def refuse(self, what: str, position: int) -> NoReturn:
        raise ModelError(
            self.label, f"{what} (at byte {position})", "what torch.jit.save writes",
                    "do not use this file; get or export it again"
        )  # fmt: skip

    def step(self, name: str, argument: Any, position: int) -> None:
        if name in ("PROTO", "FRAME"):
            return
        if name in _CONSTANTS:
            self.stack.append(_CONSTANTS[name])
        elif name in _LITERALS:
            if isinstance(argument, str) and _nesting(argument) > _DEPTH:
                self.refuse(f"a text with brackets nested more than {_DEPTH} deep", position)
            self.stack.append(argument)
        elif name in _EMPTY:
            self.stack.append(_Value(_EMPTY[name], []))
        elif name == "MARK":
            self.stack.append(_MARK)
        elif name in ("BINPUT", "LONG_BINPUT"):
            if argument > len(self.memo) + 1_000_000:
                self.refuse(f"a memory cell {argument} that is far away", position)
            self.memo[argument] = self._top(position)
        elif name in ("BINGET", "LONG_BINGET"):
            if argument not in self.memo:
                self.refuse(f"a memory cell {argument} that is empty", position)
            self.stack.append(self.memo[argument])
        elif name == "GLOBAL":
            module, _, attribute = str(argument).partition(" ")
            if module not in _MODULES and module.split(".")[0] != "__torch__":
                self.refuse(f"the name {module}.{attribute}, which is no part of a TorchScript file", position)
            self.stack.append(_Global(module, attribute))
        elif name == "BINPERSID":
            self.stack.append(self._storage(self._pop(position), position))
        elif name in ("TUPLE", "TUPLE1", "TUPLE2", "TUPLE3", "LIST"):
            count = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}.get(name)
            items = self._to_mark(position) if count is None else [self._pop(position) for _ in range(count)][::-1]
            self._push("list" if name == "LIST" else "tuple", items, position)
        elif name in ("APPEND", "APPENDS"):
            items = [self._pop(position)] if name == "APPEND" else self._to_mark(position)
            self._extend("list", items, position)
        elif name in ("SETITEM", "SETITEMS"):
            items = [self._pop(position), self._pop(position)] if name == "SETITEM" else self._to_mark(position)
            if len(items) % 2:
                self.refuse("a key without a value", position)
            self._extend("dict", items, position)
        elif name in ("REDUCE", "NEWOBJ"):
            arguments = self._pop(position)
            self._reduce(self._pop(position), arguments, position)
        elif name == "BUILD":
            state = self._pop(position)
            self._extend("object", [state], position)
        elif name == "STOP":
            self._pop(position)
            if self.stack:
                self.refuse("values left over at its end", position)
            self.done = True
        else:
            self.refuse(f"the instruction {name}, which torch does not write", position)

    def _top(self, position: int) -> Any:
        if not self.stack or self.stack[-1] is _MARK:
            self.refuse("an instruction with nothing to work on", position)
        return self.stack[-1]

    def _pop(self, position: int) -> Any:
        value = self._top(position)
        self.stack.pop()
        return value

    def _to_mark(self, position: int) -> list[Any]:
        items: list[Any] = []
        while self.stack:
            value = self.stack.pop()
            if value is _MARK:
                return items[::-1]
            items.append(value)
        self.refuse("an end with no beginning", position)

    def _depth(self, items: list[Any], position: int) -> int:
        depth = 1 + max((item.depth for item in items if isinstance(item, _Value)), default=0)
        if depth > _DEPTH:
            self.refuse(f"values nested more than {_DEPTH} deep", position)
        return depth

    def _push(self, kind: str, items: list[Any], position: int) -> None:
        self.stack.append(_Value(kind, items, self._depth(items, position)))

    def _extend(self, kind: str, items: list[Any], position: int) -> None:
        target = self._top(position)
        if not isinstance(target, _Value) or target.kind != kind:
            self.refuse(f"an entry of something that is no {kind}", position)
        if any(item is target for item in items):
            self.refuse("a value inside itself", position)
        target.items += items
        target.depth = max(target.depth, self._depth(items, position))

    def _storage(self, identifier: Any, position: int) -> _Value:
        """Check the identifier of a storage: ('storage', type, key, device, number of elements)."""
        items = identifier.items if isinstance(identifier, _Value) and identifier.kind == "tuple" else []
        good = (
            len(items) == 5
            and items[0] == "storage"
            and isinstance(items[1], _Global)
            and items[1].name in _ITEM_SIZES
            and isinstance(items[2], str)
            and isinstance(items[3], str)
            and type(items[4]) is int
        )
        if not good:
            self.refuse("a tensor without a storage that can be read", position)
        size = _ITEM_SIZES[items[1].name]
        record = f"{self.folder}/{items[2]}"
        available = self.records.get(record)
        if available is None:
            self.refuse(f"a tensor in the record {record!r}, which is missing", position)
        if items[4] < 0 or items[4] * size > available:
            self.refuse(f"a tensor of {items[4]} numbers in a record of {available} bytes", position)
        return _Value("storage", [items[4]])

    def _reduce(self, function: Any, arguments: Any, position: int) -> None:
        if not isinstance(function, _Global):
            self.refuse("a call of something that is no function", position)
        if not isinstance(arguments, _Value) or arguments.kind != "tuple":
            self.refuse(f"a call of {function.name} without arguments", position)
        if function.module == "torch._utils":
            if function.name not in _TENSORS:
                self.refuse(f"a tensor made by {function.name}, which is not read here", position)
            self._tensor(arguments.items, position)
        kind = "object"
        if function.module == "torch.jit._pickle" or function.module == "collections":
            kind = "dict" if function.name == "OrderedDict" else "list"
        self._push(kind, list(arguments.items), position)

    def _tensor(self, items: list[Any], position: int) -> None:
        """Check that sizes and strides of a tensor stay inside its storage."""
        if len(items) < 4 or not isinstance(items[0], _Value) or items[0].kind != "storage":
            self.refuse("a tensor without a storage", position)
        numbers, offset = items[0].items[0], items[1]
        shapes = [entry.items for entry in items[2:4] if isinstance(entry, _Value) and entry.kind == "tuple"]
        if len(shapes) != 2 or len(shapes[0]) != len(shapes[1]) or len(shapes[0]) > 64:
            self.refuse("a tensor whose sizes and strides do not go together", position)
        if any(type(n) is not int or n < 0 for n in (offset, *shapes[0], *shapes[1])):
            self.refuse("a tensor with sizes that are no numbers", position)
        if 0 in shapes[0]:
            return
        last = offset + sum((size - 1) * stride for size, stride in zip(*shapes, strict=True))
        if last >= numbers:
            self.refuse(f"a tensor of sizes {shapes[0]} that reaches beyond its {numbers} numbers", position)


def _nesting(text: str) -> int:
    """Return how deeply brackets nest: a text may be the name of a type, which is read as deeply as it nests."""
    depth = deepest = 0
    for character in text if text.count("[") > _DEPTH else "":
        depth += (character == "[") - (character == "]")
        deepest = max(deepest, depth)
    return deepest


_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_LITERALS = ("BININT", "BININT1", "BININT2", "LONG1", "LONG4", "BINFLOAT", "BINUNICODE", "SHORT_BINUNICODE",
             "BINUNICODE8", "SHORT_BINSTRING", "BINSTRING", "INT", "LONG", "FLOAT", "UNICODE", "STRING")  # fmt: skip
_EMPTY = {"EMPTY_TUPLE": "tuple", "EMPTY_LIST": "list", "EMPTY_DICT": "dict"}
