# Wheels that are there already: a build without internet replaces this empty stage with a folder,
# --build-context wheels=FOLDER.
FROM scratch AS wheels

FROM julia:1.9-bookworm AS copy1

FROM python:3.11-slim-bookworm AS knet-cpu
# The time that all files of all layers have, and the image itself: two builds give one digest.
ARG SOURCE_DATE_EPOCH=1577836800

# What other stages have. A COPY would keep the times that its files have there, and give its folders that of now.
RUN --mount=type=bind,source=images/fixed-times.sh,target=/fixed-times.sh \
    --mount=type=bind,from=copy1,source=/usr/local/julia,target=/from \
    . /fixed-times.sh \
 && install --directory /usr/local/julia \
 && cp --recursive --preserve=links,mode /from/. /usr/local/julia \
 && fix_times

RUN --mount=type=bind,source=images/fixed-times.sh,target=/fixed-times.sh \
    . /fixed-times.sh \
 && ln -s /usr/local/julia/bin/julia /usr/local/bin/julia \
 && export JULIA_DEPOT_PATH=/opt/julia PYTHON=/usr/local/bin/python \
 && julia -e 'using Pkg; Pkg.add([(name="Knet", version="1.4.10"), (name="PyCall", version="1.96.4")])' \
 && chmod -R a+rX /opt/julia \
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
    --mount=type=bind,source=images/locks/knet-cpu.txt,target=/locks/knet-cpu.txt \
    --mount=type=cache,target=/root/.cache/pip \
    --mount=type=bind,source=images/fixed-times.sh,target=/fixed-times.sh \
    . /fixed-times.sh \
 && if [ -s /run/secrets/ca ]; then export PIP_CERT=/run/secrets/ca; fi \
 && if [ -s /run/secrets/pip_conf ]; then export PIP_CONFIG_FILE=/run/secrets/pip_conf; fi \
 && take_over_packages \
 && pip --disable-pip-version-check install --no-compile --find-links=/wheels --require-hashes --no-deps --requirement=/locks/knet-cpu.txt --only-binary=:all: \
 && compile_python

ENV ROSETTA_PLATFORM=cpu \
    JULIA_DEPOT_PATH="/tmp/julia:/opt/julia" \
    PYTHONPATH=/workloads \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    HOME=/tmp

LABEL rosetta=true \
      rosetta.contract=1 \
      rosetta.framework=knet \
      rosetta.framework.version=1.4.10 \
      rosetta.platform=cpu \
      org.opencontainers.image.title="Julia (Knet) 1.4.10 (cpu)" \
      org.opencontainers.image.description="Runs the workloads of Rosetta Matrix in Julia (Knet)." \
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
