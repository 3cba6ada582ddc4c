"""Timing: what a pass of an ``nn.Module`` takes, measured side by side."""
