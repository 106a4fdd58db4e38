"""Files that are no text, or refer to themselves: one message that names the file, and never a traceback."""

import os

import pytest

from tests.unit.cli.test_cli import rosetta

MATRICES = {
    "not UTF-8": b"\xff\xfea\0x\0e\0s\0",
    "a list as a key": b"axes: {library: [pytorch], workload: [rnn]}\n? [a, b]\n: c\n",
    "an alias within itself": b"axes: &a {library: *a}\n",
    "a list within itself": b"a: &a [*a]\n",
    "nested without end": b"axes: " + b"[" * 3000 + b"]" * 3000,
    "nested until the parser's stack is full": b"[" * 200_000,
    "lists in lists": b"- " * 100_000 + b"x",
    "blocks in blocks": b"\n".join(b" " * depth + b"a:" for depth in range(3000)),
}


@pytest.mark.parametrize("content", MATRICES.values(), ids=MATRICES)
def test_an_odd_matrix_file_is_named(tmp_path, content):
    (tmp_path / "matrix.yaml").write_bytes(content)
    done = rosetta("plan", "--engine", "process", cwd=tmp_path)
    assert done.returncode == 3, done.stderr
    assert "matrix.yaml" in done.stderr
    assert "Traceback" not in done.stderr


def broken(path):
    path.write_bytes(b"\xff\xfe\0")


def dangling(path):
    path.symlink_to("nowhere.yaml")


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (broken, "is not text in UTF-8"),
        (dangling, "can't be read"),
        (lambda path: path.mkdir(), "can't be read"),
        (os.mkfifo, "can't be read"),
        (lambda path: path.symlink_to("/dev/zero"), "can't be read"),
    ],
    ids=["bytes", "dangling", "folder", "pipe", "device"],
)
def test_an_odd_definition_is_named(tmp_path, make, said):
    (tmp_path / "own" / "images").mkdir(parents=True)
    make(tmp_path / "own" / "images" / "x.yaml")
    done = rosetta("plan", "--engine", "process", "--with", "own", cwd=tmp_path)
    assert done.returncode == 3, done.stderr
    assert f"own/images/x.yaml {said}." in done.stderr
    assert "Traceback" not in done.stderr


def test_the_home_of_nobody_is_no_folder(tmp_path):
    text = "with: ['~nobody-here/x']\naxes: {library: [pytorch], workload: [rnn]}\nprofiles: {full: {}}\n"
    (tmp_path / "matrix.yaml").write_text(text)
    done = rosetta("plan", "--engine", "process", cwd=tmp_path)
    assert done.returncode == 3, done.stderr
    assert "Traceback" not in done.stderr


def test_weights_of_endless_size_are_none(tmp_path):
    done = rosetta("parity", "--engine", "process", "--only", "pytorch/rnn/cpu", "--weights", "/dev/zero", cwd=tmp_path)
    assert done.returncode == 4, done.stderr
    assert "/dev/zero is not a regular file." in done.stderr


@pytest.mark.parametrize(
    "settings", ["[]", '{"proxies": {"default": "x"}}', '{"auths": 5}', '{"auths": {"x": 5}}', "[" * 9000]
)
def test_odd_settings_of_dockers_command_are_an_error_of_ours(settings, tmp_path, monkeypatch):
    (tmp_path / "config.json").write_text(settings)
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    done = rosetta("plan", "--engine", "docker", "--only", "jax/rnn/cpu", cwd=tmp_path)
    assert done.returncode == 5, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
