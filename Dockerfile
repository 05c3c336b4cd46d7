# diadbench with its CLI as the entry point:
#   docker build -t diadbench .                                        # CPU
#   docker build -t diadbench:cuda --build-arg TORCH_INDEX= .          # PyPI's build of torch, with CUDA
#   docker run --rm -v "$PWD:/work" -v /data:/data:ro diadbench run demo --out /work/run
FROM python:3.11-slim-bookworm

ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 DIADBENCH_CACHE=/cache

WORKDIR /src
COPY . .
# git tells the version; the checkout is not needed afterwards
# hadolint ignore=DL3008,DL3013
RUN apt-get update \
    && apt-get install --yes --no-install-recommends git \
    && pip install ${TORCH_INDEX:+--index-url "$TORCH_INDEX"} "torch>=2.5" "torchvision>=0.20" \
    && pip install ".[demo,coco]" \
    && apt-get purge --yes --auto-remove git \
    && rm -rf /src /var/lib/apt/lists/*

RUN useradd --create-home user && mkdir /cache /work && chown user /cache /work
# a name, so that a mounted folder can be given to it by name too
# hadolint ignore=DL3066
USER user
WORKDIR /work
ENTRYPOINT ["diadbench"]
CMD ["--help"]
