"""The access logs that tell the router what became of attempts and requests.

OTLP's log export rather than Envoy's own streaming service: each batch is a call of its own that
is acknowledged and, if that fails, made again, at another replica if need be. A stream loses what
was written to it while nobody read (docs/adr/0011-access-logs.md).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from envoy_data_plane.envoy.config.accesslog.v3 import (
    AccessLog,
    AccessLogFilter,
    MetadataFilter,
)
from envoy_data_plane.envoy.config.core.v3 import (
    ApiVersion,
    BackoffStrategy,
    GrpcService,
    GrpcServiceEnvoyGrpc,
    RetryPolicy,
)
from envoy_data_plane.envoy.extensions.access_loggers.grpc.v3 import CommonGrpcAccessLogConfig
from envoy_data_plane.envoy.extensions.access_loggers.open_telemetry.v3 import (
    OpenTelemetryAccessLogConfig,
)
from envoy_data_plane.envoy.type.matcher.v3 import (
    MetadataMatcher,
    MetadataMatcherPathSegment,
    ValueMatcher,
)
from envoy_data_plane.google.protobuf import Any
from envoy_data_plane.opentelemetry.proto.common.v1 import AnyValue, KeyValue, KeyValueList

from extproc.access_log import (
    ATTEMPTS,
    LIMIT_HEADERS,
    LOG_NAME,
    RECORD_KEY,
    RECORD_NAMESPACE,
    REQUESTS,
    TOLD_KEY,
    USAGE_NAMESPACE,
    Field,
)
from extproc.envoy_config.extension import cel_filter
from extproc.envoy_config.upstream import METADATA_NAMESPACE
from extproc.snapshot import ANSWER_NAMESPACE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from betterproto2 import Message

_FLUSH: Final = timedelta(milliseconds=100)
_BATCH_BYTES: Final = 24 * 1024
"""Envoy keeps no more than 64 KiB of a call for its retries; a larger one is lost if it fails."""

_AT_ONCE: Final = 1

_REQUEST_RETRIES: Final = 600
"""A request's entry waits ten minutes for a replica to take it."""

_ATTEMPT_RETRIES: Final = 5
"""An attempt's entry is news: soon it says nothing that later ones do not."""

_BELOW_100: Final = "^-|^[0-9]{1,2}([.]|$)"
_BELOW_50_000: Final = "^-|^[0-4]?[0-9]{1,4}([.]|$)"
_SCARCE: Final = {
    "x-ratelimit-remaining-requests": _BELOW_100,
    "anthropic-ratelimit-requests-remaining": _BELOW_100,
    "x-ratelimit-remaining-tokens": _BELOW_50_000,
    "anthropic-ratelimit-tokens-remaining": _BELOW_50_000,
}
"""Of what so little is left that the next decisions must know: so much may go within one batch.

By pattern: an error in an expression, as for a number that is none, keeps an entry out of the log
that wants it true and of the one that wants it false.
"""

_URGENT: Final = " || ".join(
    [
        "response.code == 429",  # no 5xx: ahead of good answers, errors would look like a row
        *(
            f"('{name}' in response.headers && response.headers['{name}'].matches('{few}'))"
            for name, few in _SCARCE.items()
        ),
    ]
)
_USAGE: Final = f"metadata.typed_filter_metadata['{USAGE_NAMESPACE}']"

