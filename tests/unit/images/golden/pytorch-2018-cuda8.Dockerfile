# Wheels that are there already: a build without internet replaces this empty stage with a folder,
# --build-context wheels=FOLDER.
FROM scratch AS wheels

FROM python:3.6-slim-bullseye AS pytorch-2018-cuda8
# The time that all files of all layers have, and the image itself: two builds give one digest.
ARG SOURCE_DATE_EPOCH=1577836800

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
    --mount=type=bind,source=images/locks/pytorch-2018-cuda8.txt,target=/locks/pytorch-2018-cuda8.txt \
    --mount=type=cache,target=/root/.cache/pip \
    --mount=type=bind,source=images/fixed-times.sh,target=/fixed-times.sh \
    . /fixed-times.sh \
 && if [ -s /run/secrets/ca ]; then export PIP_CERT=/run/secrets/ca; fi \
 && if [ -s /run/secrets/pip_conf ]; then export PIP_CONFIG_FILE=/run/secrets/pip_conf; fi \
 && take_over_packages \
 && pip --disable-pip-version-check install --no-compile --find-links=/wheels --require-hashes --no-deps --requirement=/locks/pytorch-2018-cuda8.txt --only-binary=:all: \
 && pip --disable-pip-version-check install --no-compile --find-links=/wheels --no-deps --only-binary=:all: https://download.pytorch.org/whl/cu80/torch-1.0.1-cp36-cp36m-linux_x86_64.whl \
 && compile_python

ENV ROSETTA_PLATFORM=cuda8 \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility \
    PYTHONPATH=/workloads \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    HOME=/tmp

LABEL rosetta=true \
      rosetta.contract=1 \
      rosetta.framework=pytorch-2018 \
      rosetta.framework.version=1.0.1 \
      rosetta.platform=cuda8 \
      org.opencontainers.image.title="PyTorch 1.0 (2018), Caffe2 1.0.1 (cuda8)" \
      org.opencontainers.image.description="Runs the workloads of Rosetta Matrix in PyTorch 1.0 (2018), Caffe2." \
      org.opencontainers.image.licenses="BSD-3-Clause"

WORKDIR /workloads
# Last, so that an edited script costs this layer only. Readable by every user, whatever the checkout's umask was.
RUN --mount=type=bind,source=images/fixed-times.sh,target=/fixed-times.sh \
    --mount=type=bind,source=workloads,target=/from \
    . /fixed-times.sh && cp --recursive /from/. . && chmod --recursive 755 . && fix_times

# No USER, on purpose. With 'docker run -v $PWD/results:/results' the harness must start as root to become the owner of
# that folder, whoever that is on the host; it drops root before any framework is loaded. The orchestrator starts the
# container as 10001 and without capabilities.
ENTRYPOINT ["python", "-m", "harness"]
