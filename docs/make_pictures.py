"""Write the generated parts of the documentation: the references, then the pictures.

python docs/make_pictures.py [NAME...]

A name is that of a script in this folder, such as `draw_real`; by default, all of them run. Pictures of predictions
change with the weights. Requires the extras `train`, `plot`, `demo` and `docs`, Playwright and Chromium.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

DOCS = Path(__file__).resolve().parent

if __name__ == "__main__":
    scripts = sorted(path.stem for path in DOCS.glob("draw_*.py"))
    for name in sys.argv[1:] or ["make_reference", *scripts]:
        print(name, file=sys.stderr)
        subprocess.run([sys.executable, str(DOCS / f"{name}.py")], check=True)
