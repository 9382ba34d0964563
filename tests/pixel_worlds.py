"""Small pixel networks and tasks for tests."""

import torch

from napari_mtlpath.nn.pixels.network import PixelNetwork
from napari_mtlpath.tasks import AnyTask, Classification, PixelRegression, Segmentation
from napari_mtlpath.zoo.pixel_load import PIXEL_NETWORKS

PARTS = Segmentation(name="cell_parts", classes=("background", "cytoplasm", "nucleus"), title="Parts of cells")
TYPES = Classification(name="cell_type", classes=("a", "b", "c", "d"), title="Cell type")
STAIN = PixelRegression(name="stain", unit="OD", high=2.0)
SMALL = {"backbone": "resnet10t", "arguments": {"channels": [4, 6, 8, 8], "stem_width": 4}}


def small_network(
    name: str = "ctan", tasks: tuple[AnyTask, ...] = (PARTS, TYPES), seed: int = 0, **options: object
) -> PixelNetwork:
    """A network of some thousand weights, in eval mode, its batch statistics not those of nothing."""
    network = PIXEL_NETWORKS.load(name).build(
        tasks=tasks, options=SMALL | options, generator=torch.Generator().manual_seed(seed)
    )
    stir = torch.Generator().manual_seed(seed + 1)
    for key, value in network.state_dict().items():
        if key.endswith("running_mean"):
            value.copy_(torch.randn(value.shape, generator=stir) * 0.3)
        elif key.endswith("running_var"):
            value.copy_(torch.rand(value.shape, generator=stir) + 0.5)
    return network.eval()


def random_tiles(count: int = 2, height: int = 64, width: int = 64, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, height, width, 3), dtype=torch.uint8, generator=generator)
