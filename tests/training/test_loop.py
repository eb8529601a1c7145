"""The training loop on a toy system: bit-identical after kills, no duplicate events, schedules, choices, stop rules."""

import math
import os
import signal
from errno import ENOSPC

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch.utils.data import DataLoader, Dataset, Sampler

from earwitness.errors import EarwitnessError
from earwitness.options import TrainingOptions
from earwitness.systems.interface import System
from earwitness.training import loop
from earwitness.training.events import read_events
from earwitness.training.loop import step_seed, train
from earwitness.training.optimisers import Ranger
from earwitness.training.schedules import linear_warmup, noam, one_cycle, plateau
from earwitness.training.selection import Choice, Patience, Settled

STEPS, EPOCHS = 5, 4


class Killed(Exception):
    pass


class Numbers(Dataset):
    def __getitem__(self, number):
        return torch.full((4, 3), float(number))


class Order(Sampler):
    """Batches in an order that (seed, epoch) settles."""

    def __init__(self):
        self.epoch = 0

    def set_epoch(self, epoch):
        self.epoch = epoch

    def __len__(self):
        return STEPS

    def __iter__(self):
        return iter(np.random.default_rng([7, self.epoch]).permutation(STEPS).tolist())


class Toy(System):
    """A linear network with dropout and BatchNorm, on noisy data."""

    choice = Choice("validation_cider_d")

    def __init__(self, scores=None, kill_at=None, dropout=0.3, loss_at=None):
        torch.manual_seed(3)
        layers = [torch.nn.Linear(3, 6), torch.nn.BatchNorm1d(6), torch.nn.Dropout(dropout), torch.nn.Linear(6, 1)]
        self.network = torch.nn.Sequential(*layers)
        self.scores, self.kill_at, self.loss_at = scores or [], kill_at, loss_at or {}
        self.step = self.validated = 0
        self.seen = []

    def optimiser(self):
        return torch.optim.Adam(self.network.parameters(), lr=1.0)

    def learning_rate(self, moment):
        return 0.01 * 0.5**moment.epoch

    @classmethod
    def load(cls, options, folder, files):
        raise AssertionError("the loop loads no model")

    def training_loader(self):
        return DataLoader(Numbers(), batch_size=None, sampler=Order())

    def validation_loader(self):
        return DataLoader([torch.ones(2, 3), torch.zeros(2, 3)], batch_size=None)

    def losses(self, batch):
        self.step += 1
        if self.step == self.kill_at:
            raise Killed
        self.seen.append(int(batch[0, 0]))
        x = batch + torch.randn_like(batch)
        loss = (self.network(x) - x.sum(dim=1, keepdim=True)).square().mean()
        return {"loss": loss + self.loss_at.get(self.step, 0.0), "part": loss.detach()}

    def validation_step(self, batch):
        return float(self.network(batch).sum())

    def validation_metrics(self, outputs):
        assert len(outputs) == 2
        self.validated += 1
        steps = float(self.network[1].num_batches_tracked)  # better from epoch to epoch
        return {"validation_cider_d": steps + 1e-3 * sum(outputs), "validation_loss": 1.0}


class Scored(Toy):
    """Validation scores by epoch, whatever the weights; ``epochs_before`` have passed in an earlier process."""

    def __init__(self, scores, epochs_before=0, patience=None, **options):
        super().__init__(scores, **options)
        self.validated = epochs_before
        self.stop = None if patience is None else Patience(patience)

    def validation_metrics(self, outputs):
        super().validation_metrics(outputs)
        return {"validation_cider_d": self.scores[self.validated - 1], "validation_loss": 1.0}


def options(**changes):
    return TrainingOptions(**{"epochs": EPOCHS, "gradient_clip": 2.0} | changes)


def weights(work):
    return (work / "best.safetensors").read_bytes()


def events(work):
    """The record, without the times of day."""
    return [{key: event[key] for key in event if key != "time"} for event in read_events(work / "events.jsonl")]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """What an undisturbed training gives: its answer, weights and events."""
    work = tmp_path_factory.mktemp("undisturbed")
    return train(Toy(), options(), 0, work), weights(work), events(work)


