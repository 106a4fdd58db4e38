"""A notebook as its reader runs it: by Jupyter's own client and kernel, where the library is.

The images have no Jupyter. They have the Python that the tests run with, so that the tests' own packages are put at the
end of the kernel's path: NumPy and the library are those of the image.
"""

import json
import subprocess
import sys
import sysconfig

import pytest

from orchestrator.engines.docker import DockerEngine
from orchestrator.images.image import image_for

pytestmark = pytest.mark.container

KERNEL = """
import sys
sys.path.append("/jupyter")
from ipykernel.kernelapp import launch_new_instance
launch_new_instance()
"""
CLIENT = """
import sys
sys.path.append("/jupyter")
import nbclient, nbformat
notebook = nbformat.read("/work/pytorch-rnn.ipynb", 4)
nbclient.NotebookClient(notebook, timeout=600, kernel_name="python3").execute()
nbformat.write(notebook, "/work/executed.ipynb")
"""


def test_a_notebook_runs_from_top_to_bottom_and_leaves_a_result(engine, tmp_path):
    image = image_for("pytorch", "cpu")
    DockerEngine().prepare([image], print)
    written = subprocess.run(
        [f"{sys.prefix}/bin/rosetta", "notebook", "pytorch", "rnn"], cwd=tmp_path, capture_output=True, text=True
    )
    assert written.returncode == 0, written.stderr
    kernel = tmp_path / "kernels" / "python3"
    kernel.mkdir(parents=True)
    spec = {"argv": ["python", "-c", KERNEL, "-f", "{connection_file}"], "display_name": "image", "language": "python"}
    (kernel / "kernel.json").write_text(json.dumps(spec))
    tmp_path.chmod(0o777)
    command = ["docker", "run", "--rm", "--network=none", "--user=10001", f"--volume={tmp_path}:/work"]
    command += [f"--volume={sysconfig.get_path('purelib')}:/jupyter:ro", "--env=JUPYTER_PATH=/work"]
    command += ["--entrypoint=python", image.tag, "-c", CLIENT]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    cells = json.loads((tmp_path / "executed.ipynb").read_text())["cells"]
    said = "".join(line for output in cells[-1]["outputs"] for line in output["text"])
    events = [json.loads(line) for line in said.splitlines()]
    assert [event["event"] for event in events].count("epoch") == 2
    assert (events[-1]["event"], events[-1]["metric"]) == ("result", "accuracy")
    assert events[-1]["quality"] > 0.9
