"""Ranger against the formulas of RAdam and Lookahead in float64, and resumed."""

import io
import math

import numpy as np
import pytest
import torch

from earwitness.training.optimisers import FLAT, Ranger, as_adam

STEPS, SHAPE = 20, (4, 3)
SETTINGS = {"lr": 0.01, "betas": (0.95, 0.999), "eps": 1e-5, "weight_decay": 1e-3}


class Formula:
    """One parameter in float64."""

    def __init__(self, start, betas, eps, weight_decay, lr=0.0):
        self.fast, self.slow = start.astype(np.float64), start.astype(np.float64)
        self.first, self.second = np.zeros_like(self.fast), np.zeros_like(self.fast)
        self.betas, self.eps, self.weight_decay, self.step = betas, eps, weight_decay, 0

    def __call__(self, gradient, lr):
        self.step += 1
        b1, b2 = self.betas
        self.first = b1 * self.first + (1 - b1) * gradient
        self.second = b2 * self.second + (1 - b2) * gradient**2
        longest = 2 / (1 - b2) - 1
        length = longest - 2 * self.step * b2**self.step / (1 - b2**self.step)
        self.fast = self.fast - lr * self.weight_decay * self.fast
        size = lr / (1 - b1**self.step)
        if length > 5:
            rectified = (length - 4) / (longest - 4) * (length - 2) / (longest - 2) * longest / length
            size *= math.sqrt((1 - b2**self.step) * rectified)
            self.fast = self.fast - size * self.first / (np.sqrt(self.second) + self.eps)
        else:
            self.fast = self.fast - size * self.first
        if self.step % 6 == 0:
            self.slow = self.slow + 0.5 * (self.fast - self.slow)
            self.fast = self.slow
        return length > 5


def start(seed):
    return torch.nn.Parameter(torch.randn(SHAPE, generator=torch.Generator().manual_seed(seed)))


def gradient(step, seed, scale=1.0):
    return scale * torch.randn(SHAPE, generator=torch.Generator().manual_seed(1000 * seed + step))


def run(optimiser, steps, scale=1.0):
    """Steps of a training, with rates set before each as the loop does."""
    for step in steps:
        for number, group in enumerate(optimiser.param_groups):
            group["lr"] = 0.01 * (1 + number) * 0.9**step
            for parameter in group["params"]:
                parameter.grad = gradient(step, number, scale)
        optimiser.step()


@pytest.mark.parametrize("scale", [1e-6, 1e-3, 1.0, 1e4])
@pytest.mark.parametrize("weight_decay", [0.0, 1e-3, 0.5])
def test_ranger_is_its_formula(weight_decay, scale):
    settings = SETTINGS | {"weight_decay": weight_decay}
    parameter = start(0)
    optimiser, formula = Ranger([parameter], **settings), Formula(parameter.detach().numpy(), **settings)
    for step in range(1, STEPS + 1):
        parameter.grad = gradient(step, 0, scale)
        optimiser.step()
        rectified = formula(parameter.grad.double().numpy(), 0.01)
        assert rectified == (step >= 6)
        np.testing.assert_allclose(parameter.detach(), formula.fast, rtol=2e-6, atol=1e-6)
        np.testing.assert_allclose(optimiser.state[parameter]["slow"], formula.slow, rtol=2e-6, atol=1e-6)


def test_groups_keep_rates_and_settings_of_their_own():
    parameters = start(0), start(1)
    own = [SETTINGS | {"weight_decay": 0.1}, SETTINGS | {"betas": (0.9, 0.99), "eps": 1e-3}]
    optimiser = Ranger([{"params": [p], **settings} for p, settings in zip(parameters, own, strict=True)])
    before = [{key: group[key] for key in SETTINGS if key != "lr"} for group in optimiser.param_groups]
    formulas = [Formula(p.detach().numpy(), **settings) for p, settings in zip(parameters, own, strict=True)]
    for step in range(STEPS):
        run(optimiser, [step])
        for number, formula in enumerate(formulas):
            formula(gradient(step, number).double().numpy(), 0.01 * (1 + number) * 0.9**step)
            np.testing.assert_allclose(parameters[number].detach(), formula.fast, rtol=2e-6, atol=2e-6)
        assert [group["lr"] for group in optimiser.param_groups] == [0.01 * 0.9**step, 0.02 * 0.9**step]
    assert [{key: group[key] for key in SETTINGS if key != "lr"} for group in optimiser.param_groups] == before


