"""One thin module per trainer; what they share is in `batches`."""

from typing import TYPE_CHECKING

from poz import _lazy
from poz._extras import require

require("poz.integrations", "trl", "torch", "trl", "transformers", "peft")

if not TYPE_CHECKING:  # else checkers would take any name for one that is there
    __getattr__ = _lazy.modules(__name__, __path__)[2]
