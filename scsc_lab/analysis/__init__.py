"""What numbers say: statistics and figures of merit from arrays. No torch."""