@pytest.mark.parametrize("stopped", [0, 1, 4, 5, 6, 9])
def test_a_loaded_state_goes_on_bit_for_bit(stopped):
    def fresh():
        parameters = start(0), start(1)
        return parameters, Ranger([{"params": [parameter]} for parameter in parameters], **SETTINGS)

    whole, optimiser = fresh()
    run(optimiser, range(STEPS))
    first, optimiser = fresh()
    run(optimiser, range(stopped))
    file = io.BytesIO()
    torch.save({"weights": first, "optimiser": optimiser.state_dict()}, file)
    file.seek(0)
    saved = torch.load(file, weights_only=True)
    second, optimiser = fresh()
    with torch.no_grad():
        for parameter, value in zip(second, saved["weights"], strict=True):
            parameter.copy_(value)
    optimiser.load_state_dict(saved["optimiser"])
    run(optimiser, range(stopped, STEPS))
    assert all(torch.equal(a, b) for a, b in zip(whole, second, strict=True))


def test_parameters_without_gradients_stay_and_count_from_their_first():
    """One never has a gradient, one from step 4, one not at steps 6 to 8."""
    parameters = [start(number) for number in range(4)]
    always, never, late, pausing = parameters
    optimiser = Ranger(parameters, **SETTINGS)
    formulas = {p: Formula(p.detach().numpy(), **SETTINGS) for p in parameters}
    for step in range(1, STEPS + 1):
        moving = [always, *([late] if step >= 4 else []), *([pausing] if step not in (6, 7, 8) else [])]
        for number, parameter in enumerate(parameters):
            parameter.grad = gradient(step, number) if any(parameter is p for p in moving) else None
        optimiser.step()
        for parameter in moving:
            formulas[parameter](parameter.grad.double().numpy(), 0.01)
        for parameter in parameters:
            np.testing.assert_allclose(parameter.detach(), formulas[parameter].fast, rtol=2e-6, atol=1e-6)
    assert torch.equal(never, start(1)) and never not in optimiser.state


def test_a_step_without_any_gradient_changes_nothing():
    parameter = start(0)
    Ranger([parameter]).step()
    assert torch.equal(parameter, start(0))


def test_a_closure_is_called_with_gradients_and_its_loss_returned():
    parameter = start(0)
    optimiser = Ranger([parameter])

    def closure():
        optimiser.zero_grad()
        loss = parameter.square().sum()
        loss.backward()
        return loss

    assert optimiser.step(closure).item() == pytest.approx(start(0).square().sum().item())
    assert not torch.equal(parameter, start(0))


@pytest.mark.parametrize("step", [1, 5, 6, 7, 100, 100_000])
def test_settings_of_adam(step):
    lr, eps, decay = 0.01, 1e-5, 1e-3
    found = as_adam(step, lr, (0.95, 0.999), eps, decay)
    assert found["lr"] * found["weight_decay"] == pytest.approx(lr * decay)
    if step <= 5:
        assert (found["lr"], found["eps"]) == (lr * FLAT, FLAT)
        return
    assert found["eps"] == pytest.approx(eps / math.sqrt(1 - 0.999**step))
    longest, length = 1999, 1999 - 2 * step * 0.999**step / (1 - 0.999**step)
    rectified = (length - 4) * (length - 2) * longest / ((longest - 4) * (longest - 2) * length)
    assert found["lr"] == pytest.approx(lr * math.sqrt(rectified))
    assert step < 100_000 or found["lr"] == pytest.approx(lr)


def test_every_step_descends_from_the_first_on():
    """The Ranger of pytorch_optimizer 4.1.0 climbs in the first five."""
    weight = torch.nn.Parameter(torch.full((4,), 1.0))
    optimiser = Ranger([weight], lr=0.01)
    losses = []
    for _ in range(6):
        loss = weight.square().sum()
        losses.append(loss.item())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert losses == sorted(losses, reverse=True) and losses[5] < 0.9 * losses[0]
