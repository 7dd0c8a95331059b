"""One thin module per trainer; what they share is in `batches`."""

from poz._extras import require

require("poz.integrations", "trl", "torch", "trl", "transformers", "peft")
