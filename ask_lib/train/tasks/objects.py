"""The synthetic objects' classes that exist to train on."""

from __future__ import annotations

from dataclasses import replace

import torch

from ask_lib.train.data import Subset, TensorData, split
from ask_lib.train.loop import Task
from ask_lib.train.tasks import experiment
from ask_lib.train.tasks.classification import ClassificationConfig, classification_task
from ask_lib.train.tasks.rooms import PRETRAIN, ROOMS_SPECS


@experiment(replace(PRETRAIN, count=4800, test_count=480))
def objects_pretrain(config: ClassificationConfig) -> Task:
    """16 object classes that judge nothing, 300 frames each, for a network that ships."""
    from ask_lib.data.objects import Objects
    from ask_scenes.objects import TRAIN_CLASSES, VERSION, ObjectOptions

    objects = Objects("train", config.count + config.test_count, options=ObjectOptions(classes="train"))
    whole = TensorData({"rgb": objects.rgb}, objects.label)  # CLASSES begins with TRAIN_CLASSES: labels are 0 to 15
    frames = torch.arange(len(whole.labels))
    train, validation = split(Subset(whole, frames[: config.count]), config.validation)
    parts = (train, validation, Subset(whole, frames[config.count :]))
    return classification_task(config, ROOMS_SPECS, len(TRAIN_CLASSES), parts, f"objects {VERSION}")
