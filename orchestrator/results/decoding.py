"""Files of results are decoded elsewhere: in processes with a limit, which may die of what they read.

One is started for the whole life of this program, and further ones where there are thousands of files. Should one die,
its files are read again one by one, and the one of which it dies is refused.
"""

import atexit
import json
import os
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.errors import ResultError
from orchestrator.system.library_folders import PACKAGE

if TYPE_CHECKING:
    import pyarrow as pa

LARGEST_FILE = 512 * 2**20
"""Bytes that a file may have, packed and unpacked: results of other machines are not trusted."""

CHUNK = 256
"""Files that are read together."""

MANY = 1000
"""Files from which on it pays to read them in several processes."""

MOST = 4 * 2**30
"""Bytes that all rows of one question may have in memory together."""

LONGEST = 300.0
"""Seconds that a chunk of files may take."""

HEAD = struct.Struct("<QQ")
"""The header of an answer: the sizes of its JSON and of its Arrow stream."""

COMMAND = "import sys; sys.path.insert(0, sys.argv[1]); from orchestrator.results.decoder import main; main()"
QUIET = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "ARROW_DEFAULT_MEMORY_POOL": "system"}
"""No threads and no memory ahead of need: both count against the limit."""


@dataclass(frozen=True)
class Refusal:
    """A file, or rows of one, that were not taken.

    ``foreign``: it never was a result, and is left alone. ``kept``: its rows are there, but changed.
    """

    path: Path
    error: ResultError
    foreign: bool = False
    kept: bool = False

    def __post_init__(self) -> None:
        """Keep what is said in a line of its own, whatever a file is called."""
        self.error.what = self.error.what.replace("\n", " ")

    @property
    def is_note(self) -> bool:
        """Whether nothing was lost by it."""
        return self.foreign or self.kept


@dataclass(frozen=True)
class Found:
    """The rows of some files, how many of them each file has, and what was refused."""

    table: "pa.Table"
    counts: Sequence[int] = ()
    refused: Sequence[Refusal] = field(default_factory=list)


class Decoder:
    """A process that decodes files; a new one after the death of the last. Safe to call from several threads."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()
        atexit.register(self.close)

    def read(self, paths: Sequence[Path], columns: Sequence[str] | None = None) -> Found:
        """Return the rows of some files; with ``columns`` only those, unchecked."""
        with self._lock:
            answer = self._answer(paths, columns)
            if answer is not None:
                return answer
            single = [self._answer([path], columns) or died(path) for path in paths]
        return together(single)

    def _answer(self, paths: Sequence[Path], columns: Sequence[str] | None) -> Found | None:
        """The answer of the process; None if it has died of the question, or takes too long."""
        import pyarrow as pa

        process = self._started()
        assert process.stdin is not None
        assert process.stdout is not None
        late = threading.Timer(LONGEST, process.kill)
        late.daemon = True
        late.start()
        try:
            question = {"paths": [os.path.abspath(path) for path in paths], "columns": columns and list(columns)}
            process.stdin.write(json.dumps(question).encode() + b"\n")
            process.stdin.flush()
            said, size = HEAD.unpack(process.stdout.read(HEAD.size))
            head = json.loads(process.stdout.read(said))
            body = process.stdout.read(size)
            table = pa.ipc.open_stream(pa.py_buffer(body)).read_all()
        except (OSError, ValueError, struct.error, pa.ArrowException):
            self.close()
            return None
        except BaseException:  # Ctrl-C in the middle of an answer: the next question must not get its rest
            self.close()
            raise
        finally:
            late.cancel()
        names = {os.path.abspath(path): path for path in paths}
        return Found(table, head["counts"], [as_refusal(each, names) for each in head["refused"]])

    def start(self) -> None:
        """Start the process unless it runs: loading takes half a second, so better ahead of need."""
        with self._lock:
            self._started()

    def _started(self) -> "subprocess.Popen[bytes]":
        if self._process is None or self._process.poll() is not None:
            self._process = subprocess.Popen(
                [sys.executable, "-c", COMMAND, str(PACKAGE.parent)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env={**os.environ, **QUIET},
                start_new_session=True,  # so that Ctrl-C reaches only this process
            )
        return self._process

    def close(self) -> None:
        """End the process."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            for pipe in (process.stdin, process.stdout):
                with suppress(OSError):
                    pipe and pipe.close()
            process.wait()


ONE = Decoder()
"""The decoder of this program."""


def read(paths: Sequence[Path], columns: Sequence[str] | None = None) -> Found:
    """Return the rows of any number of files, in their order, each checked against the model of a row."""
    if len(paths) < MANY:
        return together(limited(ONE.read(chunk, columns) for chunk in in_chunks(paths)))
    others = [Decoder() for _ in range(min(os.cpu_count() or 1, 8) - 1)]
    free = [ONE, *others]

    def take(chunk: Sequence[Path]) -> Found:
        decoder = free.pop()
        try:
            return decoder.read(chunk, columns)
        finally:
            free.append(decoder)

    try:
        with ThreadPoolExecutor(len(free)) as pool:
            return together(limited(pool.map(take, in_chunks(paths))))
    finally:
        for decoder in others:
            decoder.close()
            atexit.unregister(decoder.close)


def limited(answers: Iterator[Found] | Any) -> Iterator[Found]:
    """Answers as they come; raises ResultError as soon as they are too large together."""
    size = 0
    for answer in answers:
        size += answer.table.nbytes
        if size > MOST:
            raise ResultError(
                f"These files have more than {MOST / 2**30:,.0f} GB of results: more than can be read at once."
            )
        yield answer


def together(answers: Sequence[Found] | Iterator[Found]) -> Found:
    """Several answers as one."""
    import pyarrow as pa

    from orchestrator.results.schema import schema

    every = list(answers)
    tables = [each.table for each in every if each.table.num_columns] or [schema().empty_table()]
    refused = [refusal for each in every for refusal in each.refused]
    return Found(pa.concat_tables(tables), [count for each in every for count in each.counts], refused)


def missing(path: Path) -> ResultError:
    """Return the error for a file that does not exist."""
    remedy = "Run 'rosetta run', or name a file, or a results folder while a run fills it."
    return ResultError(f"There is no {path}.".replace("\n", " "), remedy=remedy)


def died(path: Path) -> Found:
    """Return the answer for a file that made a decoder die."""
    from orchestrator.results.schema import schema

    error = ResultError(f"{path} can't be decoded: the decoding process died or took too long.")
    return Found(schema().empty_table(), [0], [Refusal(path, error)])


def as_refusal(said: dict[str, Any], names: dict[str, Path]) -> Refusal:
    """Parse a refusal from the decoder; its file is named as the caller named it."""
    path = names[said["path"]]
    texts = [said[part].replace(said["path"], str(path)) for part in ("what", "why", "remedy")]
    return Refusal(path, ResultError(*texts), said["foreign"], said.get("kept", False))


def in_chunks(paths: Sequence[Path]) -> Iterator[Sequence[Path]]:
    """The paths, some at a time."""
    return (paths[start : start + CHUNK] for start in range(0, len(paths), CHUNK))