def test_the_chosen_epoch_is_the_best_of_validation(tmp_path):
    chosen = train(Scored([0.1, 0.5, 0.3, 0.5]), options(), 0, tmp_path / "all")
    assert chosen == {"epoch": 1, "metric": "validation_cider_d", "value": 0.5}
    train(Scored([0.1, 0.5]), options(epochs=2), 0, tmp_path / "two")
    assert weights(tmp_path / "all") == weights(tmp_path / "two")


def test_the_weights_are_the_network_under_its_own_names(tmp_path):
    task = Scored([0.1])
    train(task, options(epochs=1), 0, tmp_path)
    saved = load_file(tmp_path / "best.safetensors")
    assert {name: value.tolist() for name, value in saved.items()} == {
        name: value.tolist() for name, value in task.network.state_dict().items()
    }


class Tabled(Toy):
    """With a buffer that stays as it is made."""

    fixed = ("table",)

    def __init__(self, **options):
        super().__init__(**options)
        self.network.register_buffer("table", torch.arange(1000.0))


def test_fixed_buffers_are_among_the_weights_and_not_kept_twice(tmp_path, monkeypatch):
    write, kept = loop.Checkpoints._write, []

    def noted(checkpoints, trainer):
        kept.append(set(checkpoints.best or ()))
        write(checkpoints, trainer)

    monkeypatch.setattr(loop.Checkpoints, "_write", noted)
    task = Tabled()
    train(task, options(), 0, tmp_path / "whole")
    saved = load_file(tmp_path / "whole" / "best.safetensors")
    assert saved.keys() == task.network.state_dict().keys() and saved["table"].equal(torch.arange(1000.0))
    assert set().union(*kept) == saved.keys() - {"table"}
    with pytest.raises(Killed):
        train(Tabled(kill_at=8), options(), 0, tmp_path / "killed")
    train(Tabled(), options(), 0, tmp_path / "killed")
    assert weights(tmp_path / "killed") == weights(tmp_path / "whole")


@pytest.mark.parametrize("kill_at", [1, 3, 5, 6, 11, 13, 16, 20])
def test_a_killed_training_gives_the_same_weights_bit_for_bit(tmp_path, undisturbed, kill_at):
    """Killed in a first epoch, at an epoch's first step, in its middle, and at its last step."""
    with pytest.raises(Killed):
        train(Toy(kill_at=kill_at), options(), 0, tmp_path)
    resumed = Toy()
    torch.manual_seed(kill_at)  # the state of the generator does not matter
    assert train(resumed, options(), 0, tmp_path) == undisturbed[0]
    assert weights(tmp_path) == undisturbed[1]
    assert events(tmp_path) == undisturbed[2]
    assert resumed.step == EPOCHS * STEPS - (kill_at - 1) // STEPS * STEPS


@pytest.mark.parametrize("slurm", [False, True])
def test_on_sigterm_a_training_ends_with_a_failure_and_resumes(tmp_path, monkeypatch, undisturbed, slurm):
    """As a scheduler preempts jobs. Slurm's variables change nothing: here they are those of a job with two tasks."""
    if slurm:
        for name, value in {
            "JOB_ID": 7,
            "JOB_NAME": "train",
            "NTASKS": 2,
            "PROCID": 0,
            "LOCALID": 0,
            "NODEID": 0,
        }.items():
            monkeypatch.setenv(f"SLURM_{name}", str(value))
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGUSR1)

    class Preempted(Toy):
        def losses(self, batch):
            if self.step == 7:
                assert signal.getsignal(signal.SIGUSR1) == before[1]
                os.kill(os.getpid(), signal.SIGTERM)
            return super().losses(batch)

    with pytest.raises(SystemExit) as ended:
        train(Preempted(), options(), 0, tmp_path)
    assert ended.value.code == 128 + signal.SIGTERM
    assert signal.getsignal(signal.SIGTERM) == before[0]
    resumed = Toy()
    assert train(resumed, options(), 0, tmp_path) == undisturbed[0]
    assert weights(tmp_path) == undisturbed[1] and events(tmp_path) == undisturbed[2]
    assert resumed.step == (EPOCHS - 1) * STEPS


