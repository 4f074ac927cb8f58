"""The README's commands run as written, and its output is the real one."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.client import Client
from tests.support.dev_server import DevServer

pytestmark = pytest.mark.runtime
ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    """Return the README's code blocks of one language."""
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def test_the_first_two_commands_and_their_output(tmp_path: Path):
    """The command that submits a text works as it stands, for both examples, and the outputs are those shown."""
    assert blocks("sh")[0] == "make dev\n"
    command = blocks("sh")[1]
    # The real command line, in the checkout, but for the port and for the Python that a virtual environment hides.
    assert shutil.which("curl")
    with DevServer(tmp_path) as server, Client(server.url) as client:
        for name, shown in zip(("english.txt", "chinese.txt"), blocks("markdown"), strict=True):
            line = command.replace("http://127.0.0.1:8787", server.url).replace("english.txt", name)
            done = subprocess.run(["bash", "-c", line], cwd=ROOT, capture_output=True, text=True, check=True)
            task = json.loads(done.stdout)
            assert (task["status"], task["route"]) == ("pending", "queue")
            output = client.task(task["id"], wait=25)["result"]["output"]
            assert output.startswith(shown.rstrip())


def test_the_variables_of_the_readme_are_those_of_the_code():
    """Each variable that the settings read stands in the README's table, and none that they do not."""
    source = (ROOT / "src" / "core" / "settings.py").read_text()
    read = set(re.findall(r'"([A-Z]+(?:_[A-Z]+)+|PLAN)"', source))
    listed = set(re.findall(r"^\| `([A-Z_]+)` \|", README, re.MULTILINE))
    assert read == listed


def test_every_file_that_the_documents_link_to_is_there():
    """No dead link between the project's documents."""
    for document in [ROOT / "README.md", *ROOT.glob("docs/**/*.md")]:
        for target in re.findall(r"\]\(((?!https?:)[^)#]+)\)", document.read_text()):
            assert (document.parent / target).exists(), f"{document.name}: {target}"
