"""Two workers that share the tests must name them alike."""

import gzip

from tests.conftest import pytest_make_parametrize_id


def test_bytes_do_not_show_in_the_name_of_a_test():
    assert pytest_make_parametrize_id(gzip.compress(b""), "archive") == "archive"


def test_everything_else_is_named_as_ever():
    assert pytest_make_parametrize_id("cut short", "archive") is None
