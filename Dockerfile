# The serving image: what `uv.lock` pins, no torch, no compiler, no root.
#   docker build -t earful .                              on the CPU
#   docker build -t earful:cuda --build-arg VARIANT=cuda .  with ONNX Runtime's CUDA libraries
#   docker run -p 8000:8000 -v $PWD/model.onnx:/models/model.onnx:ro \
#              -e EARFUL_MODEL=/models/model.onnx earful
# The base image by its digest, so that a build next month is the same (service/deploy/SECURITY.md):
#   docker build --build-arg BASE_IMAGE=python:3.11-slim@sha256:... -t earful .
ARG PYTHON_VERSION=3.11
ARG BASE_IMAGE=python:${PYTHON_VERSION}-slim
ARG VARIANT=cpu

FROM ${BASE_IMAGE} AS source
RUN pip install --no-cache-dir "uv>=0.8"
ENV UV_PYTHON_DOWNLOADS=never UV_LINK_MODE=copy UV_COMPILE_BYTECODE=1 UV_PROJECT_ENVIRONMENT=/opt/earful
WORKDIR /src
COPY pyproject.toml uv.lock ./

# In each variant dependencies come first: that layer is built again only when they change.
# onnxruntime (group cpu) takes the place of onnxruntime-gpu; the two overwrite each other and are
# never installed together.
FROM source AS cpu
RUN uv sync --locked --no-default-groups --extra postgres --extra media --group cpu --no-install-package onnxruntime-gpu --no-install-project
COPY README.md LICENSE ./
COPY .src .src
COPY data data
COPY models models
COPY service service
COPY training training
RUN uv sync --locked --no-default-groups --extra postgres --extra media --group cpu --no-install-package onnxruntime-gpu --no-editable

FROM source AS cuda
RUN uv sync --locked --no-default-groups --extra postgres --extra media --extra cuda --no-install-project
COPY README.md LICENSE ./
COPY .src .src
COPY data data
COPY models models
COPY service service
COPY training training
RUN uv sync --locked --no-default-groups --extra postgres --extra media --extra cuda --no-editable

FROM ${VARIANT} AS build

FROM ${BASE_IMAGE}
RUN useradd --system --uid 10001 --no-create-home earful
COPY --from=build /opt/earful /opt/earful
# PYTHONSAFEPATH: a folder named data or models in the working directory must not be imported.
ENV PATH=/opt/earful/bin:$PATH PYTHONSAFEPATH=1 PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
# Read by the runtime that brings the host's driver in; the CPU variant makes nothing of it.
ENV NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility
USER 10001
WORKDIR /tmp
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s \
    CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8000/readyz', timeout=2)"]
ENTRYPOINT ["earful"]
CMD ["serve", "--host", "0.0.0.0", "--port", "8000"]
