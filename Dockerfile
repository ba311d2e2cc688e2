# With CUDA:         docker build -t vsm .
# For the CPU only:  docker build -t vsm --build-arg BASE_IMAGE=cpu .
# docs/container.md has the rest. The choice of CUDA version is explained in requirements.in.
# BASE_IMAGE may also name another image of Debian or Ubuntu with Python 3.11 or newer.
ARG BASE_IMAGE=cuda

FROM nvidia/cuda:13.0.3-cudnn-runtime-ubuntu24.04@sha256:14f6d08d1cd4a96effbfe3101d0b56326f552c199d05e4979ee0bd616df5811b AS cuda
FROM debian:12-slim@sha256:88200866dfff7ea7f5cbcb6ec7c8a701889efe6fe859fe64d6990e4b07ea4171 AS cpu

FROM ${BASE_IMAGE} AS base
# ps is for workflow engines: Nextflow measures its tasks by it.
# The distribution keeps one version of python3 only, so a pinned one would soon be gone.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends procps python3 \
    && rm -rf /var/cache/apt/* /var/lib/apt/lists/*

FROM base AS build
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates python3-venv \
    && rm -rf /var/cache/apt/* /var/lib/apt/lists/*
# pip stays in an environment of its own, so that the one which ships holds the requirements alone.
# A base without CUDA (CUDA_VERSION is unset) can't load the 280 MB of GPU kernels: they are left out.
COPY requirements.txt /build/
RUN --mount=type=secret,id=pipconf,target=/etc/pip.conf \
    --mount=type=secret,id=ca,target=/run/build-ca.pem \
    if [ -f /run/build-ca.pem ]; then export PIP_CERT=/run/build-ca.pem; fi \
    && python3 -m venv /build/pip \
    && python3 -m venv --without-pip /opt/venv \
    && /build/pip/bin/pip --python /opt/venv/bin/python install --no-cache-dir -r /build/requirements.txt \
    && if [ -z "${CUDA_VERSION:-}" ]; then \
        rm /opt/venv/lib/python3*/site-packages/onnxruntime/capi/libonnxruntime_providers_cuda.so; fi
# Engines start it in folders of their own: from any of them, "python -m app" finds this.
RUN find /opt/venv/lib -name site-packages -exec sh -c 'echo /workspace > "$1/app.pth"' sh {} \;
WORKDIR /workspace
COPY predict.sh CITATION.cff ./
COPY app/ app/
COPY weights/ weights/
# The commit, which --version and run.json tell, is optional.
ARG REVISION=
RUN if [ -n "${REVISION}" ]; then echo "${REVISION}" > app/commit.txt; fi \
    && python3 -m compileall -q app && chmod -R a+rX . && chmod a+x predict.sh

FROM base
# An older driver than CUDA wants is no reason not to start: the CPU does the work, and it is said.
ENV PATH=/opt/venv/bin:${PATH} \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    ORT_DISABLE_TELEMETRY=1 \
    CUDA_MODULE_LOADING=LAZY \
    NVIDIA_DISABLE_REQUIRE=1
COPY --from=build /opt/venv /opt/venv
COPY --from=build /workspace /workspace
# Mount points that any user may write to, for volumes that take over their mode. And a group that
# Docker gives to root unless the caller has chosen a user and a group: by that the predictor knows
# that it is to become the owner of the output folder (app/running/owner.py). So there is no USER.
RUN mkdir -m 1777 /outputs /workspace/outputs && groupadd --system --users root output-owner \
    && ln -s /workspace/predict.sh /usr/local/bin/vsm
WORKDIR /workspace
ARG VERSION=
ARG REVISION=
LABEL org.opencontainers.image.title="vsm" \
      org.opencontainers.image.description="Cell instance segmentation for microscopy images" \
      org.opencontainers.image.version="${VERSION:-unknown}" \
      org.opencontainers.image.revision="${REVISION:-unknown}" \
      org.opencontainers.image.licenses="Apache-2.0"
# Python turns SIGINT into KeyboardInterrupt, but as process 1 would ignore docker stop's SIGTERM.
STOPSIGNAL SIGINT
CMD ["sh", "/workspace/predict.sh"]
