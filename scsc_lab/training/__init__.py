"""Training and evaluation of any network: recipes, data, objectives and one loop. Networks come as ``nn.Module``."""
