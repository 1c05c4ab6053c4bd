"""``lmx demo``: the real console on simulated models, played by itself.

The script is data, the conductor plays it by pressing keys as an operator would, and the stage is a
temporary home with the model files it needs. The console knows nothing of any of it.
"""
