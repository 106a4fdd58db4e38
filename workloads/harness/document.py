"""What a cell says: events while it runs, one JSON document at its end."""

import json
import os
import sys
import uuid

from harness import workers


def results_folder():
    """Where the document goes: ``/results`` in a container, elsewhere as ``ROSETTA_RESULTS`` says."""
    return os.environ.get("ROSETTA_RESULTS", "/results")


def event(kind, **fields):
    """Print one event: a JSON line for programs, plain text for a person at a terminal. One worker speaks for all."""
    if workers.rank():
        return
    if sys.stdout.isatty():
        text = "  ".join("%s %s" % (key, format_value(value)) for key, value in fields.items())
        print("%-8s %s" % (kind, text), flush=True)
    else:
        print(json.dumps(dict(event=kind, **fields)), flush=True)


def format_value(value):
    """Numbers with four significant digits, everything else as it is."""
    return "%.4g" % value if isinstance(value, float) else value


def write(document):
    """Write the document; return its path."""
    name = "%s-%s-%s.json" % (document["library"], document["workload"], uuid.uuid4().hex[:12])
    return write_whole(name, (json.dumps(document, indent=1, sort_keys=True, allow_nan=False) + "\n").encode())


def write_whole(name, content):
    """Write a file by rename, so that a reader finds all of it or nothing; return its path."""
    folder = results_folder()
    partial, path = os.path.join(folder, "." + name + ".partial"), os.path.join(folder, name)
    with open(partial, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.rename(partial, path)
    return path
