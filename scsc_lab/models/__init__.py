"""Networks built from specs, and the weights they load."""
