"""One thin module per trainer; what they share is in `batches`."""
