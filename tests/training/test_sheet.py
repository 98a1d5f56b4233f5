"""The sheet shows what training sees."""

import cv2

from rsna.training.sheet import augmented_sheet
from tests.training.tiny import first_fold, tiny_config


def test_it_has_a_row_a_batch_and_changes_with_the_augmentation(tiny):
    pictures = []
    for brightness in (0.0, 0.9):
        config = tiny_config(
            tiny, targets=["cancer", "view", "density"], augment__affine=0, augment__horizontal_flip=0,
            augment__gamma=0, augment__brightness_contrast=1.0, augment__brightness=brightness, augment__contrast=0.0,
        )  # fmt: skip
        file = augmented_sheet(config, first_fold(config), tiny / f"{brightness}.png", batches=2)
        pictures.append(cv2.imread(str(file), cv2.IMREAD_GRAYSCALE))
    assert pictures[0].shape == pictures[1].shape
    assert pictures[0].shape[0] == 2 * (320 + 34)
    assert (pictures[0] != pictures[1]).mean() > 0.5
    assert pictures[0][:30].max() == 255  # captions
