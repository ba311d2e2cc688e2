# With CUDA:         docker build -t vsm .
# For the CPU only:  docker build -t vsm --build-arg BASE_IMAGE=debian:12-slim .
# Behind a proxy, both optional:  --secret id=pipconf,src=pip.conf --secret id=ca,src=ca.pem
# For callers who neither pass --user nor open their output folder to it:  --build-arg RUN_AS=0:0
# The choice of CUDA version is explained in requirements.in.
ARG BASE_IMAGE=nvidia/cuda:13.0.3-cudnn-runtime-ubuntu24.04@sha256:14f6d08d1cd4a96effbfe3101d0b56326f552c199d05e4979ee0bd616df5811b

FROM ${BASE_IMAGE} AS base
# The distribution keeps one version of python3 only, so a pinned one would soon be gone.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends python3 \
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
WORKDIR /workspace
COPY predict.sh ./
COPY app/ app/
COPY weights/ weights/
RUN python3 -m compileall -q app && chmod -R a+rX .

FROM base
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="vsm" \
      org.opencontainers.image.description="Cell instance segmentation for microscopy images" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.licenses="Apache-2.0"
ENV PATH=/opt/venv/bin:${PATH} \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    ORT_DISABLE_TELEMETRY=1 \
    CUDA_MODULE_LOADING=LAZY
COPY --from=build /opt/venv /opt/venv
COPY --from=build /workspace /workspace
# Mount points that any user may write to, for volumes that take over their mode.
RUN mkdir -m 1777 /outputs /workspace/outputs
WORKDIR /workspace
ARG RUN_AS=1000:1000
USER ${RUN_AS}
# Python turns SIGINT into KeyboardInterrupt, but as process 1 would ignore docker stop's SIGTERM.
STOPSIGNAL SIGINT
CMD ["sh", "predict.sh"]
