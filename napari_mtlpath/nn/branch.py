"""What belongs to one task alone in a MECDS model: token, routers, experts, head."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from napari_mtlpath.nn.expert import Expert, ExpertMixing
from napari_mtlpath.nn.heads import Head, HeadOutput
from napari_mtlpath.nn.routing import Router, RouterGradient, read_weights, top_p

TOKEN_SPREAD = 0.02  # The usual start of learned tokens (Devlin et al., 2019, arXiv:1810.04805).


@dataclass(frozen=True, kw_only=True, eq=False)
class Adapted:
    """One task's result of one block; `written` holds the new chosen tiles where somebody reads them.

    `phi` and `selected` are None where the model does not route.
    """

    token: Float[Tensor, "1 feature"]
    phi: Float[Tensor, " tile"] | None = None
    selected: Bool[Tensor, " tile"] | None = None
    written: Float[Tensor, "chosen feature"] | None = None


class TaskBranch(nn.Module):
    """One task's token, and per block its router and its expert, and its head.

    Parameters
    ----------
    width, heads, hidden, dropout
        As in the trunk.
    blocks
        Number of blocks that route; 0 leaves routers and experts out.
    outputs
        Number of logits.
    mixing, token_dropout
        What the expert's rows exchange, and how often it gets no token while training.
    """

    def __init__(
        self,
        width: int,
        *,
        heads: int,
        hidden: int,
        dropout: float,
        blocks: int,
        outputs: int,
        mixing: ExpertMixing,
        token_dropout: float,
    ) -> None:
        super().__init__()
        token = torch.empty(1, width)
        # On the meta device only the shape counts, and drawing there would load torch's compiler (2 s, 150 MB).
        self.token = nn.Parameter(token if token.is_meta else TOKEN_SPREAD * torch.randn(1, width))
        self.routers = nn.ModuleList(Router(width) for _ in range(blocks))
        self.experts = nn.ModuleList(
            Expert(width, heads=heads, hidden=hidden, dropout=dropout, mixing=mixing, token_dropout=token_dropout)
            for _ in range(blocks)
        )
        self.head = Head(width, outputs=outputs)

    def adapt(
        self,
        block: int,
        token: Float[Tensor, "1 feature"],
        tiles: Float[Tensor, "tile feature"],
        *,
        p: float,
        gradient: RouterGradient,
        write: bool,
    ) -> Adapted:
        """Route the tiles of one block and run the expert on the chosen ones; without routing the token stays."""
        if not len(self.routers):
            return Adapted(token=token)
        log_phi = self.routers[block](tiles)
        phi = log_phi.exp()
        selected = top_p(phi, p)
        chosen = selected.nonzero().squeeze(1)
        routed = self.experts[block](token, tiles[chosen], read_weights(log_phi, chosen, gradient), write=write)
        return Adapted(token=routed.token, phi=phi, selected=selected, written=routed.tiles)

    def tile_logits(
        self, token: Float[Tensor, "1 feature"], tiles: Float[Tensor, "tile feature"]
    ) -> Float[Tensor, "tile output"] | None:
        """Return the logits of each tile alone through the last expert; `token` as it entered that expert.

        None without routing: nothing but the whole bag's attention answers then.
        """
        if not len(self.experts):
            return None
        expert = self._experts()[-1]
        answered: HeadOutput = self.head(expert.answer_each(token, tiles))
        return answered.logits

    def _experts(self) -> list[Expert]:
        return list(self.experts)  # type: ignore[arg-type]  # ModuleList forgets the type of its modules
