"""Makes training data, the demo portrait and the renderer's tensors from the face rig. Not in the wheel."""
