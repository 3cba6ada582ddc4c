"""Networks as data: specs, their catalog, overrides. No torch."""
