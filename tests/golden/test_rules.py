"""The formulas of the golden weights and inputs give the values that were written down with them."""

import hashlib

import numpy as np
import pytest


@pytest.fixture(scope="module")
def checks(golden):
    return golden("rules_check.json")


def test_waves_have_the_samples_written_down(checks, wave):
    for check in checks["wave"]:
        samples = wave(check["sample_rate"], check["seconds"], check["seed"]) * 32768
        assert len(samples) == check["samples"]
        assert samples[:6].tolist() == check["first_samples_times_32768"]
        digest = hashlib.sha256(samples.astype("<i2").tobytes()).hexdigest()
        assert digest == check["sha256_of_int16_little_endian"]


def test_weights_have_the_values_written_down(checks, weight):
    for check in checks["weight"]:
        values = weight(check["name"], tuple(check["shape"])).ravel()
        assert values[:4] == pytest.approx(check["first_values"], rel=1e-6)
        assert values[-1] == pytest.approx(check["last_value"], rel=1e-6)
        assert values.dtype == np.float32


def test_random_inputs_have_the_values_written_down(checks, rnd):
    for check in checks["rnd"]:
        assert rnd(check["seed"], *check["shape"]).ravel() == pytest.approx(check["values"], rel=1e-6)
