"""Memory of a load, measured in a process of its own: weights are never there twice."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from transformers import LlamaConfig, LlamaForCausalLM

from engine.sae_layouts import sae_weight_bytes
from tests.engine.checkpoints import save_tokenizer
from tests.source_files import ROOT

MIB = 1 << 20
MEASURE = """
import json, sys
from pathlib import Path
import torch
from engine.devices import choose_placement
from engine.loading import load_language_model
from engine.sae_config import read_sae_config
from engine.sae_loading import load_sae
from tests.engine.checkpoints_models import save_model

def memory():
    lines = Path("/proc/self/status").read_text().splitlines()
    kib = {line.split(":")[0]: int(line.split()[1]) for line in lines if line.endswith(" kB")}
    return {"peak": kib["VmHWM"] * 1024, "own": kib["RssAnon"] * 1024}

folder, dtype = Path(sys.argv[1]), sys.argv[2]
cpu = choose_placement("cpu")
save_model(folder / "warm", "llama")
load_language_model(folder / "warm", dtype, cpu).model(torch.tensor([[1, 2]]))
before = memory()
language = load_language_model(folder / "model", dtype, cpu)
config = read_sae_config(folder / "sae")
sae = load_sae(folder / "sae", config, getattr(torch, dtype), torch.device("cpu"))
assert sum(float(p.float().sum()) for p in language.model.parameters()) != 0
assert float(sae.W_enc.sum()) != 0
print(json.dumps({"before": before, "after": memory()}))
"""


@pytest.fixture(scope="module")
def mid_size(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Llama of 230 MB and an SAE of 134 MB, both in bfloat16."""
    root = tmp_path_factory.mktemp("mid")
    config = LlamaConfig(
        vocab_size=16_000,
        hidden_size=1024,
        intermediate_size=4096,
        num_hidden_layers=5,
        num_attention_heads=8,
        num_key_value_heads=4,
    )
    model = LlamaForCausalLM(config)
    torch.nn.Module.to(model, torch.bfloat16)
    model.save_pretrained(root / "model", max_shard_size="60MB")
    save_tokenizer(root / "model", with_chat=True)
    d_in, d_sae = 1024, 32 * 1024
    weights = {
        "encoder.weight": torch.randn(d_sae, d_in).to(torch.bfloat16),
        "encoder.bias": torch.zeros(d_sae, dtype=torch.bfloat16),
        "decoder.weight": torch.zeros(d_in, d_sae, dtype=torch.bfloat16),
        "decoder.bias": torch.zeros(d_in, dtype=torch.bfloat16),
    }
    (root / "sae").mkdir()
    save_file(weights, root / "sae" / "model.safetensors")
    text = json.dumps({"k": 8, "hook_name": "blocks.2.hook_resid_post"})
    (root / "sae" / "config.json").write_text(text)
    return root


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="reads Linux's /proc")
@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
def test_weights_are_never_twice_in_memory(mid_size: Path, dtype: str) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", MEASURE, str(mid_size), dtype],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=240,
        check=True,
    )
    measured = json.loads(done.stdout.splitlines()[-1])
    on_disk = sum(path.stat().st_size for path in (mid_size / "model").glob("*.safetensors"))
    needed = on_disk * (2 if dtype == "float32" else 1)
    needed += sae_weight_bytes(mid_size / "sae", dtype, with_decoder=False)
    own = measured["after"]["own"] - measured["before"]["own"]
    peak = measured["after"]["peak"] - measured["before"]["peak"]
    if dtype == "bfloat16":
        # the files are mapped: their pages are shared with the disk's cache, and count once
        assert own < 40 * MIB
        assert peak < 1.35 * needed
    else:
        # pages of the files are in the peak too: the system takes them back when it needs memory
        assert own < 1.1 * needed
        assert peak < 1.35 * needed + on_disk + 64 * MIB
