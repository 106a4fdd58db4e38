"""What a user sees who may read nothing but what all may read."""

import os
from collections.abc import Callable

NOBODY = 65534


def as_nobody(ask: Callable[[], object], expected: type[Exception]) -> str:
    """What the expected error says when that user asks; who isn't root asks as himself."""
    reading, writing = os.pipe()
    if (child := os.fork()) == 0:
        said = "nothing was refused"
        try:
            if os.getuid() == 0:
                os.setgroups([])
                os.setgid(NOBODY)
                os.setuid(NOBODY)
            ask()
        except expected as error:
            said = str(error)
        except BaseException as error:
            said = repr(error)
        finally:
            os.write(writing, said.encode())
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        said = pipe.read()
    os.waitpid(child, 0)
    return said
