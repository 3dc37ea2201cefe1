"""A small network, and its optimizer by name."""

from autowu.train import models
from autowu.train.optimizers import table
from autowu.train.settings.options import Settings
from train.learning import TASK

MODEL = models.build(Settings(model="cnn"), TASK)


def build(name, model=MODEL, **settings):
    return table.build(Settings(optimizer=name, **settings), model)
