"""What a person is told of a file that is not YAML."""

import pytest

from orchestrator.errors import MatrixError
from orchestrator.system.yaml_files import read


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("profiles: [", "Line 2: while parsing a flow node, did not find expected node content."),
        ("axes:\n  library: [a\n  b: c\n", "Line 3: while parsing a flow sequence, did not find expected ',' or ']'."),
        ("a: \x01\n", "unacceptable character #x0001: control characters are not allowed, position 3."),
    ],
)
def test_what_is_not_yaml_is_told_with_its_line_and_nothing_of_the_parser(text, why, tmp_path):
    (tmp_path / "matrix.yaml").write_text(text)
    with pytest.raises(MatrixError, match="is not valid YAML") as told:
        read(tmp_path / "matrix.yaml")
    assert told.value.why == why
