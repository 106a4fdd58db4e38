"""A results folder and a storage: what one has and the other lacks is copied, and nothing is ever replaced.

Pushing and pulling are the same copy in two directions. Each file is brought to this disk, compared with what was
listed of it, validated as a merge would, and only then added, under a name that is free.
"""

import hashlib
import os
import re
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from itertools import groupby
from pathlib import Path
from threading import Lock

from orchestrator.errors import ConflictError, ResultError
from orchestrator.results import shared
from orchestrator.results.paths import LOG, REPORTS, ResultsFolder, incompatible_as
from orchestrator.storage.folder import Folder
from orchestrator.storage.protocol import Entry, NotThere, Storage, Taken
from orchestrator.system.regular_files import is_plain, open_regular
from orchestrator.system.signals import Interruption
from orchestrator.system.terminal import Say, plain
from orchestrator.system.text_files import disk_errors

WORKERS = 8
"""Files copied at a time; the SDK keeps ten connections open."""

LINE_EVERY = 10.0
"""Seconds between two lines of progress where there is no terminal to draw a bar on."""

NAMED = 20
"""Most files that a message names."""


@dataclass
class Tally:
    """The outcome for files: ``copied`` and their ``size`` in bytes, and ``same`` as what was there.

    ``conflicts`` names those that differ on both sides, ``refused`` says what is wrong with bad ones, and ``foreign``
    names those that no results folder has.
    """

    copied: int = 0
    size: int = 0
    same: int = 0
    conflicts: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    foreign: list[str] = field(default_factory=list)

    def add(self, other: "Tally") -> None:
        """Count what another tally has counted."""
        for name, value in vars(other).items():
            setattr(self, name, getattr(self, name) + value)

    def __str__(self) -> str:
        if not self.copied:
            return f"nothing copied, {self.same:,} files were there already"
        return f"{self.copied:,} files copied ({self.size / 1e6:,.1f} MB), {self.same:,} were there already"


def push(results: Path, place: Storage, say: Say, interruption: Interruption) -> None:
    """Copy what is finished in a results folder to a storage that lacks it; raises as ``copy`` does."""
    if not results.is_dir():
        raise ResultError(f"There is no {results}.", remedy="Name a results folder with --results.")
    note_incompatible(results)
    copy(Folder(results), place, say, interruption)


def pull(results: Path, place: Storage, say: Say, interruption: Interruption) -> None:
    """Copy what a storage has into a results folder that lacks it; raises as ``copy`` does."""
    copy(place, Folder(results), say, interruption)


def note_incompatible(results: Path) -> None:
    """Keep the lists of cells that can't run under names of their own: they change from plan to plan."""
    folder = ResultsFolder(results)
    for path in (folder.incompatible, folder.parity.incompatible):
        if is_plain(path):
            with open_regular(path) as file, suppress(Taken):
                name = incompatible_as(hashlib.file_digest(file, "sha256").hexdigest())
                file.seek(0)
                Folder(path.parent).add(Entry(name, path.stat().st_size, path.stat().st_mtime_ns), file)


def copy(source: Storage, target: Storage, say: Say, interruption: Interruption) -> None:
    """Copy what ``target`` lacks, several files at a time, and report the outcome. What was copied stays in any case.

    Raises ConflictError at the end for files that differ or are damaged; StorageError, DiskError or KeyboardInterrupt
    where going on makes no sense.
    """
    tally, entries = Tally(), []
    for entry in source.entries():
        if shared.kind_of(entry.name):
            entries.append(entry)
        elif not shared.is_private(entry.name):
            tally.foreign.append(entry.name)
    there = {entry.name: entry for entry in target.entries() if shared.kind_of(entry.name)}
    copier = Copier(source, target, there, tally, interruption)
    try:
        side_by_side(copier, list(units(entries)), say, interruption)
    finally:
        say(str(tally))
    report(tally, source, target, say)


def side_by_side(copier: "Copier", wanted: list[list[Entry]], say: Say, interruption: Interruption) -> None:
    """Copy all that is wanted, several at a time; the first error, or an interruption, ends it."""
    with interruption.patience(), ThreadPoolExecutor(WORKERS) as pool, shown(say, len(wanted)) as show:
        futures = [pool.submit(copier.copy_together, unit) for unit in wanted]
        try:
            for done, future in enumerate(as_completed(futures), start=1):
                interruption.ask()
                future.result()
                show(done)
        finally:
            pool.shutdown(cancel_futures=True)


def units(entries: Iterable[Entry]) -> Iterator[list[Entry]]:
    """Yield files that are copied together or not at all: a result after its log, or another file alone.

    A log alone is left out: its cell still runs, or its result is still on its way.
    """
    by_name = sorted(entries, key=lambda entry: entry.name)
    for stem, group in groupby(by_name, key=lambda entry: re.sub(r"\.(log|parquet)$", "", entry.name)):
        unit = list(group)
        if unit[-1].name != stem + LOG or stem.startswith(f"{REPORTS}/"):
            yield unit


