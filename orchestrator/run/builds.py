"""Images in the order in which cells need them, built in the background while other cells already run."""

import os
import signal
import threading
import time
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from orchestrator.engines.protocol import Engine
from orchestrator.errors import BuildError, RosettaError
from orchestrator.images.image import Image
from orchestrator.system.terminal import Say

AT_A_TIME = 2
"""Builds side by side: one may download while another compiles. They share the engine's cache."""

PAUSES = (5.0, 30.0, 120.0)
"""Seconds to wait before retrying a build that failed for a passing reason."""

AGAIN = 0.5
"""Seconds until a build that is to end is looked at again."""


class Builder:
    """Builds each image once, ``deadline`` seconds at most; a future per image tells how far it is.

    Nothing is built before ``start``: whoever calls that can already call ``close``, whatever happens meanwhile.
    ``digests`` are those of the images that are ready, by their tags; empty for what has none.
    """

    def __init__(self, engine: Engine, images: Iterable[Image], deadline: float, say: Say) -> None:
        self.engine, self.deadline, self.say = engine, deadline, say
        self.digests: dict[str, str] = {}
        self._stopped = threading.Event()
        self._threads: set[int] = set()
        self._pool = ThreadPoolExecutor(AT_A_TIME, thread_name_prefix="build")
        self._images = list(images)
        self._futures: dict[Image, Future[None]] = {}

    def start(self) -> None:
        """Begin to build the images."""
        self._futures = {image: self._pool.submit(self._build, image) for image in self._images}

    def is_ready(self, image: Image) -> bool:
        """Whether cells of this image can start."""
        future = self._futures[image]
        return future.done() and future.exception() is None

    def error(self, image: Image) -> RosettaError | None:
        """Return why the image could not be built; None if it was, or is not known yet. Errors not ours are raised."""
        future = self._futures[image]
        error = future.exception() if future.done() else None
        if error is not None and not isinstance(error, RosettaError):
            raise error
        return error

    @property
    def building(self) -> list["Future[None]"]:
        """The builds that are not done."""
        return [future for future in self._futures.values() if not future.done()]

    def once(self, image: Image) -> None:
        """Build the image, or see that it is there; raises BuildError if that takes too long."""
        late, thread = threading.Event(), threading.get_native_id()
        timer = threading.Timer(self.deadline, end_late, (thread, late))
        timer.daemon = True
        timer.start()
        self._threads.add(thread)
        try:
            self.digests[image.tag] = self.engine.prepare([image], self.say).get(image.tag, "")
        except RosettaError as error:
            if late.is_set():
                what = f"The image {image.name} was not built within {self.deadline:,.0f} s."
                raise BuildError(what, error.why, "Allow more time with --build-deadline SECONDS.") from None
            raise
        finally:
            self._threads.discard(thread)
            timer.cancel()

    def close(self) -> None:
        """Stop the running builds and start no more."""
        self._stopped.set()
        self._pool.shutdown(wait=False, cancel_futures=True)
        while self._threads:  # each runs one program after the other: the next may begin only now
            for thread in list(self._threads):
                end_children(thread)
            time.sleep(AGAIN)
        self._pool.shutdown()

    def _build(self, image: Image) -> None:
        for pause in PAUSES:
            try:
                return self.once(image)
            except RosettaError as error:
                if self._stopped.is_set() or not error.passing:
                    raise
                self.say(f"{image.name}: {error.what} Trying again in {pause:,.0f} s.")
                if self._stopped.wait(pause):
                    raise
        return self.once(image)


def end_late(thread: int, late: threading.Event) -> None:
    """End what a thread has started because its deadline has passed."""
    late.set()
    end_children(thread)


def end_children(thread: int) -> None:
    """Send SIGTERM to the programs that a thread of this process has started; it sees them fail."""
    with suppress(OSError):
        for pid in Path(f"/proc/self/task/{thread}/children").read_text(encoding="utf-8").split():
            with suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGTERM)
