"""Where a library documents its calls, as its file of images/ says it."""

import pytest

from orchestrator.errors import MatrixError
from orchestrator.images.definitions import Link, library_index, read_framework
from tests.unit.images.toy import TOY, toy, written


@pytest.mark.parametrize(
    ("calls", "page", "name", "address"),
    [
        (r"toy\.\w+", "https://toy.org/{name}.html", "toy.Dense", "https://toy.org/toy.Dense.html"),
        (r"toy\.(\w+)\.(\w+)", "https://toy.org/{0}/{1}#{Name}", "toy.NN.Dense", "https://toy.org/nn/dense#Dense"),
        (r"toy\.(nn\.\w+)", "https://toy.org/{Path}", "toy.nn.Dense", "https://toy.org/nn/Dense"),
        (r"toy(\.nn)?\.Dense", "https://toy.org/{path}", "toy.Dense", "https://toy.org/toy/Dense"),
        (r"toy\.\w+", "https://toy.org/", "toy.nn.Dense", None),
    ],
)
def test_a_call_leads_to_its_page(calls, page, name, address):
    assert Link(calls=calls, page=page).address(name) == address


def test_libraries_share_rules_by_their_name(definitions):
    shared = {"doll": {"root": "https://doll.org/", "rules": [{"calls": r"doll\.(\w+)", "page": "{0}.html"}]}}
    written(definitions, shared, "documentation")
    toy, puppet = {**TOY["libraries"]["toy"], "links": "doll"}, {**TOY["libraries"]["toy"]}
    written(definitions, {**TOY, "libraries": {"toy": toy, "puppet": puppet}})
    libraries = library_index()["toy"].libraries
    assert libraries["toy"].links[0].address("doll.Dense") == "https://doll.org/dense.html"
    assert libraries["puppet"].links == ()


@pytest.mark.parametrize(
    ("links", "complaint"),
    [
        ("keraas", r"links: documentation\.yaml has no rules 'keraas'\.\nDid you mean 'keras'\?"),
        ([{"calls": "toy.(", "page": "https://toy.org/"}], r"links\.0\.calls: toy\.\( is not a valid regular"),
        (
            [{"calls": "toy", "page": "http://toy.org/"}],
            r"links\.0\.page: http://\S+ is not an https address\.\n.* https://",
        ),
        (
            [{"calls": "toy", "page": "https://toy.org/{2}"}],
            r"has \{2\}, which toy does not provide\.\nAllowed: \{name\}",
        ),
        ([{"calls": "toy", "page": "https://toy.org/{name.upper}"}], r"\{name\.upper\}, which toy does not"),
        ([{"calls": "toy", "page": "https://toy.org/{name!r}"}], r"\{name\}, which toy does not"),
        ([{"calls": "toy", "page": "https://toy.org/{name"}], r"can't be filled in: .*\nClose each brace"),
        ([{"calls": "toy", "pages": "https://toy.org/"}], r"links\.0\.(page: is missing|pages: unknown key)"),
    ],
)
def test_wrong_links_name_file_key_and_remedy(tmp_path, links, complaint):
    libraries = {"toy": {**TOY["libraries"]["toy"], "links": links}}
    with pytest.raises(MatrixError, match=rf"toy\.yaml: libraries\.toy\.(?s:.*{complaint})"):
        read_framework(written(tmp_path, {**TOY, "libraries": libraries}))


def test_links_are_not_in_the_recipe(definitions):
    (definitions / "locks" / "toy-cpu.txt").write_text("toy==1.0 --hash=sha256:00\n")
    links = [{"calls": r"toy\.\w+", "page": "https://toy.org/{name}.html"}]
    with_links = toy(libraries={"toy": {**TOY["libraries"]["toy"], "links": links, "package": "toy"}})
    assert with_links.framework.libraries["toy"].links
    assert with_links.recipe == toy().recipe
