"""Providers of the file → where each is and how it takes its key; the keys go beside them."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final
from urllib.parse import quote, urlsplit

from extproc.config.file import ProviderSection
from extproc.config.presets import (
    APIS,
    AZURE_V1_END,
    AZURE_VERSION,
    PRESETS,
    RESPONSES_ENDPOINT,
    Preset,
)
from extproc.config.problems import Location, nearest
from extproc.config.reading import unset_in
from extproc.config.run import NAME, Compilation
from extproc.snapshot import Passthrough
from extproc.vocabulary import SIGNING_KEY, Api, Provider, ProviderName, Surface

_HOST: Final = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?")
_VERSION: Final = re.compile(r"v\d+[a-z0-9]*")
_HEADER_NAME: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")

# What the data plane sets for every attempt: a provider's own would be scrubbed from all others.
_OWN_HEADERS: Final = {
    "accept",
    "accept-encoding",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "expect",
    "host",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
    "x-request-id",
}
_OWN_PREFIXES: Final = (":", "x-envoy-", "x-router-", "x-llm-")


def provider_of(run: Compilation, name: str, location: Location) -> Provider | None:
    """The provider called `name`, declared in the file or implied by a preset of that name.

    None where that is not possible; what is wrong is said once, however often it is named.
    """
    known = ProviderName(name)
    if known not in run.providers:
        section = run.file.providers.get(name)
        if section is None and name not in PRESETS:
            remedy = nearest(name, [*run.file.providers, *PRESETS])
            run.problem(location, f"no provider is called {name}", remedy)
            return None
        if not NAME.fullmatch(name):
            run.problem(location, "not a provider name", "use letters, digits, `.`, `_` and `-`")
            return None
        run.providers[known] = _new_provider(run, known, section or ProviderSection(), location)
    return run.providers[known]


def _new_provider(
    run: Compilation, name: ProviderName, section: ProviderSection, location: Location
) -> Provider | None:
    preset = _preset(run, name, section, location)
    if preset is None:
        return None
    where = _base_url(run, name, section, preset, (*location, "baseUrl"))
    if where is None:
        return None
    api = section.api or preset.api
    facts = APIS[api]
    key = _key(run, name, section, preset)
    signs = facts.signs and key is not None and SIGNING_KEY.fullmatch(key) is not None
    base_path = _versioned(where.base_path, facts.version)
    return Provider(
        name=name,
        host=where.host,
        port=where.port,
        tls=where.tls,
        base_path=base_path,
        credential_header="" if signs else facts.credential_header,
        credential_prefix="" if signs else facts.credential_prefix,
        has_credential=key is not None,
        headers=_headers(run, name, section),
        first_byte_timeout_s=section.first_byte_timeout,
        region=section.region,
        api=api,
        endpoints=MappingProxyType(_endpoints(api, base_path, section, preset)),
        api_headers=MappingProxyType(facts.headers),
        chat_form=preset.chat_form,
    )


def _versioned(base_path: str, version: str) -> str:
    """SDKs differ in whether a base URL has the API's version: where it lacks, it is added."""
    last = base_path.rpartition("/")[2]
    return f"{base_path}/{version}" if version and not _VERSION.fullmatch(last) else base_path


def _endpoints(
    api: Api, base_path: str, section: ProviderSection, preset: Preset
) -> Mapping[Surface, str]:
    """The APIs of clients that the provider speaks itself."""
    as_openai = APIS[Api.OPENAI].endpoints
    responses = {Surface.RESPONSES: RESPONSES_ENDPOINT}
    if api is Api.AZURE and base_path.endswith(AZURE_V1_END):
        return {**as_openai, **responses}
    if api is Api.AZURE:
        version = quote(section.api_version or AZURE_VERSION, safe="")
        endpoints = APIS[api].endpoints
        return {surface: end.replace("{version}", version) for surface, end in endpoints.items()}
    if api is Api.OPENAI and preset.responses:
        return {**as_openai, **responses}
    return APIS[api].endpoints


def _preset(
    run: Compilation, name: ProviderName, section: ProviderSection, location: Location
) -> Preset | None:
    wanted = section.preset or (name if name in PRESETS else None)
    if wanted is None:
        return Preset(None, (), key_required=False)
    if wanted not in PRESETS:
        remedy = nearest(wanted, PRESETS)
        run.problem((*location, "preset"), f"no preset is called {wanted}", remedy)
        return None
    return PRESETS[wanted]


