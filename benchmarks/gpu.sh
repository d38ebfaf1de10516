#!/usr/bin/env bash
# Test and measure everything that needs a CUDA GPU, within nine minutes, and write one JSON file.
#
#     benchmarks/gpu.sh [--dry-run] [OUT.json]      (default: gpu.json)
#
# Needs PyTorch with CUDA and pytest; training speed also needs the extra `train`. A step that fails or takes too long
# is reported in the file, and the others still run. The exit code is 1 if a step failed, and 2 without a GPU.
#
# --dry-run runs the same steps on the CPU with the smallest sizes, to test this script; its figures mean nothing.
set -u
device=cuda
patience=1
benchmark=(--batch-size 1 --batch-size 16 --batch-size 64 --batch-size 512)
peers=(--batches 1 16 64 512 --rounds 2)
cut=()
training=()
if [ "${1:-}" = --dry-run ]; then
    shift
    device=cpu
    patience=20  # times the time limits, because the machine may be busy
    benchmark=(--batch-size 1 --batch-size 2 --repeats 1)
    peers=(--batches 1 --rounds 1)
    cut=(--frames 4 --batch 2 --rounds 1)
    training=(--batch 4 --repeats 1)
fi
out=$(realpath -m "${1:-gpu.json}")
cd "$(dirname "$0")/.." || exit 2
export PYTHONPATH=$PWD
[ "$device" = cpu ] || python -c 'import sys, torch; sys.exit(not torch.cuda.is_available())' 2>/dev/null || {
    echo "error: no CUDA GPU that PyTorch can use" >&2
    exit 2
}
logs=$(mktemp -d)
trap 'rm -rf "$logs"' EXIT

step() { # NAME SECONDS COMMAND...: keep what a step prints, and its exit code
    echo "$1" >&2
    timeout $(($2 * patience)) "${@:3}" >"$logs/$1.out" 2>"$logs/$1.err"
    echo $? >"$logs/$1.code"
}

step test 120 python -m pytest -q -m gpu tests/runtimes
step graphs 120 python -m handpose benchmark examples/open.png -c examples/camera.json --backend torch \
    --device "$device" "${benchmark[@]}" --json
step without_graphs 90 python benchmarks/peers.py --device "$device" "${peers[@]}" --json "$logs/peers.json"
step where_to_cut 90 python benchmarks/where_to_cut.py --device "$device" "${cut[@]}"
step training_speed 120 python benchmarks/training_speed.py --device "$device" "${training[@]}"

python - "$logs" "$out" "$device" <<'END'
import json
import sys
from pathlib import Path

import torch

logs, out = map(Path, sys.argv[1:3])
name = torch.cuda.get_device_name() if sys.argv[3] == "cuda" else "CPU (dry run)"
report = {"device": name, "torch": torch.__version__, "cuda": torch.version.cuda, "steps": {}}
failed = False
for code in sorted(logs.glob("*.code"), key=lambda file: file.stat().st_mtime_ns):
    exit_code = int(code.read_text())
    failed |= exit_code != 0
    text = code.with_suffix(".out").read_text()
    try:
        result = json.loads(text)
    except ValueError:
        result = text.splitlines()
    errors = code.with_suffix(".err").read_text().splitlines()
    report["steps"][code.stem] = {"exit_code": exit_code, "result": result, "errors": errors[-20:] if exit_code else []}
peers = logs / "peers.json"
if peers.is_file():
    report["steps"]["without_graphs"]["result"] = json.loads(peers.read_text())
out.write_text(json.dumps(report, indent=1) + "\n")
print(out)
sys.exit(failed)
END
