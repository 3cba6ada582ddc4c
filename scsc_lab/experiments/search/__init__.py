"""Searching a space of settings for the networks that are best under budgets: exactly, or by Optuna's trials."""
