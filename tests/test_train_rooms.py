"""The rooms config on a few frames of depth (tests/test_ship.py has RGB and HHA): from the data to the result."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from ask_lib.train.distributed import Process
from ask_lib.train.run import run
from ask_lib.train.tasks import find_experiment


@pytest.mark.slow
def test_the_rooms_config_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("ASK_CACHE", str(tmp_path / "cache"))
    default = find_experiment("rooms_pretrain").config
    changes = ["modality=depth", "epochs=1", "count=20", "test_count=5", "batch=16", "validation=0.25"]
    result = run(default.override(changes), out=tmp_path / "run", process=Process(torch.device("cpu")), progress=False)
    assert result["data"] == {"rooms_pretrain": "rooms 1"}
    assert 0 <= result["values"]["test_accuracy"] <= 1
    assert (tmp_path / "run" / "best.pt").is_file()
