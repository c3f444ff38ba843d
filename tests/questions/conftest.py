"""The small run of the classifier's tests serves here, too."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "classifier"))
