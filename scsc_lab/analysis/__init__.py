"""Statistics and figures of merit from arrays. No torch."""
