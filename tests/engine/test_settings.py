from typing import Any

import pytest
from pydantic import ValidationError

from videozoo.engine.settings import TrainSettings


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"schedule": "steps"}, "decay_at: schedule: steps needs"),
        ({"decay_at": [1]}, "decay_at: has no effect with schedule: constant"),
        ({"schedule": "steps", "decay_at": [3, 2]}, "must be above 0 and increase"),
        ({"schedule": "steps", "decay_at": [0]}, "must be above 0 and increase"),
        ({"final_learning_rate": 0.001}, "belongs to schedule: cosine"),
        ({"schedule": "cosine", "final_learning_rate": 1.0}, "is above learning_rate"),
        ({"warmup_epochs": 3}, "more than the 1 epoch "),
        ({"schedule": "noam"}, "noam_size: schedule: noam needs"),
        ({"noam_size": 512}, "noam_size: has no effect with schedule: constant"),
        (
            {"schedule": "noam", "noam_size": 4, "warmup_epochs": 1},
            "warmup_epochs: schedule: noam has a warm-up",
        ),
        (
            {"schedule": "noam", "noam_size": 4, "learning_rate_batch_size": 8},
            "learning_rate_batch_size: has no effect with schedule: noam",
        ),
        ({"optimizer": "adam", "nesterov": True}, "nesterov: needs optimizer: sgd"),
        ({"batch_size": 10, "gradient_accumulation": 4}, "cannot be cut into 4 equal parts"),
        ({"ema_decay": 1.0}, "less than 1"),
        ({"ema_decay": 0}, "greater than 0"),
        ({"mixup_alpha": -0.1}, "greater than or equal to 0"),
        ({"label_smoothing": 1}, "less than 1"),
        ({"freeze_batch_norm": True}, "'none', 'statistics', 'all' or 'all_but_first'"),
        ({"early_stop_epochs": 0}, "greater than or equal to 1"),
        ({"learning_rate_batch_size": 0}, "greater than or equal to 1"),
        ({"compile": "often"}, "valid boolean"),
        ({"epochs": 0}, "greater than or equal to 1"),
        ({"learning_rat": 1}, "Extra inputs are not permitted"),
    ],
)
def test_mistakes_are_refused_by_name(values: dict[str, Any], says: str):
    with pytest.raises(ValidationError, match=says):
        TrainSettings(**values)


def test_every_field_says_what_it_is_for():
    assert [n for n, f in TrainSettings.model_fields.items() if not f.description] == []


def test_numbers_that_yaml_reads_as_text_are_numbers():
    assert TrainSettings.model_validate({"learning_rate": "1e-4"}).learning_rate == 1e-4


def test_settings_survive_a_round_trip_through_plain_values():
    settings = TrainSettings(schedule="steps", decay_at=(0.5, 1.5), epochs=2)

    assert TrainSettings.model_validate(settings.model_dump(mode="json")) == settings
