"""A run's recipe: one YAML file plus `key=value` changes, checked and typed before anything begins."""

from train.recipe.features import ClusterDistill, Distill, Textons
from train.recipe.pretraining import Pretrain, Stage
from train.recipe.reader import read_arguments, read_mapping, read_recipe
from train.recipe.self_training import SelfTrain
from train.recipe.typed import build, mapping_of

__all__ = ["ClusterDistill", "Distill", "Pretrain", "SelfTrain", "Stage", "Textons", "build", "mapping_of",
           "read_arguments", "read_mapping", "read_recipe"]  # fmt: skip
