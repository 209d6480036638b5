"""Mutated files: models, cards, XML and run files, each from a sound one, reproducible from a seed.

An archive is mutated as bytes (its checksums then are wrong) or inside its records, with the checksums repaired so that
the mutation reaches whoever reads the records; of those, half have the manifest of hashes repaired as well.
"""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import io
import json
import random
import re
import struct
import zipfile
from collections.abc import Callable
from typing import Any

MANIFEST = "extra/openmm_nn_manifest.json"
CARD = "extra/openmm_nn_card.json"
INTERESTING = (b"\x00\x00\x00\x00", b"\xff\xff\xff\xff", b"\xff\xff\xff\x7f", b"\x00\x00\x00\x80", b"\x01\x00\x00\x00")
NUMBERS = (
    "-1",
    "0",
    "1e999",
    "-1e999",
    "nan",
    "2147483648",
    "-2147483649",
    "99999999999999999999",
    "",
    "x",
    "0x10",
    "1e308",
)


@dataclasses.dataclass(frozen=True)
class Mutant:
    """A mutated file.

    Attributes
    ----------
    kind : str
        ``pt``, ``pt2``, ``card``, ``xml`` or ``run``.
    how : str
        What was done to it.
    data : bytes
        Its content.
    repaired : bool
        Whether the checksums of an archive are right.
    """

    kind: str
    how: str
    data: bytes
    repaired: bool = False


# ---- bytes ---------------------------------------------------------------------------------------------------------


def mutate_bytes(data: bytes, rng: random.Random) -> bytes:
    """Flip, overwrite, delete, insert, repeat or cut, one to eight times."""
    b = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 4, 8))):
        if not b:
            b = bytearray(b"\x00")
        i = rng.randrange(len(b))
        n = rng.choice((1, 2, 4, 16, 64))
        way = rng.randrange(7)
        if way == 0:
            b[i] ^= 1 << rng.randrange(8)
        elif way == 1:
            b[i] = rng.randrange(256)
        elif way == 2:
            del b[i : i + n]
        elif way == 3:
            b[i:i] = rng.randbytes(n)
        elif way == 4:
            b[i : i + 4] = rng.choice(INTERESTING)
        elif way == 5:
            b[i:i] = b[max(0, i - n) : i] * rng.choice((1, 2, 10))
        elif rng.random() < 0.3:
            del b[i:]
        else:
            b[i : i + n] = rng.randbytes(len(b[i : i + n]))
    return bytes(b)


# ---- archives ------------------------------------------------------------------------------------------------------