def _base_url(
    run: Compilation,
    name: ProviderName,
    section: ProviderSection,
    preset: Preset,
    location: Location,
) -> Passthrough | None:
    written = run.base_urls.get(name) or section.base_url or preset.base_url
    if written is None:
        example = preset.base_url_example or "https://api.example.com/v1"
        run.problem(location, "missing", f"write it, such as {example}")
        return None
    return origin_of(run, written, location)


def _headers(run: Compilation, name: ProviderName, section: ProviderSection) -> tuple[str, ...]:
    """The names of the provider's own headers; what they hold is among the secrets."""
    headers = {header: value.get_secret_value() for header, value in section.headers.items()}
    for header, value in headers.items():
        at = ("providers", name, "headers", header)
        if header.lower() in _OWN_HEADERS or header.lower().startswith(_OWN_PREFIXES):
            run.problem(at, "is set by Envoy or by the client", "leave it out")
        elif not value:
            run.problem(at, "is empty", "give it a value, or leave it out")
        else:
            check_header(run, header, value, at)
    run.headers[name] = {header.lower(): value for header, value in headers.items()}
    return tuple(run.headers[name])


def is_header_name(name: str) -> bool:
    return _HEADER_NAME.fullmatch(name) is not None


def check_header(run: Compilation, name: str, value: str, location: Location) -> None:
    """Its value never enters a message: it may be a key."""
    if not is_header_name(name):
        run.problem(location, "not a header name", "use letters, digits and `-`")
    if not value.isascii() or not value.isprintable():
        run.problem(location, "holds characters that a header can't", "use printable ASCII")


def _key(
    run: Compilation, name: ProviderName, section: ProviderSection, preset: Preset
) -> str | None:
    """The provider's key; where one is wanted and there is none, that is noted."""
    if "api_key" in section.model_fields_set:
        written = section.api_key.get_secret_value() if section.api_key else ""
        unset = unset_in(written)
        key = "" if unset else written
        where = unset or "the variable in apiKey"
        wanted = True
    else:
        signing = preset.signing_key_names if APIS[section.api or preset.api].signs else ()
        key = next((run.env[k] for k in preset.key_names if run.env.get(k)), "")
        key = key or _signing_key(run, name, signing)
        # The last part, a session token, is not always needed.
        where = " or ".join([*preset.key_names, *([" and ".join(signing[:2])] if signing else [])])
        # A plain-text address is one's own: a real provider would not be given a key over it.
        wanted = preset.key_required and not (section.base_url or "").startswith("http://")
    if not key:
        if wanted:
            run.missing_keys[name] = where
        return None
    if not key.isascii() or not key.isprintable() or key.strip() != key:
        location = ("providers", name, "apiKey")
        run.problem(location, "holds characters that a header can't", "check for stray line ends")
        return None
    run.keys[name] = key
    return key


def _signing_key(run: Compilation, name: ProviderName, names: tuple[str, ...]) -> str:
    """The key whose parts these variables hold; empty where id or secret is not set."""
    parts = [run.env.get(each, "") for each in names]
    if not names or not all(parts[:2]):
        return ""
    key = ":".join(part for part in parts if part)
    if not SIGNING_KEY.fullmatch(key):
        what = f"{', '.join(names)} can't be a key of AWS"
        run.problem(("providers", name, "apiKey"), what, "check them for stray characters")
        return ""
    return key


def origin_of(
    run: Compilation,
    written: str,
    location: Location,
    example: str = "https://api.example.com/v1",
) -> Passthrough | None:
    """Where a base URL points. Its text never enters a message: it may hold a password."""
    what = _wrong_with(written)
    if what:
        run.problem(location, what, f"write a URL such as {example}")
        return None
    url = urlsplit(written)
    tls = url.scheme == "https"
    port = url.port or (443 if tls else 80)
    return Passthrough(url.hostname or "", port, tls, url.path.rstrip("/"))


def _wrong_with(written: str) -> str | None:
    try:
        url = urlsplit(written)
        port = url.port
    except ValueError:
        return "not a URL"
    host = url.hostname or ""
    if url.scheme not in {"http", "https"} or not (_HOST.fullmatch(host) or _is_ip(host)):
        return "not an http:// or https:// URL with a host"
    if url.username or url.password or url.query or url.fragment:
        return "holds more than scheme, host, port and path"
    if port == 0:
        return "0 is not a port"
    if not url.path.isascii() or not url.path.isprintable() or " " in url.path:
        return "its path holds characters that must be escaped"
    return None


def _is_ip(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
