"""Fields of tar headers: POSIX.1-2017 `pax`, GNU tar's manual ("Basic Tar Format"), star(5)."""

from __future__ import annotations

from collections.abc import Mapping

from catalog.errors import Refused


def check_sum(block: bytes) -> None:
    """Raises Refused unless the header's checksum is that of its bytes, unsigned or, as early writers had it,
    signed."""
    stated = number(block[148:156])
    rest = block[:148] + b" " * 8 + block[156:]
    unsigned = sum(rest)
    if stated not in (unsigned, unsigned - 256 * sum(byte > 127 for byte in rest)):
        raise Refused("not a tar archive, or a damaged one: the checksum of a header is wrong")


def size(block: bytes) -> int:
    digits = block[124:135]
    if digits.isdigit() and block[135] in (0, 32):  # as nearly every writer puts it
        try:
            return int(digits, 8)
        except ValueError:
            pass  # an 8 or a 9; told below
    return number(block[124:136])


def number(field: bytes) -> int:
    """Octal, blank (0), or base-256 where the first bit is set. Raises Refused."""
    if field[0] & 0x80:
        # GNU: the remaining bits are a big-endian two's complement number; nothing here can be negative.
        if field[0] & 0x40:
            raise Refused("a negative number in a tar header")
        return int.from_bytes(bytes((field[0] & 0x3F,)) + field[1:], "big")
    digits = until_nul(field).strip(b" ")
    if not digits:
        return 0
    if not digits.isdigit() or digits.strip(b"01234567"):
        raise Refused(f"not a number in a tar header: {digits!r}")
    return int(digits, 8)


def until_nul(field: bytes) -> bytes:
    return field.partition(b"\0")[0]


def path(block: bytes) -> bytes:
    """Name and prefix. Only POSIX headers have a prefix: in GNU's the same bytes are times and sparse maps,
    and star's field is shorter."""
    name = until_nul(block[:100])
    if block[257:263] != b"ustar\0":
        return name
    prefix = until_nul(block[345:476] if block[508:512] == b"tar\0" else block[345:500])
    return prefix + b"/" + name if prefix else name


def pax_extras(payload: bytes) -> Mapping[bytes, bytes]:
    """What a PAX header changes of the next member: path, linkpath, size, and whether it is sparse."""
    records = pax_records(payload)
    extras = {key: records[key] for key in (b"path", b"linkpath", b"size") if records.get(key)}
    if any(key.startswith(b"GNU.sparse.") for key in records):
        extras[b"sparse"] = b"yes"
        if records.get(b"GNU.sparse.name"):
            extras[b"path"] = records[b"GNU.sparse.name"]
    for key in (b"path", b"linkpath"):
        if b"\0" in extras.get(key, b""):
            raise Refused("a PAX header has a path with a NUL byte")
    return extras


def pax_records(payload: bytes) -> Mapping[bytes, bytes]:
    """`length key=value newline`, where length counts the whole record. Values stay bytes, which is right for
    both of hdrcharset's values. Raises Refused."""
    records: dict[bytes, bytes] = {}
    start = 0
    while start < len(payload):
        space = payload.find(b" ", start, start + 20)
        digits = payload[start:space] if space > 0 else b""
        if not digits.isdigit():
            if not payload[start:].strip(b"\0"):
                break  # some writers count the padding in
            raise Refused("a PAX header has a record without a length")
        end = start + int(digits)
        key, equals, value = payload[space + 1 : end - 1].partition(b"=")
        if not equals or end > len(payload) or payload[end - 1 : end] != b"\n":
            raise Refused("a PAX header has a malformed record")
        records[key] = value
        start = end
    return records


def pax_number(value: bytes) -> int:
    if not value.isdigit() or len(value) > 20:
        raise Refused(f"a PAX header has a size that is no number: {value[:40]!r}")
    return int(value)
