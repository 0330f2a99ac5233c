# zonebridge: `docker run IMAGE sync --dry-run`. `make image` builds it; docs/install.md runs it.
#
# Nothing here is for one architecture: the lock files have the hashes of every platform's wheels.
# Built twice from one commit with one SOURCE_DATE_EPOCH, the layers are the same.

ARG BASE=docker.io/library/python:3.13-slim-bookworm

FROM ${BASE} AS build
WORKDIR /build
RUN python3 -m venv tools && python3 -m venv --without-pip /opt/zonebridge
COPY requirements/build.txt requirements/runtime.txt requirements/
RUN tools/bin/pip install --no-cache-dir --disable-pip-version-check --require-hashes \
        --requirement requirements/build.txt \
    && tools/bin/pip --python /opt/zonebridge/bin/python install --no-cache-dir \
        --disable-pip-version-check --no-compile --only-binary :all: --require-hashes \
        --requirement requirements/runtime.txt
COPY pyproject.toml README.md CHANGELOG.md ./
COPY sync sync
COPY migrations migrations
COPY tests/simulator tests/simulator
COPY zonebridge_simulator zonebridge_simulator
ARG SOURCE_DATE_EPOCH=0
RUN SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH} tools/bin/pip wheel --no-cache-dir \
        --disable-pip-version-check --no-deps --no-build-isolation --wheel-dir dist . \
    && tools/bin/pip --python /opt/zonebridge/bin/python install --no-cache-dir \
        --disable-pip-version-check --no-compile --no-index --no-deps dist/*.whl
# Bytecode that does not ask when its source was changed: the file system is read-only later on.
RUN PYTHONHASHSEED=0 /opt/zonebridge/bin/python -m compileall -q -f \
        --invalidation-mode unchecked-hash /opt/zonebridge/lib

FROM ${BASE}
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="zonebridge" \
      org.opencontainers.image.description="Brings Palo Alto Panorama's address groups, zones and rules into Kubernetes as Calico network sets and tiered policies" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
COPY --from=build /opt/zonebridge /opt/zonebridge
ENV PATH=/opt/zonebridge/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
# A number, so that runAsNonRoot can be checked; the store, and nothing else, lies here.
USER 65532:65532
WORKDIR /var/lib/zonebridge
ENTRYPOINT ["zonebridge"]
