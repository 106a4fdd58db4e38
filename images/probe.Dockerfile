# What the engine runs with all its GPUs to tell which there are: the harness' own reading of NVIDIA's driver, and a
# Python for it. Its context is workloads/.
FROM python:3.11-slim-bookworm
LABEL rosetta=probe
COPY harness/__init__.py harness/nvml.py harness/visible_gpus.py /probe/harness/
WORKDIR /probe
USER 10001:10001
ENTRYPOINT ["python", "-B", "-m", "harness.visible_gpus"]
