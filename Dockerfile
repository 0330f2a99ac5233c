# zonebridge: `docker run IMAGE sync --dry-run`. `make image` builds it.
#
# Nothing here is for one architecture: the lock files have the hashes of every platform's wheels.
# Two builds of one commit with one SOURCE_DATE_EPOCH have the same layers.

ARG BASE=docker.io/library/python:3.13-slim-bookworm

FROM ${BASE} AS build
WORKDIR /build
RUN python3 -m venv tools && python3 -m venv --without-pip /opt/zonebridge
COPY requirements/build.txt requirements/runtime.txt requirements/
# Bytecode is compiled once, and never compared with its source: the file system is read-only later.
RUN tools/bin/pip install --no-cache-dir --disable-pip-version-check --require-hashes \
        --requirement requirements/build.txt \
    && tools/bin/pip --python /opt/zonebridge/bin/python install --no-cache-dir \
        --disable-pip-version-check --no-compile --only-binary :all: --require-hashes \
        --requirement requirements/runtime.txt \
    && PYTHONHASHSEED=0 /opt/zonebridge/bin/python -m compileall -q \
        --invalidation-mode unchecked-hash /opt/zonebridge/lib
COPY pyproject.toml README.md LICENSE ./
COPY sync sync
COPY migrations migrations
COPY zonebridge_simulator zonebridge_simulator
# Files are as old as the commit, whichever program builds the image.
ARG SOURCE_DATE_EPOCH=0
RUN SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH} tools/bin/pip wheel --no-cache-dir \
        --disable-pip-version-check --no-deps --no-build-isolation --wheel-dir dist . \
    && tools/bin/pip --python /opt/zonebridge/bin/python install --no-cache-dir \
        --disable-pip-version-check --no-compile --no-index --no-deps dist/*.whl \
    && PYTHONHASHSEED=0 /opt/zonebridge/bin/python -m compileall -q \
        --invalidation-mode unchecked-hash /opt/zonebridge/lib/python3*/site-packages/sync \
        /opt/zonebridge/lib/python3*/site-packages/zonebridge_simulator \
    && mkdir store \
    && find /opt/zonebridge store -exec touch --no-dereference --date "@${SOURCE_DATE_EPOCH}" {} +

FROM ${BASE}
# Nothing here gives a user more rights (su, mount, passwd, …), whatever a container is allowed.
RUN find / -xdev -type f -perm /6000 -exec chmod a-s {} +
ARG BASE
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="zonebridge" \
      org.opencontainers.image.description="Brings Palo Alto Panorama's address groups, zones and rules into Kubernetes as Calico network sets and tiered policies" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.source="https://github.com/zonebridge/zonebridge" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.base.name="${BASE}"
COPY --from=build /opt/zonebridge /opt/zonebridge
# The store of the default configuration lies here; nothing else is ever written.
COPY --from=build --chown=65532:65532 /build/store /var/lib/zonebridge
# Python runs one thread at a time, so a heap for each thread of glibc's would only hold memory.
ENV PATH=/opt/zonebridge/bin:$PATH \
    MALLOC_ARENA_MAX=2 \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
# A number, so that Kubernetes can see that it is not root (runAsNonRoot).
USER 65532:65532
WORKDIR /var/lib/zonebridge
ENTRYPOINT ["zonebridge"]
