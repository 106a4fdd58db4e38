# Where CUDA's libraries come from, for the packages below leave them to the image: one of the three stages cuda-….
ARG CUDA_SOURCE=nvidia-apt

# Wheels that are there already: a build without internet replaces this empty stage with a folder,
# --build-context wheels=FOLDER.
FROM scratch AS wheels

# NVIDIA's own archive of packages, whose list is signed.
FROM debian:bookworm-slim AS cuda-nvidia-apt
# hadolint ignore=DL3008
RUN --mount=type=secret,id=ca \
    --mount=type=secret,id=apt_mirror \
    --mount=type=bind,source=images/apt-mirror.sh,target=/apt-mirror.sh \
    --mount=type=tmpfs,target=/run/apt \
    . /apt-mirror.sh \
 && apt-get update \
 && apt-get install -y --no-install-recommends ca-certificates curl gpg \
 && rm -rf /var/lib/apt/lists/*
RUN --mount=type=secret,id=ca \
    --mount=type=bind,source=images/cuda-stage.sh,target=/cuda-stage.sh \
    if [ -s /run/secrets/ca ]; then export CURL_CA_BUNDLE=/run/secrets/ca; \
    echo 'Acquire::https::CAInfo "/run/secrets/ca";' > /etc/apt/apt.conf.d/ca; fi \
 && ARCHIVES="https://developer.download.nvidia.com/compute/cuda/repos/ubuntu1604/x86_64 https://developer.download.nvidia.com/compute/machine-learning/repos/ubuntu1604/x86_64" \
    KEYS="7fa2af80.pub=AE09FE4BBD223A84B2CCFCE3F60F4B3D7FA2AF80 3bf863cc.pub=EB693B3035CD5710E231E123A4B469963BF863CC" \
    sh /cuda-stage.sh apt \
    cuda-cublas-8-0=8.0.61.2-1 \
    cuda-cudart-8-0=8.0.61-1 \
    cuda-cufft-8-0=8.0.61-1 \
    cuda-curand-8-0=8.0.61-1 \
    cuda-cusolver-8-0=8.0.61-1 \
    cuda-cusparse-8-0=8.0.61-1 \
    cuda-nvrtc-8-0=8.0.61-1 \
    cuda-command-line-tools-8-0=8.0.61-1 \
    libcudnn6=6.0.21-1+cuda8.0 \
    -- libcublas.so.8.0 \
    libcudart.so.8.0 \
    libcufft.so.8.0 \
    libcurand.so.8.0 \
    libcusolver.so.8.0 \
    libcusparse.so.8.0 \
    libnvrtc.so.8.0 \
    libnvrtc-builtins.so \
    libnvToolsExt.so.1 \
    libcudnn.so.6

# NVIDIA's installers and archives.
FROM debian:bookworm-slim AS cuda-nvidia-files
# hadolint ignore=DL3008
RUN --mount=type=secret,id=ca \
    --mount=type=secret,id=apt_mirror \
    --mount=type=bind,source=images/apt-mirror.sh,target=/apt-mirror.sh \
    --mount=type=tmpfs,target=/run/apt \
    . /apt-mirror.sh \
 && apt-get update \
 && apt-get install -y --no-install-recommends ca-certificates curl gpg \
 && rm -rf /var/lib/apt/lists/*
RUN --mount=type=secret,id=ca \
    --mount=type=bind,source=images/cuda-stage.sh,target=/cuda-stage.sh \
    if [ -s /run/secrets/ca ]; then export CURL_CA_BUNDLE=/run/secrets/ca; fi \
 && sh /cuda-stage.sh files \
    9ceca9c2397f841024e03410bfd6eabfd72b384256fbed1c1e4834b5b0ce9dc4=https://developer.nvidia.com/compute/cuda/8.0/Prod2/local_installers/cuda_8.0.61_375.26_linux-run \
    9b09110af48c9a4d7b6344eb4b3e344daa84987ed6177d5c44319732f3bb7f9c=https://developer.download.nvidia.com/compute/redist/cudnn/v6.0/cudnn-8.0-linux-x64-v6.0.tgz \
    -- libcublas.so.8.0 \
    libcudart.so.8.0 \
    libcufft.so.8.0 \
    libcurand.so.8.0 \
    libcusolver.so.8.0 \
    libcusparse.so.8.0 \
    libnvrtc.so.8.0 \
    libnvrtc-builtins.so \
    libnvToolsExt.so.1 \
    libcudnn.so.6

# Anaconda's channels, under terms by which large organisations need a licence.
FROM mambaorg/micromamba:2.3.2 AS cuda-anaconda
# hadolint ignore=DL3002
USER 0
RUN --mount=type=secret,id=ca \
    if [ -s /run/secrets/ca ]; then export MAMBA_SSL_VERIFY=/run/secrets/ca; fi \
 && micromamba create --yes --prefix /cuda --override-channels \
    --channel https://repo.anaconda.com/pkgs/main \
    --channel https://repo.anaconda.com/pkgs/free \
    cudatoolkit=8.0 cudnn=6.0 \
 && sha256sum /cuda/conda-meta/*.json \
 && cp --dereference --target-directory=/ \
    /cuda/lib/libcublas.so.8.0 \
    /cuda/lib/libcudart.so.8.0 \
    /cuda/lib/libcufft.so.8.0 \
    /cuda/lib/libcurand.so.8.0 \
    /cuda/lib/libcusolver.so.8.0 \
    /cuda/lib/libcusparse.so.8.0 \
    /cuda/lib/libnvrtc.so.8.0 \
    /cuda/lib/libnvrtc-builtins.so \
    /cuda/lib/libnvToolsExt.so.1 \
    /cuda/lib/libcudnn.so.6

# A folder with these libraries replaces this stage: --build-context cuda=FOLDER.
# hadolint ignore=DL3006
FROM cuda-$CUDA_SOURCE AS cuda

# What no index has, from its source.
FROM python:3.6-slim-bullseye AS compiled
# hadolint ignore=DL3008
RUN --mount=type=secret,id=ca \
    --mount=type=secret,id=apt_mirror \
    --mount=type=bind,source=images/apt-mirror.sh,target=/apt-mirror.sh \
    --mount=type=tmpfs,target=/run/apt \
    . /apt-mirror.sh \
 && apt-get update \
 && apt-get install -y --no-install-recommends ca-certificates curl cmake make g++ \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /source
# hadolint ignore=DL4006
RUN --mount=type=secret,id=ca \
    --mount=type=secret,id=pip_conf \
    --mount=type=bind,source=images/locks/theano-cuda8.build.txt,target=/locks/theano-cuda8.build.txt \
    --mount=type=cache,target=/root/.cache/pip \
    if [ -s /run/secrets/ca ]; then export PIP_CERT=/run/secrets/ca CURL_CA_BUNDLE=/run/secrets/ca; fi \
 && if [ -s /run/secrets/pip_conf ]; then export PIP_CONFIG_FILE=/run/secrets/pip_conf; fi \
 && curl --fail --silent --show-error --location --output /source.tar.gz https://archive.ubuntu.com/ubuntu/pool/universe/libg/libgpuarray/libgpuarray_0.7.6.orig.tar.gz \
 && echo "ad1c00dd47c3d36ee1708e5167377edbfcdb7226e837ef9c68b841afbb4a4f6a  /source.tar.gz" | sha256sum --check --strict \
 && tar --extract --gzip --strip-components=1 --file=/source.tar.gz \
 && pip --disable-pip-version-check install --no-compile --require-hashes --no-deps --requirement=/locks/theano-cuda8.build.txt --only-binary=:all: \
 && cmake -DCMAKE_BUILD_TYPE=Release -DCMAKE_INSTALL_PREFIX=/usr/local -S . -B build \
 && make -C build install \
 && make -C build install DESTDIR=/compiled \
 && ldconfig \
 && pip install --no-compile --no-deps --no-build-isolation --root=/compiled --prefix=/usr/local .

FROM python:3.6-slim-bullseye AS theano-cuda8
# The time that all files of all layers have, and the image itself: two builds give one digest.
ARG SOURCE_DATE_EPOCH=1577836800

# What other stages have. A COPY would keep the times that its files have there, and give its folders that of now.
RUN --mount=type=bind,source=images/fixed-times.sh,target=/fixed-times.sh \
    --mount=type=bind,from=cuda,source=/libcublas.so.8.0,target=/from/libcublas.so.8.0 \
    --mount=type=bind,from=cuda,source=/libcudart.so.8.0,target=/from/libcudart.so.8.0 \
    --mount=type=bind,from=cuda,source=/libcufft.so.8.0,target=/from/libcufft.so.8.0 \
    --mount=type=bind,from=cuda,source=/libcurand.so.8.0,target=/from/libcurand.so.8.0 \
    --mount=type=bind,from=cuda,source=/libcusolver.so.8.0,target=/from/libcusolver.so.8.0 \
    --mount=type=bind,from=cuda,source=/libcusparse.so.8.0,target=/from/libcusparse.so.8.0 \
    --mount=type=bind,from=cuda,source=/libnvrtc.so.8.0,target=/from/libnvrtc.so.8.0 \
    --mount=type=bind,from=cuda,source=/libnvrtc-builtins.so,target=/from/libnvrtc-builtins.so \
    --mount=type=bind,from=cuda,source=/libnvToolsExt.so.1,target=/from/libnvToolsExt.so.1 \
    . /fixed-times.sh \
 && install --directory /usr/local/cuda/lib64 \
 && install --mode=755 --target-directory=/usr/local/cuda/lib64 /from/* \
 && fix_times
RUN --mount=type=bind,source=images/fixed-times.sh,target=/fixed-times.sh \
    --mount=type=bind,from=compiled,source=/compiled,target=/from \
    . /fixed-times.sh && cp --recursive --preserve=links /from/. / && fix_times

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
 && apt-get install -y --no-install-recommends g++ libopenblas-openmp-dev \
 && rm -rf /var/lib/apt/lists/* \
 && ln -s /usr/local/cuda/lib64/libcublas.so.* /usr/local/cuda/lib64/libcublas.so \
 && ln -s /usr/local/cuda/lib64/libnvrtc.so.* /usr/local/cuda/lib64/libnvrtc.so \
 && ldconfig \
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
    --mount=type=bind,source=images/locks/theano-cuda8.build.txt,target=/locks/theano-cuda8.build.txt \
    --mount=type=bind,source=images/locks/theano-cuda8.txt,target=/locks/theano-cuda8.txt \
    --mount=type=cache,target=/root/.cache/pip \
    --mount=type=bind,source=images/fixed-times.sh,target=/fixed-times.sh \
    . /fixed-times.sh \
 && if [ -s /run/secrets/ca ]; then export PIP_CERT=/run/secrets/ca; fi \
 && if [ -s /run/secrets/pip_conf ]; then export PIP_CONFIG_FILE=/run/secrets/pip_conf; fi \
 && take_over_packages \
 && pip --disable-pip-version-check install --no-compile --find-links=/wheels --require-hashes --no-deps --requirement=/locks/theano-cuda8.build.txt --only-binary=:all: \
 && pip --disable-pip-version-check install --no-compile --find-links=/wheels --require-hashes --no-deps --requirement=/locks/theano-cuda8.txt --no-build-isolation \
 && compile_python

ENV ROSETTA_PLATFORM=cuda8 \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility \
    LD_LIBRARY_PATH=/usr/local/cuda/lib64 \
    KERAS_BACKEND="theano" \
    THEANO_FLAGS="device=cuda,dnn.enabled=False,blas.ldflags=-lopenblas" \
    PYTHONPATH=/workloads \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    HOME=/tmp

LABEL rosetta=true \
      rosetta.contract=1 \
      rosetta.framework=theano \
      rosetta.framework.version=1.0.5 \
      rosetta.platform=cuda8 \
      org.opencontainers.image.title="Keras (Theano), Lasagne (Theano) 1.0.5 (cuda8)" \
      org.opencontainers.image.description="Runs the workloads of Rosetta Matrix in Keras (Theano), Lasagne (Theano)." \
      org.opencontainers.image.licenses="BSD-3-Clause AND MIT"

WORKDIR /workloads
# Last, so that an edited script costs this layer only. Readable by every user, whatever the checkout's umask was.
RUN --mount=type=bind,source=images/fixed-times.sh,target=/fixed-times.sh \
    --mount=type=bind,source=workloads,target=/from \
    . /fixed-times.sh && cp --recursive /from/. . && chmod --recursive 755 . && fix_times

# No USER, on purpose. With 'docker run -v $PWD/results:/results' the harness must start as root to become the owner of
# that folder, whoever that is on the host; it drops root before any framework is loaded. The orchestrator starts the
# container as 10001 and without capabilities.
ENTRYPOINT ["python", "-m", "harness"]
