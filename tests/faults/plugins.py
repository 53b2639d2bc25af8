"""Plugins of strangers that raise, leave, crash, hang, or change what is not theirs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.faults.scene import HANG, ROOT, Row, Scene
from tests.faults.strangers import FAULTY, LISTENER, LOADER, TECHNIQUE, faulty, running

CAUSES = {
    "raises": "RuntimeError: no luck",
    "leaves": "SystemExit: 0",
    "exits": "exit code 0",
    "crashes": "SIGSEGV",
    "sleeps": "did not finish within 3 s",
    "blocks": "did not finish within",
    "scales": "changed 'weight' of the dense model in place",
    "replaces": "changed 'weight' of the dense model in place",
}


def techniques(scene: Scene) -> list[Row]:
    """Techniques that each do one thing, beside int8: none is offered, each has its cause, the budget is kept."""
    scene.stranger(faulty(*FAULTY))
    ran = scene.run(*scene.search(space=scene.space(*FAULTY, "int8")))
    rows = []
    for name, cause in CAUSES.items():
        told = [line.strip() for line in ran.stderr.splitlines() if f"{name} on " in line and cause in line]
        words = told[0] if told else str(ran.errors or ran.stderr[-300:])
        rows.append((f"plugin: a technique {name}", ran.code == 0 and bool(told), f"code {ran.code}; {words[:110]}"))
    return rows


def nothing_left(scene: Scene) -> tuple[bool, str]:
    """Every option of the space fails: no policy can keep the budget, and the causes are told."""
    scene.stranger(faulty("raises", "exits", "scales"))
    ran = scene.run(*scene.search(space=scene.space("raises", "exits", "scales")))
    told = bool(ran.errors) and "exit code 0" in ran.errors[0] and "in place" in ran.errors[0]
    return ran.code == 3 and told, f"code {ran.code}; {(ran.errors or [ran.stderr[-300:]])[0][:110]}"


def listener(scene: Scene) -> tuple[bool, str]:
    """A listener raises or leaves after every trial: told once, the search goes on."""
    scene.stranger(LISTENER % ("pass", "raise ValueError('deaf')"))
    scene.stranger(LISTENER % ("pass", "sys.exit(0)"), name="leaver")
    ran = scene.run(*scene.search())
    told = [ran.said("ValueError: deaf"), ran.said("SystemExit: 0")]
    once = ran.stderr.count("ValueError: deaf") == 1
    return ran.code == 0 and all(told) and once, f"code {ran.code}; {told[0][:110]}"


def loader(scene: Scene) -> tuple[bool, str]:
    """A loader calls sys.exit(0): no success."""
    scene.stranger(LOADER)
    ran = scene.run(*scene.search())
    return ran.code == 1 and "'stranger'" in "".join(ran.errors), f"code {ran.code}; {(ran.errors or [''])[0][:110]}"


def session(scene: Scene, action: str, words: str, codes: tuple[int, ...]) -> tuple[bool, str]:
    """A technique that behaves until it runs in a measuring session."""
    scene.stranger(running(action))
    ran = scene.run(*scene.search(space=scene.space("half")))
    said = ran.said(words)
    return ran.code in codes and bool(said), f"code {ran.code}; {said[:110] or ran.errors or ran.stderr[-300:]}"


def missing_in_bench(scene: Scene) -> tuple[bool, str]:
    """The plugin of an artifact's technique was uninstalled: bench says what to install."""
    scene.stranger(running("pass"))
    made = scene.run(*scene.search(space=scene.space("half")))
    for file in (scene.folder / "site").rglob("*"):
        if file.is_file():
            file.unlink()
    ran = scene.run("bench", "run/best")
    told = "needs technique 'half', which is not installed: pip install stranger" in "".join(ran.errors)
    return made.code == 0 and ran.code == 2 and told, f"code {ran.code}; {(ran.errors or [''])[0][-90:]}"


def from_python(scene: Scene) -> tuple[bool, str]:
    """A plugin object that a script passes in reaches the measuring processes."""
    script: Path = scene.here / "script.py"
    script.write_text(PASSED % {"root": str(ROOT), "technique": TECHNIQUE, "shared": str(scene.shared)})
    command = [sys.executable, str(script)]
    given = {"cwd": scene.here, "env": scene.environment(), "capture_output": True, "text": True, "timeout": HANG}
    done = subprocess.run(command, check=False, **given)  # type: ignore[call-overload]
    said = (done.stdout.strip() or done.stderr)[-120:]
    return said.endswith("kept half"), said


PASSED = """
import sys
sys.path.insert(0, %(root)r)
from tests.faults.command import shorten
%(technique)s

class Plugin:
    @hookimpl
    def autocompress_techniques(self):
        return [Base()]

if __name__ == "__main__":
    shorten()
    import autocompress as ac
    open("space.toml", "w").write('[[rule]]\\nkind = "linear"\\ntechnique = "half"\\n')
    found = ac.search(%(shared)r + "/bert", "size=85%%", data=%(shared)r + "/rows.csv", space="space.toml", sequence=16,
                      threads=1, trials=4, sessions=2, out="run", plugins=(Plugin(),))
    print("kept" if found.kept else "missed", *found.policy.techniques())
"""
