# One image for every node of a cluster, and for the laptop that submits to it:
#   docker build --tag encore-ray:0.1.0 .
# pip takes torch's default build for Linux, which brings its CUDA libraries: the image is for GPU nodes as it is, and
# needs nothing but the NVIDIA driver of the host. For CPUs only, name an index with CPU builds of torch, a quarter of
# the size; its 2.13.0+cpu meets the constraint torch==2.13.0 and is preferred:
#   docker build --tag encore-ray:0.1.0-cpu --build-arg PIP_EXTRA_INDEX_URL=... .
FROM python:3.11-slim-bookworm

# wget: KubeRay's probes. openssh-client, rsync: Ray's cluster launcher. procps: what Ray's dashboard reads.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends openssh-client procps rsync wget \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --create-home --uid 1000 ray

# Into the system's Python: login shells, which launchers use, reset PATH and would lose a virtual environment.
ENV PIP_CONSTRAINT=/opt/encore-ray/constraints.txt \
    PIP_NO_CACHE_DIR=1 \
    PIP_ROOT_USER_ACTION=ignore \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility \
    OMP_WAIT_POLICY=PASSIVE

# The libraries, gigabytes, in a layer that changes with their list only.
WORKDIR /opt/encore-ray
COPY pyproject.toml constraints.txt ./
ARG PIP_EXTRA_INDEX_URL
RUN python -c "import tomllib; project = tomllib.load(open('pyproject.toml', 'rb'))['project']; \
print(*project['dependencies'], *project['optional-dependencies']['multi-gpu'], 'boto3', sep='\n')" > requirements.txt \
    && pip install --requirement requirements.txt

COPY README.md LICENSE ./
COPY encore_ray encore_ray
RUN pip install --no-deps . \
    && encore-ray --version

USER ray
# Ray's launcher mounts what is to lie below ~ in the HOME that the image names, else in /root.
ENV HOME=/home/ray
WORKDIR /home/ray
