"""How the shipped frame model was made. Not part of the wheel: data, autoencoder twins, pairs, training, calibration."""
