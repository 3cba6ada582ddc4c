"""Figures: one file a kind, all in one style. No torch; matplotlib only when something is drawn."""
