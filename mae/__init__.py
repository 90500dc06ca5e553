"""Masked Autoencoder pretraining (He et al., 2021): the network, its data, training, evaluation."""
