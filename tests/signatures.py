"""AWS's Signature Version 4, reckoned anew over what arrived."""

import hashlib
import hmac
from collections.abc import Mapping
from urllib.parse import quote

SCHEME = "AWS4-HMAC-SHA256"


def is_signed_with(secret: str, path: str, headers: Mapping[str, str], body: bytes) -> bool:
    """As AWS reckons it for every service but S3, for a POST without a query."""
    told = parts_of(headers["authorization"])
    scope = told["Credential"].split("/", 1)[1]
    names = told["SignedHeaders"].split(";")
    canonical = [
        *("POST", quote(path, safe="/-_.~"), ""),
        *(f"{name}:{headers[name]}" for name in names),
        *("", ";".join(names), hashlib.sha256(body).hexdigest()),
    ]
    hashed = hashlib.sha256("\n".join(canonical).encode()).hexdigest()
    text = "\n".join([SCHEME, headers["x-amz-date"], scope, hashed])
    key = f"AWS4{secret}".encode()
    for part in [*scope.split("/"), text]:
        key = hmac.digest(key, part.encode(), "sha256")
    return key.hex() == told["Signature"]


def parts_of(authorization: str) -> dict[str, str]:
    """`Credential`, `SignedHeaders` and `Signature`."""
    scheme, _, parts = authorization.partition(" ")
    assert scheme == SCHEME, scheme
    return dict(part.split("=", 1) for part in parts.split(", "))
