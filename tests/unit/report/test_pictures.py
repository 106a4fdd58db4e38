"""The pictures in docs/ show the results that lie beside them."""

import runpy

from orchestrator.system.checkout import ROOT


def test_the_pictures_were_made_from_the_results_in_docs():
    make = runpy.run_path(str(ROOT / "docs" / "pictures" / "make.py"))
    assert make["MADE_FROM"].read_text().strip() == make["digest_of_results"](), "make pictures"