def test_ctrl_c_comes_out_of_a_training_as_such(tmp_path):
    before = signal.getsignal(signal.SIGINT)

    class Interrupted(Toy):
        def losses(self, batch):
            if self.step == 7:
                os.kill(os.getpid(), signal.SIGINT)
            return super().losses(batch)

    with pytest.raises(KeyboardInterrupt):
        train(Interrupted(), options(), 0, tmp_path)
    assert signal.getsignal(signal.SIGINT) == before and (tmp_path / "last.ckpt").exists()


def test_a_training_killed_twice_gives_the_same_weights(tmp_path, undisturbed):
    for kill_at in (8, 7):  # the second time in the third epoch
        with pytest.raises(Killed):
            train(Toy(kill_at=kill_at), options(), 0, tmp_path)
    train(Toy(), options(), 0, tmp_path)
    assert (weights(tmp_path), events(tmp_path)) == undisturbed[1:]


def test_a_kill_while_the_checkpoint_is_written_leaves_the_one_before(tmp_path, undisturbed, monkeypatch):
    from lightning.pytorch import Trainer

    save = Trainer.save_checkpoint

    def torn(trainer, path, *args, **kwargs):
        if trainer.current_epoch == 2:
            path.write_bytes(b"torn")
            raise Killed
        save(trainer, path, *args, **kwargs)

    monkeypatch.setattr(Trainer, "save_checkpoint", torn)
    with pytest.raises(Killed):
        train(Toy(), options(), 0, tmp_path)
    monkeypatch.undo()
    assert train(Toy(), options(), 0, tmp_path) == undisturbed[0]
    assert (weights(tmp_path), events(tmp_path)) == undisturbed[1:]


