"""Scripts in untrusted images: whatever they do, they end, and nothing of them is left."""

import threading
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from orchestrator.engines.scripts import printed
from orchestrator.errors import BuildError


class Api:
    """An engine with one container that prints a few words, and then waits to be killed unless it ends by itself."""

    def __init__(self, hangs: bool) -> None:
        self.hangs, self.killed, self.removed = hangs, threading.Event(), False

    def attach(self, container: str, **how: object) -> Any:
        class Stream:
            _response = SimpleNamespace(close=lambda: None)

            def __iter__(stream) -> Iterator[bytes]:
                yield b"words"
                if self.hangs:
                    assert self.killed.wait(10)

        return Stream()

    def start(self, container: str) -> None:
        """Nothing has to begin."""

    def kill(self, container: str) -> None:
        self.killed.set()

    def remove_container(self, container: str, **how: object) -> None:
        self.removed = True


def test_a_script_that_hangs_is_killed_and_says_so():
    api = Api(hangs=True)
    with pytest.raises(BuildError) as raised:
        printed(api, "it", 100, patience=0.1)
    assert raised.value.why == "It did not answer within 0 s."
    assert api.removed


def test_a_script_that_ends_is_not_killed():
    api = Api(hangs=False)
    assert printed(api, "it", 3, patience=60) == b"wor"
    assert not api.killed.is_set()
    assert api.removed
