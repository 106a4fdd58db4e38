"""What has moved since a lock was made, asked of an index of the test's own."""

import http.server
import json
import threading
from typing import ClassVar

import pytest

from orchestrator.errors import BuildError, MovedError, UnreachableError
from orchestrator.images.image import every_image
from orchestrator.images.moved import Moved, moved_bases, moved_packages, pins_of, refuse_unknown
from orchestrator.system import library_folders
from tests.unit.images.toy import TOY, toy, written

KEPT, GONE, OTHER = "a" * 64, "b" * 64, "c" * 64
PYTHON = "python:3.11-slim-bookworm"


def as_json(*files):
    page = [{"filename": "x", "hashes": {"sha256": digest}, "yanked": yanked} for digest, yanked in files]
    return "application/vnd.pypi.simple.v1+json", json.dumps({"name": "x", "files": page})


def yank_in_html(yanked):
    reason = "" if yanked is True else yanked
    return "" if yanked is False else f" data-yanked='{reason}'"


def as_html(*files):
    links = [f'<a href="x.whl#sha256={digest}"{yank_in_html(yanked)}>x</a>' for digest, yanked in files]
    return "text/html", f"<!DOCTYPE html><html><body>{''.join(links)}</body></html>"


class Index(http.server.BaseHTTPRequestHandler):
    """An index with these pages."""

    pages: ClassVar[dict[str, tuple[str, str]]] = {}

    def do_GET(self):
        kind, text = self.pages.get(self.path.split("/")[2], ("", ""))
        self.send_response(200 if kind else 404)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(text.encode())))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_):
        pass


@pytest.fixture
def index(definitions, monkeypatch):
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "UV_DEFAULT_INDEX", "PIP_INDEX_URL"):
        monkeypatch.delenv(name, raising=False)
    written(definitions, TOY)
    lock = "".join(
        f"{name}==1.0 \\\n    --hash=sha256:{KEPT} \\\n    --hash=sha256:{GONE}\n" for name in ("toy", "marble")
    )
    (definitions / "locks" / "toy-cpu.txt").write_text(f"# made by hand\n{lock}")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Index) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("UV_INDEX_URL", f"http://user:planted-password@127.0.0.1:{server.server_port}/simple/")
        yield Index.pages
        server.shutdown()
    Index.pages.clear()


def test_a_lock_is_read_with_its_sums(index):
    pins = pins_of([toy()])
    assert sorted(map(str, pins)) == ["marble==1.0", "toy==1.0"]
    assert all(pin.sums == {KEPT, GONE} for pin in pins)


@pytest.mark.parametrize("page", [as_json, as_html])
@pytest.mark.parametrize(
    ("files", "said"),
    [
        ([(KEPT, False), (OTHER, False)], []),
        ([(GONE, False), (KEPT, "broken")], []),  # one that is left is enough
        ([(KEPT, "broken"), (OTHER, False)], ["toy==1.0: yanked: broken"]),
        ([(KEPT, True)], ["toy==1.0: yanked"]),
        ([(OTHER, False)], ["toy==1.0: withdrawn: the index has none of the files whose hashes are locked"]),
        ([(KEPT, "\x1b[31mred")], ["toy==1.0: yanked:  [31mred"]),
    ],
)
def test_what_has_moved_is_said_in_both_forms_of_an_index(index, page, files, said):
    index |= {"toy": page(*files), "marble": page((KEPT, False))}
    assert [str(each) for each in moved_packages([toy()])] == said


def test_a_package_without_hashes_is_not_called_withdrawn(index, definitions):
    index["toy"] = as_json((KEPT, False))
    (definitions / "locks" / "toy-cpu.txt").write_text("toy==1.0\n")
    (found,) = moved_packages([toy()])
    assert "has no hashes" in str(found)


@pytest.mark.parametrize(
    "line", ["toy>=1.0", "toy", "toy == 1.0", "toy @ https://me:planted@example.org/toy.whl", "-r more", "<<<<<<< HEAD"]
)
def test_a_lock_with_another_line_is_not_passed_over(definitions, line):
    (definitions / "locks" / "toy-cpu.txt").write_text(f"marble==1.0 --hash=sha256:{KEPT}\n{line}\n")
    with pytest.raises(BuildError, match=r"toy-cpu\.txt: .* is not a package with its version") as error:
        pins_of([toy()])
    assert "planted" not in str(error.value)


@pytest.mark.parametrize("text", ["", "# made by hand\n"])
def test_a_lock_without_packages_is_not_passed_over(definitions, text):
    (definitions / "locks" / "toy-cpu.txt").write_text(text)
    with pytest.raises(BuildError, match=r"toy-cpu\.txt has no packages"):
        pins_of([toy()])


def test_every_lock_of_ours_can_be_checked():
    assert len(pins_of(every_image())) > 100


def test_a_package_that_is_gone_altogether_is_withdrawn(index):
    index["toy"] = as_json((KEPT, False))
    assert [each.what for each in moved_packages([toy()])] == ["marble==1.0"]


@pytest.mark.parametrize("page", [("application/json", '{"files": "none"}'), ("application/json", "[")])
def test_what_can_not_be_asked_is_no_proof(index, page):
    index |= {"toy": page, "marble": as_json((KEPT, False))}
    (found,) = moved_packages([toy()])
    assert found.unknown
    assert "did not send a page of an index" in str(found)
    assert "planted" not in str(found)
    with pytest.raises(UnreachableError, match="1 package could not be checked"):
        refuse_unknown([found])


def test_an_index_out_of_reach_is_named(index, monkeypatch):
    monkeypatch.setenv("UV_INDEX_URL", "http://127.0.0.1:9/simple")
    found = list(moved_packages([toy()]))
    assert [(each.what, each.unknown) for each in found] == [("marble==1.0", True), ("toy==1.0", True)]
    assert "http://127.0.0.1:9/simple can't be reached" in str(found[0])


def test_bases_that_were_updated_withdrawn_or_never_locked(definitions):
    old, new = f"sha256:{KEPT}", f"sha256:{OTHER}"
    (definitions / "locks" / "bases.txt").write_text(f"{PYTHON}@{old}\ndebian:12@{old}\nalpine:3@{old}\n")
    library_folders.forget()
    now = {PYTHON: new, "debian:12": old, "alpine:3": None, "julia:1.9": new}
    said = [str(each) for each in moved_bases(now, now.get)]
    assert said == [
        "alpine:3: withdrawn: the registry has no such tag",
        f"julia:1.9: no digest is locked; its tag is now {new}: run 'rosetta lock --bases'",
        f"{PYTHON}: updated: its tag is now {new}, locked is {old}",
    ]
    assert Moved("x", "y").unknown is False


def test_the_command_says_so_by_its_exit_code(index, tmp_path):
    from click.testing import CliRunner

    from orchestrator.cli.images import lock

    index |= {"toy": as_json((KEPT, False)), "marble": as_json((KEPT, False))}
    done = CliRunner().invoke(lock, ["--check"])
    assert (done.exit_code, "Nothing has changed: 2 packages." in done.output) == (0, True), done.output
    index["marble"] = as_json((KEPT, "broken"))
    done = CliRunner().invoke(lock, ["--check", "toy"])
    assert isinstance(done.exception, MovedError)
    assert done.exception.exit_code == 21
    assert "marble==1.0: yanked: broken" in done.output
