"""How the shipped frame model was made: data, autoencoder twins, pairs, training, calibration. Not in the wheel."""
