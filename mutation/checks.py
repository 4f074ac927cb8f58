"""Lists the quick and the deep checks by which a mutant is judged: files of tests, and parts of the simulation."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

# The folders whose tests belong to the quick suite, and the folders whose tests belong only to the deep suite.
QUICK_FOLDERS = ("tests/unit", "tests/property", "tests/api")
DEEP_FOLDERS = ("tests/simulator", "tests/conformance")
# The bound of the quick suite of one mutant, in seconds of processor time.
QUICK_SECONDS_MOST = 60.0
# These tests do not judge mutants: they check texts, files or commands instead of the Worker's behaviour, or they
# repeat parts of the simulation.
NOT_RUN = {
    "tests/conformance/test_conformance.py": "starts the real workerd",
    "tests/simulator/campaign/test_campaign.py": "the parts of the simulation do the same, and more",
    "tests/simulator/test_readme.py": "runs what a document says",
    "tests/api/test_bytecodes.py": "counts bytecodes, which each mutant changes",
    "tests/api/test_docs.py": "compares generated documents",
    "tests/unit/docs/test_contributing.py": "runs what a document says",
    "tests/unit/docs/test_documents.py": "compares documents with the code",
    "tests/unit/project/test_kit.py": "looks at files",
    "tests/unit/project/test_names_and_sentences.py": "asks git, which does not know the copies of the tree",
    "tests/unit/project/test_tiers.py": "asks git, which does not know the copies of the tree",
    "tests/unit/platform/test_stubs.py": "looks at stubs",
    "tests/unit/project/test_tidy.py": "looks at the text of the code",
}
QUICK_PARTS = ("simulate crafted", "simulate crashes", "simulate seeds")
DEEP_PARTS = ("simulate more seeds", "simulate pairs of crashes", "simulate states", "simulate more crafted")


@dataclass(frozen=True, slots=True)
class Check:
    """A file of tests, or a part of the simulation (`mutation.simulation`).

    `is_quick` says whether the check belongs to the quick suite.
    """

    name: str
    is_quick: bool

    def key(self, root: Path, tree: str) -> str:
        """Return a digest of the check's own file and of `tree`, the digest of all shared files.

        The outcome of the check depends only on the check's own file and on the shared files.
        """
        own = b"" if self.is_part else (root / self.name).read_bytes()
        return hashlib.sha256(f"{tree}/{self.name}/{self.is_quick}/".encode() + own).hexdigest()[:12]

    @property
    def is_part(self) -> bool:
        """Whether this check is a part of the simulation."""
        return self.name.startswith("simulate ")


@dataclass(frozen=True, slots=True)
class Reach:
    """What a check did without a mutant: its time, and the parts of the Worker that it executed.

    `seconds` is processor time. `functions` has the names of the called functions, such as `module.py::Class.method`.
    `modules` has the paths of the imported modules. `statements` has the digests of the SQL statements whose parameters
    the check set. `failure` is set if the check failed without a mutant and therefore cannot judge mutants.
    """

    seconds: float
    functions: frozenset[str]
    modules: frozenset[str]
    statements: frozenset[str]
    failure: str | None = None


def all_checks(root: Path, *, deep: bool) -> list[Check]:
    """List the checks of a project, the deep ones only with `deep`."""
    checks = [Check(name, is_quick=True) for name in QUICK_PARTS]
    checks += [Check(name, is_quick=False) for name in (DEEP_PARTS if deep else ())]
    for folder in (*QUICK_FOLDERS, *(DEEP_FOLDERS if deep else ())):
        for path in sorted((root / folder).rglob("test_*.py")):
            name = path.relative_to(root).as_posix()
            if name not in NOT_RUN:
                checks.append(Check(name, is_quick=folder in QUICK_FOLDERS))
    return checks


def chosen(checks: Iterable[tuple[Check, Reach]]) -> tuple[list[Check], list[Check]]:
    """Return a mutant's quick suite and its deep suite, chosen from the checks that reach it, the cheapest first.

    The cost of a check is its time until it reports. Quick checks that do not fit into the time limit of the quick
    suite go to the deep suite.
    """
    in_order = sorted(checks, key=lambda one: (one[1].seconds, one[0].name))
    quick: list[Check] = []
    deep: list[Check] = []
    left = QUICK_SECONDS_MOST
    for check, reach in in_order:
        if check.is_quick and reach.seconds <= left:
            quick.append(check)
            left -= reach.seconds
        else:
            deep.append(check)
    return quick, deep
