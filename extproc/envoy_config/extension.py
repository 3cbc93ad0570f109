"""The shapes in which Envoy's messages embed a typed extension or name an address."""

from __future__ import annotations

from ipaddress import ip_address
from typing import TYPE_CHECKING

from envoy_data_plane.envoy.config.accesslog.v3 import AccessLogFilter, ExtensionFilter
from envoy_data_plane.envoy.config.core.v3 import (
    Address,
    HeaderValue,
    HeaderValueOption,
    HeaderValueOptionHeaderAppendAction,
    Pipe,
    SocketAddress,
    TypedExtensionConfig,
)
from envoy_data_plane.envoy.extensions.access_loggers.filters.cel.v3 import ExpressionFilter
from envoy_data_plane.envoy.extensions.filters.network.http_connection_manager.v3 import HttpFilter
from envoy_data_plane.google.protobuf import Any
from envoy_data_plane.xds.core.v3 import TypedExtensionConfig as XdsTypedExtensionConfig

from extproc.envoy_config.deployment import TcpAddress, UnixSocket

if TYPE_CHECKING:
    from betterproto2 import Message


def extension(name: str, config: Message) -> TypedExtensionConfig:
    return TypedExtensionConfig(name=name, typed_config=Any.pack(config))


def xds_extension(name: str, config: Message) -> XdsTypedExtensionConfig:
    """The same for the generic matchers, which have a message of their own for it."""
    return XdsTypedExtensionConfig(name=name, typed_config=Any.pack(config))


def http_filter(name: str, config: Message) -> HttpFilter:
    return HttpFilter(name=name, typed_config=Any.pack(config))


def address(of: TcpAddress | UnixSocket) -> Address:
    if isinstance(of, UnixSocket):
        return Address(pipe=Pipe(path=of.path))
    return Address(socket_address=SocketAddress(address=of.host, port_value=of.port))


def is_ip_literal(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def set_header(name: str, value: str) -> HeaderValueOption:
    """Overwrites `name`; `value` is a format string, so a literal `%` must be doubled."""
    return HeaderValueOption(
        header=HeaderValue(key=name, value=value),
        append_action=HeaderValueOptionHeaderAppendAction.OVERWRITE_IF_EXISTS_OR_ADD,
    )


def cel_filter(expression: str) -> AccessLogFilter:
    """Holds where `expression`, in CEL over the attributes of what has finished, is true."""
    return AccessLogFilter(
        extension_filter=ExtensionFilter(
            name="envoy.access_loggers.extension_filters.cel",
            typed_config=Any.pack(ExpressionFilter(expression=expression)),
        )
    )
