"""What a person can set, stage by stage. The command line and the jobs are made from these classes."""

from emotion_ray.settings.checks import check_choices, check_numbers, check_on_disk, default_root, demo_root
from emotion_ray.settings.predict import PredictSettings
from emotion_ray.settings.prepare import CropSettings, PrepareSettings
from emotion_ray.settings.reproduce import ReproduceSettings
from emotion_ray.settings.runs import EvaluateSettings, RunSettings, SplitSettings, TrainRunSettings, TuneSettings
from emotion_ray.settings.serve import ServeLimits, ServeSettings
from emotion_ray.settings.train import AttentionSettings, AugmentSettings, LSTMSettings, TrainSettings, rebuilt

__all__ = [
    "AttentionSettings",
    "AugmentSettings",
    "CropSettings",
    "EvaluateSettings",
    "LSTMSettings",
    "PredictSettings",
    "PrepareSettings",
    "ReproduceSettings",
    "RunSettings",
    "ServeLimits",
    "ServeSettings",
    "SplitSettings",
    "TrainRunSettings",
    "TrainSettings",
    "TuneSettings",
    "check_choices",
    "check_numbers",
    "check_on_disk",
    "default_root",
    "demo_root",
    "rebuilt",
]
