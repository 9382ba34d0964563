"""WSInfer's own inference on the first tiles of a slide, in a whole process of its own; started by benchmarks.pipeline.

Runs in the peer's environment, not in ours, and prints one line of JSON. WSInfer 0.6.1 needs older readers:

    uv venv wsinfer
    uv pip install --python wsinfer/bin/python wsinfer timm setuptools "zarr<3" "tiffslide<3" "numpy<2"
    MTLPATH_WSINFER=wsinfer/bin/python python -m benchmarks.pipeline

The network is the same LeViT-128S with random weights, traced once beforehand (WSInfer loads TorchScript); its command
would fetch a list of models first, so the function behind it is called.
"""

import json
import resource
import sys
import tempfile
import time
from pathlib import Path

SIDE_PX, TILE_PX, BATCH = 1024, 224, 16


def trace(network: Path) -> None:
    """Write the traced network, once."""
    import timm
    import torch

    module = timm.create_model("levit_128s", pretrained=False, num_classes=2).eval()
    torch.jit.trace(module, torch.zeros(BATCH, 3, TILE_PX, TILE_PX), check_trace=False).save(str(network))


def run(slide: Path, tiles: int, network: Path) -> dict[str, float]:
    """Analyse the first tiles of the slide, row by row."""
    import h5py
    import numpy as np
    import tiffslide
    from wsinfer.modellib.models import LocalModelTorchScript
    from wsinfer.modellib.run_inference import run_inference
    from wsinfer.wsi import set_backend
    from wsinfer_zoo.client import ModelConfiguration

    set_backend("tiffslide")
    columns = tiffslide.TiffSlide(slide).dimensions[0] // SIDE_PX
    numbers = np.arange(tiles)
    corners = np.stack([numbers % columns, numbers // columns], axis=1) * SIDE_PX
    configuration = ModelConfiguration.from_dict(
        {
            "spec_version": "1.0",
            "architecture": "levit_128s",
            "num_classes": 2,
            "class_names": ["a", "b"],
            "patch_size_pixels": TILE_PX,
            "spacing_um_px": SIDE_PX / TILE_PX / 2,
            "transform": [
                {"name": "Resize", "arguments": {"size": TILE_PX}},
                {"name": "ToTensor"},
                {"name": "Normalize", "arguments": {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}},
            ],
        }
    )
    with tempfile.TemporaryDirectory() as folder:
        slides, results = Path(folder) / "slides", Path(folder) / "results"
        slides.mkdir()
        (results / "patches").mkdir(parents=True)
        (slides / slide.name).symlink_to(slide.resolve())
        with h5py.File(results / "patches" / f"{slide.stem}.h5", "w") as file:
            file["coords"] = corners
            file["coords"].attrs["patch_size"] = SIDE_PX
            file["coords"].attrs["patch_level"] = 0
        model = LocalModelTorchScript(config=configuration, model_path=str(network))
        began, cpu = time.perf_counter(), time.process_time()
        run_inference(slides, results, model, batch_size=BATCH, num_workers=0)
        spent = time.perf_counter() - began, time.process_time() - cpu
        found = sum(1 for _ in (results / "model-outputs-csv" / f"{slide.stem}.csv").open()) - 1
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"tiles": found, "part_wall": spent[0], "part_cpu": spent[1], "peak_mib": peak}


if __name__ == "__main__":
    if sys.argv[1] == "--trace":
        trace(Path(sys.argv[2]))
    else:
        print(json.dumps(run(Path(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))))