@dataclass(frozen=True)
class Copier:
    """Copies files from one storage to another, which had ``there`` at the start, and counts them in ``tally``."""

    source: Storage
    target: Storage
    there: Mapping[str, Entry]
    tally: Tally
    interruption: Interruption
    lock: Lock = field(default_factory=Lock)

    def copy_together(self, unit: list[Entry]) -> None:
        """Copy files that belong together, up to the first that can't be copied."""
        for entry in unit:
            try:
                before = self.there.get(entry.name) or self.copy(entry)
                if not before:
                    made = Tally(copied=1, size=entry.size)
                elif self.are_same(entry, before):
                    made = Tally(same=1)
                else:
                    made = Tally(conflicts=[entry.name])
            except ResultError as error:
                made = Tally(refused=[f"{error.what} {error.why}".strip()])
            with self.lock:
                self.tally.add(made)
            if made.conflicts or made.refused:
                return

    def copy(self, entry: Entry) -> Entry | None:
        """Copy a file, or return the one that has taken its name meanwhile; raises ResultError for a bad one."""
        with disk_errors(tempfile.gettempdir()), tempfile.TemporaryFile() as file:  # nameless, so gone with us
            md5 = hashlib.md5(usedforsecurity=False)
            for chunk in self.content(self.source, entry):
                file.write(chunk)
                md5.update(chunk)
            if file.tell() != entry.size or entry.md5 not in ("", md5.hexdigest()):
                raise ResultError(
                    f"{entry.name} does not have the content that its storage reports.", "It may be damaged."
                )
            file.seek(0)
            shared.check(Path(f"/proc/{os.getpid()}/fd/{file.fileno()}"), entry.name)  # the decoder reads it too
            file.seek(0)
            try:
                self.target.add(replace(entry, md5=md5.hexdigest()), file)
            except Taken:
                return replace(entry, md5="")
        return None

    def are_same(self, entry: Entry, before: Entry) -> bool:
        """Whether both storages have the same file; an unknown checksum is computed from its content."""
        return entry.size == before.size and self.md5(self.source, entry) == self.md5(self.target, before)

    def md5(self, storage: Storage, entry: Entry) -> str:
        """The MD5 of a file in hex."""
        md5 = hashlib.md5(usedforsecurity=False)
        for chunk in () if entry.md5 else self.content(storage, entry):
            md5.update(chunk)
        return entry.md5 or md5.hexdigest()

    def content(self, storage: Storage, entry: Entry) -> Iterator[bytes]:
        """The bytes of a file. Raises ResultError if it is gone, or has more of them than was listed or may be."""
        kind, size = shared.kind_of(entry.name), 0
        if kind is None or entry.size > kind.largest:
            raise ResultError(f"{entry.name} has {entry.size:,} bytes, more than such a file may have.")
        try:
            for chunk in storage.read(entry.name):
                self.interruption.ask()
                size += len(chunk)
                if size > entry.size:
                    raise ResultError(f"{entry.name} has more bytes than its storage reports.")
                yield chunk
        except NotThere:
            raise ResultError(f"{entry.name} is gone, or is not a file.") from None


@contextmanager
def shown(say: Say, total: int) -> Iterator[Callable[[int], None]]:
    """Show how many files are done: a bar on a terminal, else a line now and then. Yields what takes their number."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    from orchestrator.system.console import screen

    console, last = screen(stderr=True), time.monotonic()
    if console.is_terminal:
        with Progress(BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), console=console) as bar:
            task = bar.add_task("", total=total)
            yield lambda done: bar.update(task, completed=done)
        return

    def line(done: int) -> None:
        nonlocal last
        if time.monotonic() - last >= LINE_EVERY:
            last = time.monotonic()
            say(f"{done:,} of {total:,}")

    yield line


def report(tally: Tally, source: Storage, target: Storage, say: Say) -> None:
    """Say what became of the files; raises ConflictError if some could not be copied."""
    if tally.foreign:
        say(f"{len(tally.foreign):,} files of {source.address} belong to no result: {some(tally.foreign)}")
    for line in tally.refused[:NAMED]:
        say(f"refused: {printable(line)}")
    bad = len(tally.conflicts) + len(tally.refused)
    if bad:
        why = f"{source.address} and {target.address} differ in {some(tally.conflicts)}." if tally.conflicts else ""
        raise ConflictError(
            f"{bad:,} of the files could not be copied; nothing was replaced on either side.",
            why,
            "Push to another prefix, pull into another folder, or remove one of the two by hand.",
        )


def some(names: Sequence[str]) -> str:
    """The first names, fit to be printed."""
    rest = f" and {len(names) - NAMED:,} more" if len(names) > NAMED else ""
    return ", ".join(map(printable, sorted(names)[:NAMED])) + rest


def printable(text: str) -> str:
    """Text from anywhere, cut off and without what would move a terminal's cursor."""
    return str(plain(text[:300])).replace("\n", " ")
