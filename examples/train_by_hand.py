"""A whole training on one page: a plain PyTorch loop over videozoo's clips and one of its models.

    python examples/train_by_hand.py FOLDER

makes short videos of eight actions in FOLDER (nothing is downloaded), trains a small TSM on them
and asks it about a new one; a few minutes on two CPU cores. For videos of your own, in one folder
per class: `ClipData(format="folder", train="path/to/videos")`, and no `make_clips`.
"""

import argparse
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional as F
from torch.utils.data import DataLoader

import videozoo
from videozoo.data.clips import ClipDataset, ViewDataset, load_entries
from videozoo.data.synthetic.clips import CLASS_NAMES, make_clips
from videozoo.ops.pixels import normalize
from videozoo.settings.clips import ClipData
from videozoo.types import ClipShape


def main(folder: Path, *, num_videos: int, epochs: int) -> None:
    """Make videos, train on them, save the weights and use them."""
    torch.manual_seed(0)
    made = make_clips(folder / "clips", num_train=num_videos, num_val=32, num_test=0, seed=0)

    # 8 frames per clip, one from each eighth of the video; no mirroring: left is not right
    shape = ClipShape(sampling="segments", num_steps=8)
    data = ClipData(train=made.train_list, val=made.val_list, short_side=64, crop_size=48, flip=0)
    train = ClipDataset(load_entries(data, "train"), shape, data)
    val = ViewDataset(load_entries(data, "val"), shape, data)
    batches = DataLoader(train, batch_size=16, shuffle=True, collate_fn=train.collate)
    held_out = DataLoader(val, batch_size=16, collate_fn=val.collate)

    size: dict[str, Any] = {"depth": 18, "width": 0.25, "num_segments": 8, "dropout": 0.0}
    model = videozoo.create_model("tsm", num_classes=len(CLASS_NAMES), **size)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.03, momentum=0.9, nesterov=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.03, epochs * len(batches))

    for epoch in range(epochs):
        train.epoch = epoch  # other crops and frames in every epoch
        model.train()
        total = 0.0
        for batch in batches:
            clips = normalize(batch.clips, data.mean, data.std)  # (N, T, 3, H, W) float
            loss = F.cross_entropy(model(clips), batch.labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total += loss.item()
        model.eval()
        with torch.no_grad():
            hits = [
                (model(normalize(batch.clips, data.mean, data.std)).argmax(1) == batch.labels)
                for batch in held_out
            ]
        right = torch.cat(hits).float().mean().item()
        print(
            f"epoch {epoch + 1}: loss {total / len(batches):.3f}, {right:.0%} of new videos right"
        )

    torch.save(model.state_dict(), folder / "model.pth")
    again = videozoo.create_model("tsm", weights=folder / "model.pth", **size).eval()
    (new,) = ViewDataset(load_entries(data, "val")[:1], shape, data)
    clip = normalize(val.collate([new]).clips, data.mean, data.std)
    print(f"the first of them: {CLASS_NAMES[again(clip).argmax().item()]}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--num-videos", type=int, default=800)
    parser.add_argument("--epochs", type=int, default=10)
    parsed = parser.parse_args()
    main(parsed.folder, num_videos=parsed.num_videos, epochs=parsed.epochs)
