# The router; with `envoy` as its command, what writes Envoy's configuration (docker-compose.yml).
FROM python:3.11-slim-trixie AS base

FROM base AS build
WORKDIR /src
RUN python -m venv --without-pip /opt/extproc
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY extproc extproc
# Wheels only: nothing is compiled, and no dependency runs code of its own while it is installed.
RUN --mount=type=cache,target=/root/.cache/pip \
    pip --python /opt/extproc/bin/python install \
        --only-binary=:all: --constraint constraints.txt .

FROM base
LABEL org.opencontainers.image.title="extproc" \
      org.opencontainers.image.description="An inference router for Envoy." \
      org.opencontainers.image.licenses="Apache-2.0"
# A new volume mounted there takes over the owner, so that this user can write to it.
RUN install --directory --owner=10001 --group=10001 --mode=0700 /run/extproc
COPY --from=build /opt/extproc /opt/extproc
ENV PATH=/opt/extproc/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
# Numeric, so that Kubernetes' runAsNonRoot can tell.
USER 10001:10001
EXPOSE 9002 9902
STOPSIGNAL SIGTERM
# Without the environment's proxies, which urllib would ask even for loopback.
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s --start-interval=1s \
    CMD ["python", "-I", "-c", "from urllib.request import ProxyHandler, build_opener as b; b(ProxyHandler({})).open('http://127.0.0.1:9902/readyz', timeout=2)"]
ENTRYPOINT ["extproc"]
CMD ["serve", "/etc/extproc/config.yaml", "--listen", "0.0.0.0:9002", "--admin-host", "0.0.0.0"]
