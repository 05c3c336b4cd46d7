from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from diadbench.datasets.decoding.data_module import DataModule
from diadbench.datasets.sets.folder import Folder

MakeTree = Callable[..., Path]


def test_batches_are_the_resized_images(make_tree: MakeTree) -> None:
    dataset = Folder(make_tree())
    data = DataModule(dataset, 32)
    train, test = data.part(dataset.parts("multi-class")[0])
    assert (len(train), len(test)) == (8, 10)
    assert train.class_names == ("bolt", "nut")
    assert train.class_ids.tolist() == [0] * 4 + [1] * 4
    first = Image.open(dataset.root / dataset.samples["image"][0]).resize((32, 32), Image.Resampling.BILINEAR)
    expected = torch.from_numpy(np.array(first)).permute(2, 0, 1).float() / 255
    torch.testing.assert_close(train[0]["image"], expected, rtol=0, atol=0)
    batches = list(train.batches(3))
    assert [len(batch.image) for batch in batches] == [3, 3, 2]
    assert torch.equal(torch.cat([batch.image for batch in batches]), train.images(list(range(8))))


def test_test_batches_hold_one_class_each(make_tree: MakeTree) -> None:
    dataset = Folder(make_tree())
    _, test = DataModule(dataset, 32).part(dataset.parts("multi-class")[0])
    batches = list(test.batches(3))
    assert [batch.class_id.unique().tolist() for batch in batches] == [[0], [0], [1], [1]]
    index = torch.cat([batch.index for batch in batches])
    assert index.tolist() == test.table.index.tolist()
    labels = torch.cat([batch.label for batch in batches if batch.label is not None])
    assert labels.tolist() == test.table["label"].tolist()
    masks = torch.cat([batch.mask for batch in batches if batch.mask is not None])
    assert masks.dtype == torch.bool
    assert masks.flatten(1).any(1).tolist() == [bool(label) for label in labels]
    anomalous = int(np.flatnonzero(test.table["label"])[1])
    native = test.mask(anomalous)
    assert native is not None
    assert native.shape == test.image(anomalous).shape[:2] == (48, 48)
