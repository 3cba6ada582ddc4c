"""The metrics that networks are measured by: one file each, and their registry."""
