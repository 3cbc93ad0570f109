"""The bench of translation runs, and says of every pair what a chunk costs."""

import subprocess
import sys
from pathlib import Path


def test_every_pair_of_dialects_has_its_cost() -> None:
    script = Path(__file__).with_name("translation.py")
    told = subprocess.run(
        [sys.executable, str(script), "--rounds", "1"], capture_output=True, text=True, check=True
    ).stdout
    rows = [line for line in told.splitlines() if "µs" in line]
    assert len(rows) == 1 + 10
    for row in rows:
        cost = row.split("|")[4].strip().removesuffix(" µs")
        assert float(cost) > 0
