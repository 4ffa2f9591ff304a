"""Inflations as they are written in papers, on whole arrays."""

import numpy as np


def anomalies(ensemble):
    return ensemble - ensemble.mean(axis=0)


def inflated(ensemble, factor):
    return ensemble.mean(axis=0) + factor * anomalies(ensemble)


def relaxed_to_spread(prior, posterior, strength):
    wide, narrow = prior.std(axis=0), posterior.std(axis=0)
    return inflated(posterior, 1 + strength * (wide - narrow) / narrow)


def relaxed_to_anomalies(prior, posterior, strength):
    mixed = (1 - strength) * anomalies(posterior) + strength * anomalies(prior)
    return posterior.mean(axis=0) + mixed


def with_noise(ensemble, noise):
    return ensemble + noise - np.mean(noise, axis=0)
