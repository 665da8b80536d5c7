# syntax=docker/dockerfile:1
# The plugin for Drone, Woodpecker and Harness: no arguments, all settings from the environment.
#
#   docker build -t s3batch .                              runs as root, as the plugins do that it replaces
#   docker build --target nonroot -t s3batch:nonroot .     for clusters that let nothing run as root
#
# Every package is locked with its hashes; scripts/lock_image renews the locks. To build the same image again, name the
# base by its digest too: --build-arg PYTHON=python:3.12-slim@sha256:...
ARG PYTHON=python:3.12-slim

FROM ${PYTHON} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 SOURCE_DATE_EPOCH=1577836800
WORKDIR /src
COPY requirements/image.txt requirements/image-build.txt ./requirements/
RUN pip install --no-cache-dir --require-hashes --requirement requirements/image-build.txt
# a wheel of everything that is needed, so that the image below downloads nothing
RUN pip download --no-cache-dir --no-deps --only-binary=:all: --require-hashes \
    --dest /wheels --requirement requirements/image.txt
COPY pyproject.toml hatch_build.py README.md LICENSE ./
COPY s3batch ./s3batch
# the context holds no git to tell the version: --build-arg VERSION=0.1.0 does
ARG VERSION=dev
RUN SETUPTOOLS_SCM_PRETEND_VERSION="${VERSION#dev}" \
    pip wheel --no-cache-dir --no-deps --no-index --no-build-isolation --wheel-dir /wheels .

FROM ${PYTHON} AS root
ARG VERSION=dev
ARG REVISION=unknown
LABEL org.opencontainers.image.title="s3batch" \
      org.opencontainers.image.description="Put a tree of files into S3, lose nothing, and finish what was killed." \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 PIP_DISABLE_PIP_VERSION_CHECK=1
# compiled once and never looked at again: bytecode with times in it would make every build another one
RUN --mount=type=bind,from=build,source=/wheels,target=/wheels \
    --mount=type=bind,from=build,source=/src/requirements,target=/requirements \
    pip install --no-cache-dir --no-compile --no-index --find-links=/wheels --require-hashes \
        --requirement /requirements/image.txt \
 && pip install --no-cache-dir --no-compile --no-index --no-deps /wheels/s3batch-*.whl \
 && python -m compileall -q -j 0 --invalidation-mode unchecked-hash \
        "$(python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')"
ENTRYPOINT ["s3batch", "plugin"]

FROM root AS nonroot
USER 65532:65532

# the image itself
FROM root
