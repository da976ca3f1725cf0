"""The loop that trains a backbone: epochs of steps, validation, the best weights, a checkpoint after each epoch.

Letters: B items of a batch, S segments, C channels, T frames, h×w pixels, K classes, N validation items.
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from braid.backbones import epochs, optim
from braid.backbones.checkpoint import Checkpoints
from braid.backbones.data import Batch, Evaluation, Training, loader
from braid.backbones.inputs import Input
from braid.device import is_out_of_memory
from braid.errors import TrainingError


@dataclass(frozen=True)
class Epoch:
    """One line of `history.csv`.

    Losses are mean cross entropies in nats, accuracies are in [0, 1]. Those of train are means over the epoch while the
    weights move, of what augmentation made; those of val are taken after it. The learning rate is that of the last
    step, the seconds are those of both.
    """

    epoch: int
    train_loss: float
    val_loss: float
    train_accuracy: float
    val_accuracy: float
    learning_rate: float
    seconds: float
    kept: bool = False


class Result(NamedTuple):
    """What training gave beside weights: its epochs, and the logits, float32 [N, K], of the validation items."""

    history: list[Epoch]
    logits: Tensor


class Fit:
    """The training of one network.

    Parameters
    ----------
    name : str
        What errors call it.
    fabric : Fabric
        Launched. Its device, precision, and the processes of other devices.
    network : Backbone
        Takes float32 [B, S, C, T, h, w], as `input` encodes it, and returns logits [B, K]. Trained in place.
    training, evaluation : data sets of the training and of the validation items
    n_classes : int
        K.
    settings : dict
        The complete entry of the config.
    checkpoints : Checkpoints
    workers : int
        Processes that read each of the data sets, beside each device's own.
    """

    def __init__(
        self,
        name: str,
        fabric: Fabric,
        network: nn.Module,
        input: Input,
        training: Training,
        evaluation: Evaluation,
        n_classes: int,
        settings: dict[str, Any],
        checkpoints: Checkpoints,
        workers: int,
    ) -> None:
        self.name, self.settings, self.checkpoints = name, settings, checkpoints
        self.fabric, self.rank, self.world = fabric, fabric.global_rank, fabric.world_size
        self.input, self.network = input, network
        self.labels, self.n_classes = torch.from_numpy(evaluation.labels), n_classes
        self.wrapped, self.optimiser = fabric.setup(network, optim.optimiser(network, settings))
        self.n_items, self.epoch = len(training), 0
        self.n_steps = len(list(self._steps(1)))
        self.at_once = -(-settings["batch_size"] // (settings["accumulate"] * self.world))
        self.rounds = epochs.rounds(len(evaluation), epochs.EVALUATED_AT_ONCE * self.at_once, self.rank, self.world)
        self.history: list[Epoch] = []
        self.best: dict[str, Tensor] = {}
        self._resume()
        pin = fabric.device.type == "cuda"
        self.train_batches = loader(training, self._keys(), workers, pin)
        self.val_batches = loader(evaluation, itertools.cycle([each.tolist() for each in self.rounds]), workers, pin)

    def run(self) -> Result:
        """Train to the end, and leave the network with the weights of the best epoch.

        Raises
        ------
        TrainingError
            A loss is not finite, or memory does not suffice.
        """
        try:
            while not self._is_over():
                self.epoch = len(self.history) + 1
                self._run_epoch()
            self.network.load_state_dict(self.best)
            logits = self._scores()
        except RuntimeError as error:
            if is_out_of_memory(error):
                raise TrainingError(
                    f"Backbone {self.name} lacks memory in epoch {self.epoch}, with passes of {self.at_once} items: "
                    f"raise `accumulate`, now {self.settings['accumulate']}, or lower `batch_size` or what a view has."
                ) from error
            raise
        finally:  # processes that read ahead end here, not when memory is tidied up
            self.train_batches.close()
            self.val_batches.close()
        kept = self._best_epoch()
        return Result([replace(each, kept=each.epoch == kept) for each in self.history], logits)

    def _run_epoch(self) -> None:
        started = time.perf_counter()
        train_loss, train_accuracy, rate = self._train()
        speed = self.n_items / (time.perf_counter() - started)
        self._check_finite(train_loss, "training", rate)
        val_loss, val_accuracy = self._validate()
        self._check_finite(val_loss, "validation", rate)
        seconds = time.perf_counter() - started
        self.history.append(Epoch(self.epoch, train_loss, val_loss, train_accuracy, val_accuracy, rate, seconds))
        is_best = self._best_epoch() == self.epoch
        if is_best:
            self.best = {key: value.cpu().clone() for key, value in self.network.state_dict().items()}
        if self.rank == 0:
            self._save()
            print(
                f"epoch {self.epoch}/{self.settings['epochs']}: train loss {train_loss:.4f}, accuracy "
                f"{train_accuracy:.4f}; val loss {val_loss:.4f}, accuracy {val_accuracy:.4f}{' (best)' * is_best}; "
                f"learning rate {rate:.3g}; {seconds:.1f} s, {speed:.1f} clips/s in training"
            )

    def _train(self) -> tuple[float, float, float]:
        """Return the mean loss, the accuracy and the last learning rate of an epoch, all devices together."""
        settings, fabric = self.settings, self.fabric
        torch.manual_seed(epochs.random_seed(settings["seed"], self.epoch, self.rank))
        rng = np.random.default_rng([settings["seed"], self.epoch, self.rank])
        totals = torch.zeros(2, device=fabric.device)
        rate = 0.0
        self.wrapped.train()
        for number, (n_items, passes) in enumerate(self._steps(self.epoch)):
            rate = optim.learning_rate(settings, (self.epoch - 1) * self.n_steps + number, self.n_steps)
            for group in self.optimiser.param_groups:
                group["lr"] = rate
            for n_left in reversed(range(len(passes))):
                x, wanted = self._training_pass(rng)
                with fabric.no_backward_sync(self.wrapped, enabled=n_left > 0):
                    logits = self.wrapped(x)
                    loss = optim.loss_sum(logits, wanted, settings["label_smoothing"])
                    fabric.backward(loss * (self.world / n_items))  # whose mean over devices is the gradient
                totals += torch.stack([loss.detach(), optim.n_right(logits, wanted)])
            if settings["clip_gradient"] is not None:
                fabric.clip_gradients(
                    self.wrapped, self.optimiser, max_norm=settings["clip_gradient"], error_if_nonfinite=False
                )
            self.optimiser.step()
            self.optimiser.zero_grad()
        loss, accuracy = (self._summed(totals) / self.n_items).tolist()
        return loss, accuracy, rate

    def _training_pass(self, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Return what the network reads in the next pass, and the targets, float32 [B, K]."""
        batch, device = next(self.train_batches), self.fabric.device
        x = self._encode(batch)
        wanted = optim.targets(batch.labels.to(device, non_blocking=True), self.n_classes)
        return optim.mix(x, wanted, self.settings.get("mixup", 0), rng)

    def _encode(self, batch: Batch) -> Tensor:
        device = self.fabric.device
        draws = None if batch.draws is None else batch.draws.to(device, non_blocking=True)
        return self.input.encode(batch.raw.to(device, non_blocking=True), draws)

    def _validate(self) -> tuple[float, float]:
        """Return the mean loss and the accuracy of the validation items."""
        wanted = optim.targets(self.labels, self.n_classes)
        logits = self._scores()
        return (
            optim.loss_sum(logits, wanted).item() / len(wanted),
            optim.n_right(logits, wanted).item() / len(wanted),
        )

    @torch.no_grad()
    def _scores(self) -> Tensor:
        """Return the logits of the validation items, float32 [N, K] on the CPU, the same in every process."""
        self._share_statistics()
        self.network.eval()
        scores = torch.zeros(len(self.labels), self.n_classes, device=self.fabric.device)
        for which in self.rounds:
            x = self._encode(next(self.val_batches))
            with self.fabric.autocast():
                scores[torch.from_numpy(which)] = self.network(x).float()
        return self._summed(scores).cpu()

    def _share_statistics(self) -> None:
        """Give the running means of normalisation, of which each device has its own, their mean over the devices."""
        if self.world > 1:
            for buffer in self.network.buffers():
                if buffer.is_floating_point():
                    buffer.copy_(self._summed(buffer) / self.world)

    def _summed(self, values: Tensor) -> Tensor:
        """Return the sum of the values of all processes."""
        return cast(Tensor, self.fabric.all_reduce(values, reduce_op="sum"))

    def _steps(self, epoch: int) -> Iterator[tuple[int, list[np.ndarray]]]:
        of = self.settings
        return epochs.steps(self.n_items, of["batch_size"], of["accumulate"], of["seed"], epoch, self.rank, self.world)

    def _keys(self) -> Iterator[list[tuple[int, int]]]:
        """Yield the keys of each pass, from the next epoch on without an end: its reader begins before it is wanted."""
        for epoch in itertools.count(len(self.history) + 1):
            for _, passes in self._steps(epoch):
                yield from ([(epoch, i) for i in part.tolist()] for part in passes)

    def _best_epoch(self) -> int:
        by_accuracy = self.settings["monitor"] == "accuracy"
        return max(self.history, key=lambda each: each.val_accuracy if by_accuracy else -each.val_loss).epoch

    def _is_over(self) -> bool:
        done, patience = len(self.history), self.settings["patience"]
        return done >= self.settings["epochs"] or (
            bool(done) and patience is not None and done - self._best_epoch() >= patience
        )

    def _check_finite(self, loss: float, kind: str, rate: float) -> None:
        if not math.isfinite(loss):
            raise TrainingError(
                f"The {kind} loss of backbone {self.name} is not finite in epoch {self.epoch}: lower `learning_rate`, "
                f"now {rate:g}, set `clip_gradient`, or take dtype float32."
            )

    def _save(self) -> None:
        self.checkpoints.save(
            {
                "history": [asdict(each) for each in self.history],
                "network": self.network.state_dict(),
                "optimiser": self.optimiser.state_dict(),
                "precision": self.fabric.strategy.precision.state_dict(),
                "best": self.best,
            }
        )

    def _resume(self) -> None:
        state = self.checkpoints.load()
        if state is None:
            return
        self.history = [Epoch(**each) for each in state["history"]]
        self.best = state["best"]
        self.network.load_state_dict(state["network"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.fabric.strategy.precision.load_state_dict(state["precision"])
        if self.rank == 0:
            print(f"resumed after epoch {len(self.history)}")
