"""The certificate authorities that connections trust."""

import os
from pathlib import Path

from orchestrator.errors import DataError


def ca_bundle() -> str | bool:
    """Return the file of certificate authorities in the first variable that is set; else True for requests' own."""
    for variable in ("ROSETTA_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "PIP_CERT", "SSL_CERT_FILE"):
        if bundle := os.environ.get(variable):
            if not Path(bundle).exists():
                raise DataError(f"{variable} names {bundle}, which does not exist.", remedy="Correct or unset it.")
            return bundle
    return True
