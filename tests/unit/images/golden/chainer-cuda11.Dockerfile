# Wheels that are there already: a build without internet replaces this empty stage with a folder,
# --build-context wheels=FOLDER.
FROM scratch AS wheels

FROM python:3.11-slim-bookworm AS chainer-cuda11
# The time that all files of all layers have, and the image itself: two builds give one digest.
ARG SOURCE_DATE_EPOCH=1577836800

# Unpinned: Debian serves only the newest build of each package. --secret id=apt_mirror: the address of a mirror.
# hadolint ignore=DL3008
RUN --mount=type=secret,id=ca \
    --mount=type=secret,id=apt_mirror \
    --mount=type=bind,source=images/apt-mirror.sh,target=/apt-mirror.sh \
    --mount=type=tmpfs,target=/run/apt \
    --mount=type=bind,source=images/fixed-times.sh,target=/fixed-times.sh \
    . /fixed-times.sh \
 && . /apt-mirror.sh \
 && apt-get update \
 && apt-get install -y --no-install-recommends libgomp1 \
 && rm -rf /var/lib/apt/lists/* \
 && fix_times

RUN --mount=type=bind,source=images/fixed-times.sh,target=/fixed-times.sh \
    . /fixed-times.sh \
 && groupadd --gid 10001 rosetta \
 && useradd --uid 10001 --gid rosetta --no-create-home --home-dir /tmp --shell /usr/sbin/nologin rosetta \
 && install --directory --owner=rosetta --group=rosetta /results \
 && install --directory /data /workloads \
 && fix_times

# --secret id=ca: the authorities to trust, for networks that inspect TLS; --secret id=pip_conf: a pip.conf, which may
# name a mirror and credentials; --build-arg PIP_NO_INDEX=1: the wheels above are all there is.
ARG PIP_NO_INDEX
RUN --mount=type=secret,id=ca \
    --mount=type=secret,id=pip_conf \
    --mount=type=bind,from=wheels,target=/wheels \
    --mount=type=bind,source=images/locks/chainer-cuda11.build.txt,target=/locks/chainer-cuda11.build.txt \
    --mount=type=bind,source=images/locks/chainer-cuda11.txt,target=/locks/chainer-cuda11.txt \
    --mount=type=cache,target=/root/.cache/pip \
    --mount=type=bind,source=images/fixed-times.sh,target=/fixed-times.sh \
    . /fixed-times.sh \
 && if [ -s /run/secrets/ca ]; then export PIP_CERT=/run/secrets/ca; fi \
 && if [ -s /run/secrets/pip_conf ]; then export PIP_CONFIG_FILE=/run/secrets/pip_conf; fi \
 && take_over_packages \
 && pip --disable-pip-version-check install --no-compile --find-links=/wheels --require-hashes --no-deps --requirement=/locks/chainer-cuda11.build.txt --only-binary=:all: \
 && pip --disable-pip-version-check install --no-compile --find-links=/wheels --require-hashes --no-deps --requirement=/locks/chainer-cuda11.txt --no-build-isolation \
 && compile_python

ENV ROSETTA_PLATFORM=cuda11 \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility \
    LD_LIBRARY_PATH=/usr/local/lib/python3.11/site-packages/nvidia/cublas/lib:/usr/local/lib/python3.11/site-packages/nvidia/cuda_nvrtc/lib:/usr/local/lib/python3.11/site-packages/nvidia/cuda_runtime/lib:/usr/local/lib/python3.11/site-packages/nvidia/cudnn/lib:/usr/local/lib/python3.11/site-packages/nvidia/cufft/lib:/usr/local/lib/python3.11/site-packages/nvidia/curand/lib:/usr/local/lib/python3.11/site-packages/nvidia/cusolver/lib:/usr/local/lib/python3.11/site-packages/nvidia/cusparse/lib:/usr/local/lib/python3.11/site-packages/nvidia/nccl/lib:/usr/local/lib/python3.11/site-packages/nvidia/nvtx/lib \
    PYTHONPATH=/workloads \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    HOME=/tmp

LABEL rosetta=true \
      rosetta.contract=1 \
      rosetta.framework=chainer \
      rosetta.framework.version=7.8.1 \
      rosetta.platform=cuda11 \
      org.opencontainers.image.title="Chainer 7.8.1 (cuda11)" \
      org.opencontainers.image.description="Runs the workloads of Rosetta Matrix in Chainer." \
      org.opencontainers.image.licenses="MIT"

WORKDIR /workloads
# Last, so that an edited script costs this layer only. Readable by every user, whatever the checkout's umask was.
RUN --mount=type=bind,source=images/fixed-times.sh,target=/fixed-times.sh \
    --mount=type=bind,source=workloads,target=/from \
    . /fixed-times.sh && cp --recursive /from/. . && chmod --recursive 755 . && fix_times

# No USER, on purpose. With 'docker run -v $PWD/results:/results' the harness must start as root to become the owner of
# that folder, whoever that is on the host; it drops root before any framework is loaded. The orchestrator starts the
# container as 10001 and without capabilities.
ENTRYPOINT ["python", "-m", "harness"]