def read_records(data: bytes) -> dict[str, bytes]:
    """Contents of an archive's entries, by their full names."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def write_records(records: dict[str, bytes] | list[tuple[str, bytes]], compressed: bool = False) -> bytes:
    """An archive of entries, with right checksums."""
    import warnings

    buffer = io.BytesIO()
    pairs = list(records.items()) if isinstance(records, dict) else records
    method = zipfile.ZIP_DEFLATED if compressed else zipfile.ZIP_STORED
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of names that are there twice
        with zipfile.ZipFile(buffer, "w", method) as archive:
            for name, content in pairs:
                archive.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), content, compress_type=method)
    return buffer.getvalue()


def repair_manifest(records: dict[str, bytes]) -> dict[str, bytes]:
    """Entries with a manifest that agrees with them, if there is one."""
    found = [name for name in records if name.endswith(MANIFEST)]
    if not found:
        return records
    listed = {n.partition("/")[2]: hashlib.sha256(c).hexdigest() for n, c in records.items() if n != found[0]}
    return {**records, found[0]: json.dumps({"version": 1, "records": listed}).encode()}


def mutate_record(name: str, content: bytes, rng: random.Random) -> tuple[str, bytes]:
    """Mutate one record in a way that suits it."""
    if name.endswith(".pkl") and rng.random() < 0.6:
        return mutate_pickle(content, rng)
    if name.endswith(".py") and rng.random() < 0.8:
        return mutate_code(content, rng)
    if name.endswith(CARD) and rng.random() < 0.7:
        how, text = mutate_card(content.decode(), rng)
        return how, text.encode("utf-8", "surrogatepass")
    return "bytes", mutate_bytes(content, rng)


def mutate_pickle(content: bytes, rng: random.Random) -> tuple[str, bytes]:
    """Change numbers, names and nesting of a pickle."""
    way = rng.randrange(7)
    if way == 0:
        # Sizes of tensors, offsets, keys: one number becomes another.
        places = [m.start() for m in re.finditer(rb"K[\x00-\xff]", content)]
        i = rng.choice(places or [0])
        new = rng.choice(
            (b"J\xff\xff\xff\x7f", b"J\xff\xff\xff\xff", b"K\x00", b"K\xff", b"\x8a\x08" + b"\xff" * 7 + b"\x7f")
        )
        return "pickle: a number", content[:i] + new + content[i + 2 :]
    if way == 1:
        return "pickle: a global", content.replace(b"ctorch._utils\n_rebuild_tensor_v2\n", b"cos\nsystem\n")
    if way == 2:
        depth = rng.choice((100, 1000, 100_000))
        return "pickle: nested", content[:2] + b"(" * depth + b"l" * depth + content[2:]
    if way == 3:
        return "pickle: nested tuples", content[:-1] + b"\x85" * rng.choice((50, 5000, 500_000)) + b"."
    if way == 4:
        return "pickle: another protocol", b"\x80" + bytes([rng.randrange(256)]) + content[2:]
    if way == 5:
        return "pickle: a memory cell", content.replace(b"h", b"j" + rng.randbytes(4), rng.choice((1, 3)))
    keys = [m.start() for m in re.finditer(rb"X\x01\x00\x00\x00[0-9]", content)]
    if not keys:
        return "bytes", mutate_bytes(content, rng)
    i = rng.choice(keys) + 5
    return "pickle: another storage", content[:i] + bytes([rng.choice(b"0123456789a")]) + content[i + 1 :]


def mutate_code(content: bytes, rng: random.Random) -> tuple[str, bytes]:
    """Change TorchScript code by tokens and lines."""
    text = content.decode()
    lines = text.split("\n")
    i = rng.randrange(len(lines))
    way = rng.randrange(8)
    if way == 0:
        del lines[i]
        return "code: a line less", "\n".join(lines).encode()
    if way == 1:
        lines.insert(i, lines[rng.randrange(len(lines))])
        return "code: a line twice", "\n".join(lines).encode()
    if way == 2:
        tokens = re.findall(r"\w+|\W", text)
        j, k = rng.randrange(len(tokens)), rng.randrange(len(tokens))
        tokens[j], tokens[k] = tokens[k], tokens[j]
        return "code: tokens exchanged", "".join(tokens).encode()
    if way == 3:
        deep = rng.choice((150, 5000, 200_000))
        body = "(" * deep + "1" + ")" * deep
        return "code: nested", text.replace("return ", f"xx = {body}\n    return ", 1).encode()
    if way == 4:
        return "code: writes a file", text.replace("return ", 'torch.save(1, "/tmp/x")\n    return ', 1).encode()
    if way == 5:
        return "code: long chain", text.replace("return ", f"xx = {'not ' * 20000}True\n    return ", 1).encode()
    if way == 6:
        number = rng.choice(("-1", "999999999999", "1e309", "0"))
        return "code: a number", re.sub(r"\b\d+\b", number, text, count=rng.choice((1, 3, 100))).encode()
    return "code: types", text.replace(
        "Tensor", rng.choice(("int", "str", "List[Tensor]", "Any")), rng.choice((1, 5))
    ).encode()


def lying_sizes(data: bytes, rng: random.Random) -> bytes:
    """Sizes, offsets, flags and methods of the directory changed, the contents left alone."""
    b = bytearray(data)
    places = [m.start() for m in re.finditer(b"PK\x01\x02", data)]
    if not places:
        return mutate_bytes(data, rng)
    for _ in range(rng.choice((1, 2))):
        i = rng.choice(places)
        field = rng.choice((8, 10, 20, 24, 28, 30, 42))
        if field in (8, 10, 28, 30):
            struct.pack_into("<H", b, i + field, rng.choice((0, 1, 8, 99, 0xFFFF, 14)))
        else:
            struct.pack_into("<I", b, i + field, rng.choice((0, 1, 0x7FFFFFFF, 0xFFFFFFFF, 0xFFFFFFFE, 4096)))
    return bytes(b)


def archive_trick(records: dict[str, bytes], rng: random.Random) -> tuple[str, bytes]:
    """Names, counts and sizes that a reader must refuse."""
    names = list(records)
    top = names[0].partition("/")[0]
    way = rng.randrange(9)
    if way == 0:
        name = rng.choice(
            ("../../outside", "/etc/outside", "..\\outside", f"{top}/../outside", f"{top}/a\nb", f"{top}//x")
        )
        return "archive: a name that climbs", write_records({**records, name: b"x"})
    if way == 1:
        pairs = [*records.items(), (rng.choice(names), rng.randbytes(40))]
        return "archive: a name twice", write_records(pairs)
    if way == 2:
        return "archive: a bomb", write_records({**records, f"{top}/extra/zeros": bytes(1 << 27)}, compressed=True)
    if way == 3:
        return "archive: many entries", write_records({**records, **{f"{top}/extra/{i}": b"" for i in range(21_000)}})
    if way == 4:
        gone = rng.choice(names)
        return "archive: a record less", write_records({n: c for n, c in records.items() if n != gone})
    if way == 5:
        a, b = rng.sample(names, 2)
        return "archive: records exchanged", write_records({**records, a: records[b], b: records[a]})
    if way == 6:
        return "archive: another folder", write_records(
            {n.replace(top, "other", 1) if rng.random() < 0.5 else n: c for n, c in records.items()}
        )
    if way == 7:
        return "archive: nothing inside", write_records({})
    shifted = b"#!/bin/sh\n" * 3 + write_records(records)
    return "archive: something before it", shifted


def mutate_archive(kind: str, data: bytes, rng: random.Random, repaired: bool) -> Mutant:
    """Mutate an archive, with right checksums or with wrong ones."""
    if not repaired:
        if rng.random() < 0.3:
            return Mutant(kind, "directory", lying_sizes(data, rng))
        return Mutant(kind, "bytes of the archive", mutate_bytes(data, rng))
    records = read_records(data)
    if rng.random() < 0.25:
        how, new = archive_trick(records, rng)
        return Mutant(kind, how, new, True)
    weights = [
        0.3 if re.search(r"/(data|constants)/\d+$", n) else 6.0 if n.endswith((".pkl", ".py")) else 2.0 for n in records
    ]
    name = rng.choices(list(records), weights)[0]
    how, content = mutate_record(name, records[name], rng)
    records = {**records, name: content}
    if rng.random() < 0.75:
        records = repair_manifest(records)
    return Mutant(kind, f"{name.partition('/')[2]}: {how}", write_records(records, rng.random() < 0.2), True)


# ---- cards ---------------------------------------------------------------------------------------------------------


def mutate_card(text: str, rng: random.Random) -> tuple[str, str]:
    """Change fields, types and the JSON itself."""
    values: dict[str, Any] = json.loads(text)
    key = rng.choice(list(values))
    way = rng.randrange(8)
    if way == 0:
        del values[key]
        return "card: a field less", json.dumps(values)
    if way == 1:
        strange: list[Any] = [
            None,
            True,
            -1,
            10**400,
            1e308,
            "",
            "x" * 10,
            [],
            [1],
            {},
            {"a": "b"},
            [[]],
            {"H": float("nan")},
        ]
        values[key] = rng.choice(strange)
        return "card: a strange value", json.dumps(values)
    if way == 2:
        depth = rng.choice((10, 1000, 100_000))
        return "card: nested", text.replace("{", '{"name": ' + "[" * depth + "]" * depth + ",", 1)
    if way == 3:
        values[rng.choice(("__class__", "extra", "Name", "card_version "))] = 1
        return "card: an unknown field", json.dumps(values)
    if way == 4:
        values["name"] = rng.choice(("x" * 2_000_000, "\ud800", "\u0000", "<&\"'>", "\u202e", "]]>"))
        return "card: a strange name", json.dumps(values)
    if way == 5:
        number = rng.choice(("1e999", "NaN", "-Infinity", "9" * 5000, "0x1", "1_000"))
        return "card: a strange number", re.sub(r"-?\d+(\.\d+)?", number, text, count=rng.choice((1, 2, 20)))
    if way == 6:
        return "card: twice the same", text.replace("{", '{"cutoff": 1.0, "cutoff": 3.0, ', 1)
    return "card: bytes", mutate_bytes(text.encode(), rng).decode("utf-8", "replace")


# ---- XML -----------------------------------------------------------------------------------------------------------


def mutate_xml(text: str, rng: random.Random) -> Mutant:
    """Change attributes, nodes and the model of a serialised System; or play tricks with entities."""
    way = rng.randrange(9)
    repaired = False
    if way == 0:
        places = list(re.finditer(r'(\w+)="([^"]{1,40})"', text))
        m = rng.choice(places)
        text, how = text[: m.start(2)] + rng.choice(NUMBERS) + text[m.end(2) :], f"xml: {m.group(1)} is another"
    elif way == 1:
        places = list(re.finditer(r' (\w+)="[^"]{0,40}"', text))
        m = rng.choice(places)
        text, how = text[: m.start()] + text[m.end() :], f"xml: no {m.group(1)}"
    elif way == 2:
        lines = text.split("\n")
        i = rng.randrange(len(lines))
        if rng.random() < 0.5:
            del lines[i]
        else:
            lines.insert(i, lines[rng.randrange(len(lines))])
        text, how = "\n".join(lines), "xml: a line"
    elif way == 3:
        laughs = "".join(f'<!ENTITY l{i} "{f"&l{i - 1};" * 10}">' for i in range(1, 12))
        doctype = f'<!DOCTYPE System [<!ENTITY l0 "lol">{laughs}]>'
        text = text.replace("<System", doctype + "\n<System", 1)
        text, how = text.replace('name="NeuralForce"', 'name="&l11;"', 1), "xml: entities of entities"
    elif way == 4:
        name = rng.choice(("file:///etc/passwd", "/dev/zero", "http://localhost:1/"))
        text = text.replace("<System", f'<!DOCTYPE System [<!ENTITY x SYSTEM "{name}">]>\n<System', 1)
        text, how = text.replace('name="NeuralForce"', 'name="&x;"', 1), "xml: an outer entity"
    elif way == 5:
        # OpenMM's own reader goes as deep as the file nests; at 10⁵ the process ends before the plugin is asked.
        depth = rng.choice((100, 1000, 5000))
        new = "<A>" * depth + ("</A>" * depth if rng.random() < 0.7 else "")
        text, how = text.replace("<Forces>", f"<Forces>{new}", 1), "xml: nested"
    elif way in (6, 7):
        found = re.search(r'base64="([^"]*)"', text)
        assert found is not None
        model = base64.b64decode(found.group(1))
        mutant = mutate_archive("pt", model, rng, repaired=rng.random() < 0.7)
        text = text[: found.start(1)] + base64.b64encode(mutant.data).decode() + text[found.end(1) :]
        how, repaired = f"xml: model, {mutant.how}", way == 6
        if repaired:
            text = re.sub(r'sha256="[^"]*"', f'sha256="{hashlib.sha256(mutant.data).hexdigest()}"', text)
    else:
        return Mutant("xml", "xml: bytes", mutate_bytes(text.encode(), rng))
    return Mutant("xml", how, text.encode("utf-8", "surrogatepass"), repaired)


# ---- run files -----------------------------------------------------------------------------------------------------


def mutate_run(text: str, rng: random.Random) -> Mutant:
    """Change lines, values and YAML's own tricks."""
    lines = text.split("\n")
    i = rng.randrange(len(lines))
    way = rng.randrange(8)
    if way == 0:
        del lines[i]
        return Mutant("run", "run: a line less", "\n".join(lines).encode())
    if way == 1:
        lines.insert(i, lines[rng.randrange(len(lines))])
        return Mutant("run", "run: a line twice", "\n".join(lines).encode())
    if way == 2:
        value = rng.choice((*NUMBERS, "[]", "{}", "null", "yes", "1 parsec", "10" * 3000, "'", "*a", "&a x", "!!int x"))
        lines[i] = re.sub(r":.*$", lambda _: f": {value}", lines[i])
        return Mutant("run", "run: a strange value", "\n".join(lines).encode())
    if way == 3:
        tag = rng.choice(
            ("!!python/object/apply:os.system ['touch /tmp/x']", "!!python/name:os.system", "!!binary //8=")
        )
        return Mutant("run", "run: a tag", f"{text}\nextra: {tag}\n".encode())
    if way == 4:
        laughs = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n"
        laughs += "".join(f"a{k}: &a{k} [{', '.join([f'*a{k - 1}'] * 9)}]\n" for k in range(1, 12))
        return Mutant("run", "run: aliases of aliases", (laughs + text).encode())
    if way == 5:
        depth = rng.choice((50, 5000, 100_000))
        return Mutant("run", "run: nested", (text + "\nextra: " + "[" * depth + "]" * depth).encode())
    if way == 6:
        lines[i] = " " * rng.choice((1, 3, 2000)) + lines[i]
        return Mutant("run", "run: indentation", "\n".join(lines).encode())
    return Mutant("run", "run: bytes", mutate_bytes(text.encode(), rng))


