"""Reference verification of the MixupE paper: exact mixup losses, their Taylor expansions, and a ledger of claims."""

from mixupe_theory.losses import mixup_loss, mixup_loss_mc, standard_loss
from mixupe_theory.mixing import BetaLaw
from mixupe_theory.objective import MixupE

__all__ = ["BetaLaw", "MixupE", "mixup_loss", "mixup_loss_mc", "standard_loss"]
