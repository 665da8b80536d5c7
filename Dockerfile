# syntax=docker/dockerfile:1
# The plugin for Drone, Woodpecker and Harness: no arguments, all settings from the environment.

FROM python:3.12-slim AS build
WORKDIR /src
RUN pip install --no-cache-dir build
COPY pyproject.toml README.md LICENSE ./
COPY s3batch ./s3batch
# the wheel, and a wheel of everything it needs, so that the image below downloads nothing
RUN python -m build --wheel --outdir /wheels . \
 && pip wheel --no-cache-dir --wheel-dir /wheels /wheels/s3batch-*.whl

# As root, for steps that write a workspace a CI cloned as root: docker build --target root.
FROM python:3.12-slim AS root
ARG VERSION=dev
ARG REVISION=unknown
LABEL org.opencontainers.image.title="s3batch" \
      org.opencontainers.image.description="Put a tree of files into S3, lose nothing, and finish what was killed." \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
RUN --mount=type=bind,from=build,source=/wheels,target=/wheels \
    pip install --no-cache-dir --no-index --find-links=/wheels s3batch
ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
ENTRYPOINT ["s3batch", "plugin"]

# The image itself: as nobody in particular. A sync needs no more than to read the workspace.
FROM root
USER 65532:65532
