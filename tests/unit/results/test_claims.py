"""Orchestrators that share a results folder: who runs what, and what is left of one that was killed."""

import shutil
import threading

from orchestrator.results.claims import Claims, living


def test_a_cell_is_claimed_once_and_seen_by_others(tmp_path):
    ours, others = Claims(tmp_path), Claims(tmp_path)
    claim = ours.take("0123")
    assert list(living(tmp_path)) == []
    claim.update(cell="pytorch/rnn/cpu")
    assert others.take("0123") is None
    ((name, facts),) = living(tmp_path)
    assert (name, facts["cell"]) == ("0123", "pytorch/rnn/cpu")
    claim.release()
    assert list(living(tmp_path)) == []
    assert [path.name for path in ours.folder.iterdir()] == ["id"]
    assert others.take("0123") is not None


def test_many_join_while_others_look_for_the_dead(tmp_path):
    claims, joined = Claims(tmp_path), []
    looking = threading.Event()

    def look() -> None:
        while not looking.is_set():
            Claims(tmp_path).forget_the_dead()

    watcher = threading.Thread(target=look)
    watcher.start()
    joined += [claims.join() for _ in range(300)]
    looking.set()
    watcher.join()
    assert len(set(joined)) == 300
    assert not claims.forget_the_dead()


def test_what_the_dead_left_is_removed_and_an_orchestrator_among_them_is_noticed(tmp_path):
    claims = Claims(tmp_path)
    held = claims.take("0123")
    held.update(cell="a")
    for name in ("4567.lock", "4567.json"):
        (claims.folder / name).write_text("{}")
    assert not claims.forget_the_dead()
    assert sorted(path.name for path in claims.folder.iterdir()) == ["0123.json", "0123.lock", "id"]
    (claims.folder / "run-1.lock").touch()
    assert claims.forget_the_dead()
    held.release()


def test_labels_tell_folders_apart_also_from_their_copies(tmp_path):
    here = Claims(tmp_path / "here")
    shutil.copytree(tmp_path / "here", tmp_path / "copy")
    assert Claims(tmp_path / "here").key_of(here.label("0123")) == "0123"
    assert Claims(tmp_path / "copy").key_of(here.label("0123")) is None
    assert here.key_of("") is None
