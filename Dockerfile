# The gate as an image: `docker run waitroom` serves the routes, `docker run … waitroom run shop:app` a site behind it.
# docs/containers.md says how to use it and how to renew the digests.
ARG PYTHON=python:3.13.15-slim-trixie@sha256:7c61056e61ac89e852de05f3dc6fa51a6dd2181797bceed46aa725dd7cb2cd3b

FROM ghcr.io/astral-sh/uv:0.13.0@sha256:cdc6093146eb3ff6a40107b38f008b789e050e77ad87865e381d9917da55a168 AS uv

FROM ${PYTHON} AS build
COPY --from=uv /uv /usr/local/bin/uv
ENV UV_COMPILE_BYTECODE=1 \
    UV_LINK_MODE=copy \
    UV_PYTHON_DOWNLOADS=never
WORKDIR /src
# First what changes seldom, so that a change to the code does not install it all again.
COPY deploy/requirements.txt deploy/requirements.txt
RUN --mount=type=cache,target=/root/.cache/uv \
    uv venv /opt/waitroom && \
    uv pip install --python /opt/waitroom --require-hashes -r deploy/requirements.txt
COPY pyproject.toml README.md LICENSE ./
COPY templates templates
COPY demo_app demo_app
COPY waitroom waitroom
RUN --mount=type=cache,target=/root/.cache/uv \
    uv pip install --python /opt/waitroom --no-deps .

FROM ${PYTHON}
LABEL org.opencontainers.image.title="waitroom" \
      org.opencontainers.image.description="A waiting room for any ASGI site" \
      org.opencontainers.image.licenses="MIT"
COPY --from=build /opt/waitroom /opt/waitroom
# UVICORN_HOST is the default of --host, so that `run shop:app` can be reached from outside the container.
ENV PATH=/opt/waitroom/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    HOME=/tmp \
    UVICORN_HOST=0.0.0.0
# The site's code is mounted or copied here; `run` imports from it.
WORKDIR /site
# A number, so that Kubernetes can see that it is not root.
USER 10001:10001
EXPOSE 8000
STOPSIGNAL SIGTERM
# Whether the process answers; never whether the store does, as a new container would not bring that back.
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s --retries=3 CMD ["/opt/waitroom/bin/python", "-I", "-c", "import http.client, os, sys; gate = http.client.HTTPConnection('127.0.0.1', int(os.environ.get('UVICORN_PORT') or 8000), timeout=4); gate.request('GET', (os.environ.get('WAITROOM_PREFIX') or '/_waitroom') + '/livez'); sys.exit(gate.getresponse().status != 200)"]
ENTRYPOINT ["waitroom"]
CMD ["serve"]