def test_a_full_disk_leaves_no_part_of_a_checkpoint(tmp_path, undisturbed, monkeypatch):
    from lightning.pytorch import Trainer

    save = Trainer.save_checkpoint

    def full(trainer, path, *args, **kwargs):
        if trainer.current_epoch == 2:
            path.write_bytes(b"as much as fits")
            raise OSError(ENOSPC, "No space left on device")
        save(trainer, path, *args, **kwargs)

    monkeypatch.setattr(Trainer, "save_checkpoint", full)
    with pytest.raises(EarwitnessError, match=r"disk is full.*last\.ckpt"):
        train(Toy(), options(), 0, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["best.safetensors", "events.jsonl", "last.ckpt"]
    monkeypatch.undo()
    assert train(Toy(), options(), 0, tmp_path) == undisturbed[0]
    assert (weights(tmp_path), events(tmp_path)) == undisturbed[1:]


def test_batches_come_in_the_epochs_order_after_a_kill_too(tmp_path):
    whole, first, second = Toy(), Toy(kill_at=8), Toy()
    train(whole, options(), 0, tmp_path / "whole")
    assert whole.seen == [n for epoch in range(EPOCHS) for n in np.random.default_rng([7, epoch]).permutation(STEPS)]
    with pytest.raises(Killed):
        train(first, options(), 0, tmp_path / "killed")
    train(second, options(), 0, tmp_path / "killed")
    assert first.seen[:STEPS] + second.seen == whole.seen


def test_another_seed_gives_other_weights(tmp_path, undisturbed):
    train(Toy(), options(), 1, tmp_path)
    assert weights(tmp_path) != undisturbed[1]


def test_training_does_not_depend_on_what_was_drawn_before(tmp_path, undisturbed):
    task = Toy()
    torch.manual_seed(99)
    train(task, options(), 0, tmp_path)
    assert weights(tmp_path) == undisturbed[1]


def test_a_finished_training_is_not_trained_again(tmp_path, undisturbed):
    train(Toy(), options(), 0, tmp_path)
    again = Toy()
    assert train(again, options(), 0, tmp_path) == undisturbed[0]
    assert again.step == 0
    assert (weights(tmp_path), events(tmp_path)) == undisturbed[1:]


def test_patience_ends_training(tmp_path):
    task = Scored([0.1, 0.5, 0.3, 0.5, 0.4, 0.9], patience=3)
    chosen = train(task, options(epochs=6), 0, tmp_path)
    assert (chosen["epoch"], task.validated, task.step) == (1, 5, 5 * STEPS)
    again = Scored([0.9] * 6, patience=3)
    assert train(again, options(epochs=6), 0, tmp_path) == chosen
    assert again.step == 0


def test_patience_counts_on_after_a_kill(tmp_path):
    scores = [0.5, 0.4, 0.4, 0.4, 0.9]
    with pytest.raises(Killed):
        train(Scored(scores, kill_at=12, patience=3), options(epochs=5), 0, tmp_path)
    task = Scored(scores, epochs_before=2, patience=3)
    assert train(task, options(epochs=5), 0, tmp_path)["epoch"] == 0
    assert task.step == 2 * STEPS


def test_events_tell_every_epoch_once_with_its_learning_rate(undisturbed):
    validations = [event for event in undisturbed[2] if "validation_loss" in event["metrics"]]
    assert [(event["step"], event["epoch"]) for event in validations] == [(5, 0), (10, 1), (15, 2), (20, 3)]
    rates = [event["metrics"]["learning_rate"] for event in validations]
    assert rates == pytest.approx([0.01, 0.005, 0.0025, 0.00125])
    steps = [event for event in undisturbed[2] if "loss" in event["metrics"]]
    assert [(event["step"], event["epoch"]) for event in steps] == [(1, 0), (11, 2)]
    assert set(steps[0]["metrics"]) == {"loss", "part"}


def test_the_learning_rate_of_the_epoch_is_the_one_used(tmp_path):
    used = []

    class Watched(Toy):
        def optimiser(self):
            self.made = super().optimiser()
            return self.made

        def losses(self, batch):
            used.append(self.made.param_groups[0]["lr"])
            return super().losses(batch)

    with pytest.raises(Killed):
        train(Watched(kill_at=8), options(), 0, tmp_path)
    del used[STEPS:]
    train(Watched(), options(), 0, tmp_path)
    assert used == [0.01 * 0.5**epoch for epoch in range(EPOCHS) for _ in range(STEPS)]


class Groups(Toy):
    """Two parameter groups with rates of their own."""

    def optimiser(self):
        self.made = torch.optim.SGD(
            [{"params": part.parameters()} for part in (self.network[0], self.network[3])], lr=1
        )
        return self.made

    def learning_rate(self, moment):
        return [0.001, 0.01 * linear_warmup(moment, 7)]


class ByStep(Toy):
    def learning_rate(self, moment):
        return 0.01 * noam(moment, 7)


class Rangers(Groups):
    """Looks ahead at steps 6, 12 and 18, none of which ends an epoch."""

    def optimiser(self):
        self.made = Ranger([{"params": part.parameters()} for part in (self.network[0], self.network[3])])
        return self.made

    def learning_rate(self, moment):
        return [0.01 * one_cycle(moment, 0.3), 0.01 * linear_warmup(moment, 7)]


class Plateau(Scored):
    """The rate falls when the loss of validation does; it rose in the second epoch."""

    scores = (1.0, 2.0, 2.0, 0.5)

    def __init__(self, kill_at=None, epochs_before=0):
        super().__init__(self.scores, epochs_before, kill_at=kill_at)

    def learning_rate(self, moment):
        return 0.01 * plateau(moment, "validation_cider_d", patience=0, factor=0.1)


class Minimised(Plateau):
    choice = Choice("validation_cider_d", mode="min")


class LaterTie(Plateau):
    scores = (1.0, 2.0, 2.0, 0.5)
    choice = Choice("validation_cider_d", ties="last")


class Unvalidated(Toy):
    choice = Choice(None)

    def validation_loader(self):
        return None

    def validation_step(self, batch):
        raise AssertionError("nothing is validated")


class Unclipped(Toy):
    """Gradients of which the norm is far above 2."""

    def losses(self, batch):
        losses = super().losses(batch)
        return losses | {"loss": 100 * losses["loss"]}


@pytest.mark.parametrize(
    ("system", "changes", "epoch"),
    [
        (Toy, {}, 3),
        (ByStep, {}, 3),
        (Groups, {}, 3),
        (Rangers, {}, 3),
        (Plateau, {}, 1),
        (Minimised, {}, 3),
        (LaterTie, {}, 2),
        (Unvalidated, {}, 3),
        (Unclipped, {"gradient_clip": None}, 3),
    ],
)
def test_every_schedule_and_choice_resumes_to_the_same_bytes(tmp_path, system, changes, epoch):
    chosen = train(system(), options(**changes), 0, tmp_path / "whole")
    assert chosen["epoch"] == epoch
    for kill_at in (8, 13):
        work = tmp_path / f"killed-{kill_at}"
        with pytest.raises(Killed):
            train(system(kill_at=kill_at), options(**changes), 0, work)
        resumed = system(epochs_before=(kill_at - 1) // STEPS) if issubclass(system, Plateau) else system()
        assert train(resumed, options(**changes), 0, work) == chosen
        assert (weights(work), events(work)) == (weights(tmp_path / "whole"), events(tmp_path / "whole"))


@pytest.mark.parametrize("kill_at", [8, 13, 18])
def test_checkpoints_that_take_long_are_written_less_often_and_lose_nothing(
    tmp_path, monkeypatch, undisturbed, kill_at
):
    """Here after the first epoch and the last alone."""
    monkeypatch.setattr(loop, "SLOW", 0.0)
    monkeypatch.setattr(loop, "SHARE", 1e9)
    with pytest.raises(Killed):
        train(Toy(kill_at=kill_at), options(), 0, tmp_path)
    first = torch.load(tmp_path / "last.ckpt", weights_only=True)["callbacks"]["Checkpoints"]["history"]
    assert len(first) == 1
    resumed = Toy()
    assert train(resumed, options(), 0, tmp_path) == undisturbed[0]
    assert len(resumed.seen) == STEPS * (EPOCHS - 1)
    assert (weights(tmp_path), events(tmp_path)) == undisturbed[1:]


def test_rates_follow_steps_groups_and_the_validation_history(tmp_path):
    used = {}
    for system in (ByStep, Groups, Plateau):

        class Watched(system):
            def optimiser(self):
                self.made = super().optimiser()
                return self.made

            def losses(self, batch, name=system.__name__):
                used.setdefault(name, []).append([group["lr"] for group in self.made.param_groups])
                return super().losses(batch)

        train(Watched(), options(), 0, tmp_path / system.__name__)
    noam_rates = [0.01 * math.sqrt(7) * min(s**-0.5, s * 7**-1.5) for s in range(1, 21)]
    assert [rate for (rate,) in used["ByStep"]] == pytest.approx(noam_rates)
    warm = [step / 7 if step < 7 else (20 - step) / 13 for step in range(20)]
    assert used["Groups"] == [pytest.approx([0.001, 0.01 * factor]) for factor in warm]
    by_epoch = [0.01, 0.01, 0.001, 0.0001]  # the second and third validation are no better than the first
    assert [rate for (rate,) in used["Plateau"]] == pytest.approx([rate for rate in by_epoch for _ in range(STEPS)])


def test_the_plateau_is_that_of_torch():
    from earwitness.training.schedules import Moment

    values = [3.0, 2.0, 1.9995, 1.9994, 1.9993, 1.0, 1.5, 1.5, 1.5, 1.5]
    optimiser = torch.optim.SGD([torch.zeros(1)], lr=1.0)
    settings = {"factor": 0.1, "patience": 2, "threshold": 1e-3}
    expected = torch.optim.lr_scheduler.ReduceLROnPlateau(optimiser, min_lr=0.05, **settings)
    history = []
    for value in values:
        expected.step(value)
        history.append({"loss": value})
        found = plateau(Moment(0, 0, 1, 1, history), "loss", floor=0.05, **settings)
        assert found == optimiser.param_groups[0]["lr"]
    assert found == 0.05


@pytest.mark.parametrize("steps", [2, 3, 10, 41])
@pytest.mark.parametrize("share", [0.001, 0.12, 0.3, 0.55, 0.95, 1.0])
def test_one_cycle_is_that_of_torch(steps, share):
    from earwitness.training.schedules import Moment

    optimiser = torch.optim.SGD([torch.zeros(1)], lr=0.5)
    expected = torch.optim.lr_scheduler.OneCycleLR(optimiser, 0.5, steps, pct_start=share, cycle_momentum=False)
    for step in range(steps):
        assert 0.5 * one_cycle(Moment(0, step, steps, 1), share) == pytest.approx(optimiser.param_groups[0]["lr"])
        optimiser.step()
        if step < steps - 1:
            expected.step()


def test_one_cycle_of_one_step_or_with_its_peak_at_the_first_is_a_number():
    """Torch divides by zero there."""
    from earwitness.training.schedules import Moment

    for steps, share in ((1, 0.3), (1, 1.0), (10, 0.1), (2, 0.5)):
        factors = [one_cycle(Moment(0, step, steps, 1), share) for step in range(steps)]
        assert all(0 < factor <= 1 for factor in factors)


def test_without_clipping_the_gradient_is_taken_whole(tmp_path):
    train(Unclipped(), options(epochs=1, gradient_clip=None), 0, tmp_path / "whole")
    train(Unclipped(), options(epochs=1, gradient_clip=1e-9), 0, tmp_path / "clipped")
    assert weights(tmp_path / "whole") != weights(tmp_path / "clipped")


def test_training_ends_when_validation_has_settled(tmp_path):
    scores = [1.0, 2.0, 1.001, 1.002, 1.001, 5.0]
    task = Scored(scores)
    task.stop = Settled("validation_cider_d", window=3, deviation=0.01, not_before=4)
    train(task, options(epochs=6), 0, tmp_path)
    assert task.validated == 5
    task = Scored([1.0] * 6)
    task.stop = Settled("validation_cider_d", window=2, deviation=0.01, not_before=4)
    train(task, options(epochs=6), 0, tmp_path / "early")
    assert task.validated == 4


def test_validation_that_never_gives_a_number_is_a_plain_error(tmp_path):
    with pytest.raises(EarwitnessError) as told:
        train(Scored([math.nan] * 4), options(), 0, tmp_path)
    assert "validation_cider_d" in str(told.value) and "4 epochs" in str(told.value)


def test_rates_that_fit_no_parameter_groups_are_a_plain_error(tmp_path):
    class Wrong(Groups):
        def learning_rate(self, moment):
            return [0.1, 0.2, 0.3]

    with pytest.raises(EarwitnessError, match=r"Wrong\.learning_rate.*3.*2"):
        train(Wrong(), options(), 0, tmp_path)


def test_an_epoch_that_is_no_number_is_not_chosen(tmp_path):
    chosen = train(Scored([math.nan, 0.2, math.nan, 0.1]), options(), 0, tmp_path)
    assert (chosen["epoch"], chosen["value"]) == (1, 0.2)


def test_a_metric_that_validation_does_not_give_is_named_with_those_it_gives(tmp_path):
    task = Toy()
    task.choice = Choice("validation_spider")
    with pytest.raises(EarwitnessError) as told:
        train(task, options(), 0, tmp_path)
    assert "'validation_spider'" in str(told.value) and "validation_cider_d, validation_loss" in str(told.value)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_loss_that_is_no_number_is_a_plain_error(tmp_path, value):
    with pytest.raises(EarwitnessError, match=r"(nan|inf) in epoch 2, step 3\b"):
        train(Toy(loss_at={8: value}), options(), 0, tmp_path)


def test_a_damaged_checkpoint_is_named(tmp_path):
    (tmp_path / "last.ckpt").write_bytes(b"torn")
    with pytest.raises(EarwitnessError, match=r"last\.ckpt is damaged"):
        train(Toy(), options(), 0, tmp_path)


def test_seeds_of_steps_differ_and_stay():
    seeds = {step_seed(seed, epoch, step, 0) for seed in range(3) for epoch in range(20) for step in range(20)}
    assert len(seeds) == 1200 and all(0 <= seed < 2**63 for seed in seeds)
    assert step_seed(0, 1, 2, 0) == step_seed(0, 1, 2, 0) != step_seed(0, 12, 0)