# ---- the corpus ----------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Seeds:
    """The sound files: several models, one card, one XML, one run file; a compiled package where there is one."""

    models: tuple[bytes, ...]
    card: str
    xml: str
    run: str
    package: bytes | None = None


def corpus(seeds: Seeds, count: int, seed: int) -> list[Mutant]:
    """Make mutants: of ten, four or three are models, two cards, two XML, one or two run files, one a package."""
    rng = random.Random(seed)
    made = []
    makers: tuple[Callable[[int], Mutant], ...] = (
        lambda k: mutate_archive("pt", rng.choice(seeds.models), rng, repaired=k % 2 == 0),
        lambda k: Mutant("card", *_card(seeds.card, rng)),
        lambda k: mutate_xml(seeds.xml, rng),
        lambda k: mutate_run(seeds.run, rng),
    )
    for k in range(count):
        slot = k % 10
        if slot == 9 and seeds.package is not None:
            made.append(mutate_archive("pt2", seeds.package, rng, repaired=(k // 10) % 2 == 0))
        else:
            made.append(makers[0 if slot < 4 else 1 if slot < 6 else 2 if slot < 8 else 3](k))
    return made


def _card(text: str, rng: random.Random) -> tuple[str, bytes]:
    how, new = mutate_card(text, rng)
    return how, new.encode("utf-8", "surrogatepass")