_COMMON: Final[Mapping[str, str]] = {
    Field.REQUEST_ID: "%REQ(x-request-id)%",
    Field.TARGET: f"%UPSTREAM_METADATA({METADATA_NAMESPACE}:target)%",
    Field.BEGAN: "%START_TIME(%s.%6f)%",
    Field.STATUS: "%RESPONSE_CODE%",
    Field.FLAGS: "%RESPONSE_FLAGS%",
    Field.DURATION_MS: "%DURATION%",
}
_ATTEMPT: Final[Mapping[str, str]] = {
    **_COMMON,
    Field.ATTEMPT: "%REQ(x-envoy-attempt-count)%",
    Field.FIRST_BYTE_US: "%COMMON_DURATION(DS_RX_BEG:US_RX_BEG:us)%",
    Field.LAST_BYTE_US: "%COMMON_DURATION(DS_RX_BEG:US_RX_END:us)%",
    Field.CONTENT_TYPE: "%RESP(content-type)%",
    # One field rather than fourteen that most answers leave empty; no header holds a newline.
    Field.LIMITS: "\n".join(f"%RESP({name})%" for name in LIMIT_HEADERS),
}
_REQUEST: Final[Mapping[str, str]] = {
    **_COMMON,
    Field.ATTEMPT: "%UPSTREAM_REQUEST_ATTEMPT_COUNT%",
    Field.FIRST_BYTE_US: "%COMMON_DURATION(DS_RX_BEG:DS_TX_BEG:us)%",
    Field.LAST_BYTE_US: "%COMMON_DURATION(DS_RX_BEG:DS_TX_END:us)%",
    Field.UPSTREAM_US: "%COMMON_DURATION(DS_RX_BEG:US_RX_BEG:us)%",
    Field.TRACEPARENT: "%REQ(traceparent)%",
    Field.RECORD: f"%DYNAMIC_METADATA({RECORD_NAMESPACE}:{RECORD_KEY})%",
    Field.TOLD: f"%DYNAMIC_METADATA({ANSWER_NAMESPACE}:{TOLD_KEY})%",
    Field.MODEL: f"%CEL({_USAGE}.model)%",
    Field.INPUT_TOKENS: f"%CEL({_USAGE}.input_tokens)%",
    Field.OUTPUT_TOKENS: f"%CEL({_USAGE}.output_tokens)%",
    Field.CACHE_READ_TOKENS: f"%CEL({_USAGE}.input_token_details.cached_tokens)%",
    Field.CACHE_WRITE_TOKENS: f"%CEL({_USAGE}.input_token_details.cache_creation_tokens)%",
    Field.REASONING_TOKENS: f"%CEL({_USAGE}.output_token_details.reasoning_tokens)%",
}


def request_log(cluster: str) -> AccessLog:
    """What was decided and how it ended; at one replica of the router, whichever `cluster` picks.

    Requests without a record were not decided on: answered by Envoy itself, or not for a model.
    """
    decided = MetadataFilter(
        matcher=MetadataMatcher(
            filter=RECORD_NAMESPACE,
            path=[MetadataMatcherPathSegment(key=RECORD_KEY)],
            value=ValueMatcher(present_match=True),
        ),
        match_if_key_not_found=False,
    )
    return _log(
        _otlp(REQUESTS, cluster, _REQUEST, _BATCH_BYTES, _REQUEST_RETRIES),
        AccessLogFilter(metadata_filter=decided),
    )


def attempt_logs(clusters: Sequence[str]) -> list[AccessLog]:
    """What each attempt came to, told to every replica: in batches, but what can't wait at once."""
    return [
        _log(_otlp(ATTEMPTS, cluster, _ATTEMPT, batch_bytes, _ATTEMPT_RETRIES), which)
        for cluster in clusters
        for which, batch_bytes in (
            (cel_filter(_URGENT), _AT_ONCE),
            (cel_filter(f"!({_URGENT})"), _BATCH_BYTES),
        )
    ]


def _log(config: Message, which: AccessLogFilter) -> AccessLog:
    return AccessLog(
        name="envoy.access_loggers.open_telemetry", filter=which, typed_config=Any.pack(config)
    )


def _otlp(
    name: str, cluster: str, fields: Mapping[str, str], batch_bytes: int, retries: int
) -> OpenTelemetryAccessLogConfig:
    common = CommonGrpcAccessLogConfig(
        log_name=name,
        transport_api_version=ApiVersion.V3,
        grpc_service=GrpcService(envoy_grpc=GrpcServiceEnvoyGrpc(cluster_name=cluster)),
        buffer_flush_interval=_FLUSH,
        buffer_size_bytes=batch_bytes,
        grpc_stream_retry_policy=RetryPolicy(
            retry_on="connect-failure,refused-stream,reset,cancelled,internal,"
            "resource-exhausted,unavailable",
            num_retries=retries,
            retry_back_off=BackoffStrategy(
                base_interval=timedelta(milliseconds=100), max_interval=timedelta(seconds=1)
            ),
        ),
    )
    return OpenTelemetryAccessLogConfig(
        # Deprecated, yet of the fields that replace it 1.40.0 heeds neither interval nor size.
        common_config=common,
        disable_builtin_labels=True,
        resource_attributes=_attributes({LOG_NAME: name}),
        attributes=_attributes(fields),
    )


def _attributes(texts: Mapping[str, str]) -> KeyValueList:
    return KeyValueList(
        values=[KeyValue(key=key, value=AnyValue(string_value=text)) for key, text in texts.items()]
    )
