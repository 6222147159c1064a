"""One pass over a layer's stored bytes: the facts for several patterns at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from generator.layers.blob import BlobStream
from generator.layers.builder import FactsBuilder
from generator.layers.decompress import Decompressed
from generator.layers.facts import Checked, LayerFacts
from generator.layers.limits import DEFAULT, Limits
from generator.layers.member import Member
from generator.layers.pattern import Pattern
from generator.layers.tar import TarReader
from generator.layers.toc import Toc, UnusableToc

Facts = Mapping[Pattern, LayerFacts]


class Scan:
    """After `run`, `whole` says whether the tar was walked to its end. `facts` takes how the caller checked
    the bytes, which it only knows later."""

    def __init__(self, patterns: Sequence[Pattern], *, limits: Limits = DEFAULT) -> None:
        self._limits = limits
        self._builders = [FactsBuilder(pattern, limits) for pattern in patterns]
        self.whole = False

    def run(self, blob: BlobStream, *, early_exit: bool = False) -> None:
        """`early_exit` stops where every pattern is exact and its file was seen. Raises Refused for a layer
        that can't be read, LimitPassed for a bomb."""
        if not blob.peek(1):
            self.whole = True  # some builders write an empty blob for an empty layer
            return
        sieve = _Sieve(self._builders)
        tar = TarReader(Decompressed(blob, self._limits), limits=self._limits, sieve=sieve)
        for member in tar.members():
            self._add(tar, member)
            sieve.refresh()
            if early_exit and all(builder.settled for builder in self._builders):
                return
        self.whole = True

    def facts(self, checked: Checked) -> Facts:
        return {b.pattern: b.facts(whole=self.whole, checked=checked) for b in self._builders}

    def _add(self, tar: TarReader, member: Member) -> None:
        wanting = [builder for builder in self._builders if builder.add(member)]
        if not wanting:
            return
        problem, data = _problem(member, self._limits), b""
        if tar.sparse:
            problem = "is stored as a sparse file"
        if not problem:
            data = tar.content()
        for builder in wanting:
            if problem:
                builder.problem(member.path, problem)
            else:
                builder.content(member.path, data)


def facts_from_toc(toc: Toc, patterns: Sequence[Pattern], *, limits: Limits = DEFAULT) -> Facts | None:
    """The same from a table of contents, one request for each wanted file; None where it proves unusable."""
    builders = [FactsBuilder(pattern, limits) for pattern in patterns]
    for member in toc.members:
        wanting = [builder for builder in builders if builder.add(member)]
        if not wanting:
            continue
        problem, data = _problem(member, limits), b""
        if not problem:
            try:
                data = toc.content(member)
            except UnusableToc:
                return None
        for builder in wanting:
            if problem:
                builder.problem(member.path, problem)
            else:
                builder.content(member.path, data)
    checked = Checked.TOC if toc.verified else Checked.NOT
    return {builder.pattern: builder.facts(whole=True, checked=checked) for builder in builders}


def _problem(member: Member, limits: Limits) -> str:
    if member.size > limits.file:
        return f"has {member.size} bytes, more than the {limits.file} that are read of one file"
    return ""


class _Sieve:
    def __init__(self, builders: Sequence[FactsBuilder]) -> None:
        self._builders = builders
        self._seen = -1
        self.exact: frozenset[bytes] = frozenset()
        self.prefixes: tuple[bytes, ...] = ()
        self.refresh()

    def refresh(self) -> None:
        version = sum(builder.version for builder in self._builders)
        if version != self._seen:
            self._seen = version
            self.exact = frozenset().union(*(builder.exact for builder in self._builders))
            self.prefixes = tuple({prefix for builder in self._builders for prefix in builder.prefixes})
