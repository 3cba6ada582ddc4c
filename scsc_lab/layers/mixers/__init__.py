"""Mixers, one file each: modules from maps to maps, ``(N, C, H, W)`` to ``(N, C', ceil(H / s), ceil(W / s))``.

Each is made by ``Mixer(in_channels, out_channels, stride, **settings)``; the class is named after its file.
"""
