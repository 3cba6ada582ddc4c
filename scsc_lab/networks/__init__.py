"""What a network is, as data: specs, the catalog of them, overrides. No torch."""
