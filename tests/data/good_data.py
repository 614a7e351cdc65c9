"""A small project whose tables and shards are all in order: the embedded faces, cut without the stages."""

import shutil
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
import pandas as pd
import yaml

from fabnet import tables
from fabnet.config import ExtractParams, HealthParams, SynthesizeParams
from fabnet.files import hash_file, write_json
from fabnet.frames.conversion import SAME_EVERYWHERE
from fabnet.frames.shards import TarWriter, member_name, merge, shard_name
from fabnet.frames.split import split_identities
from fabnet.probing.embeddings import write_embeddings
from fabnet.synthetic.faces import write_faces
from fabnet.synthetic.videos import write_videos
from fabnet.video.crop import Box, crop, encode, quality, square
from fabnet.video.recipe import recipe

SIZE, SOURCE, TRACK = 32, 48, 4
# Presence, roll, pitch, yaw, openings of mouth and eyes: of a face, and where FaceMesh did not look.
_SEEN, _UNSEEN = (1.0, 4.0, -3.0, 12.0, 0.2, 0.3), (np.nan,) * 6
PERCENT = {"train": 75, "validation": 15, "test": 10}
LIMITS = HealthParams.model_validate(yaml.safe_load((Path(__file__).parent / "limits.yaml").read_text())["health"])


@dataclass
class Place:
    """The project in the folder `root`. `edit` and `rewrite` change it as a fault would: without any check."""

    root: Path

    def path(self, table: str) -> Path:
        frames = {"index", "rejects", "ledger", "shards"}
        return self.root / ("frames" if table in frames else "") / f"{table}.parquet"

    def edit(self, table: str, change) -> None:
        """Replace a table by `change(frame)`, or by the frame that `change` altered where it returns nothing."""
        frame = pd.read_parquet(self.path(table))
        changed = change(frame)
        (frame if changed is None else changed).to_parquet(self.path(table), index=False)

    def images(self) -> np.ndarray:
        return np.load(self.root / "images.npy")

    def damage(self, begin: int, content: bytes, told: bool = True) -> None:
        """Overwrite bytes of the first shard; shards.parquet does not know unless `told`."""
        shard = self.root / "frames" / shard_name(0)
        with open(shard, "r+b") as file:
            file.seek(begin)
            file.write(content)
        if told:
            self.edit("shards", lambda frame: frame.assign(sha256=hash_file(shard)))

    def rewrite(self, images: np.ndarray, told: bool = True, size: int = SIZE, jpeg_quality: int = 95) -> None:
        """Make the shards, and what depends on them, of other images; the index does not know unless `told`."""
        index = pd.read_parquet(self.path("index"))
        old = index[["sharpness", "brightness"]].copy()
        _write_frames(self.root, index, images, size, jpeg_quality)
        if not told:
            self.edit("index", lambda frame: frame.assign(**old))


def make(root: Path) -> Place:
    """12 people in two tracks each, 15 more with 6 labelled faces each, and what stages make of them."""
    values = {
        "seed": 2018,
        "image_size": SOURCE,
        "workers": 1,
        "videos": {"identities": 12, "seconds": 2 * TRACK, "fps": 1},
    }
    faces = {"train": 8, "validation": 3, "test": 4, "per_identity": 6}
    params = SynthesizeParams.model_validate({**values, "faces": faces})
    write_videos(root / "videos", params)
    write_faces(root / "faces", params)
    shutil.copyfile(root / "faces/labels.parquet", root / "labels.parquet")
    rows, images = [], []
    for clip in sorted((root / "videos").rglob("*.mp4")):
        identity = clip.relative_to(root / "videos").parts[0]
        with av.open(str(clip)) as container:
            pictures = [
                frame.to_ndarray(format="rgb24", interpolation=SAME_EVERYWHERE) for frame in container.decode(video=0)
            ][: 2 * TRACK]
        for number, picture in enumerate(pictures):
            box = square(Box(0, 0, SOURCE, SOURCE), 0)
            images.append(crop(picture, box, SIZE))
            track = f"{identity}/interview/{number // TRACK}"
            place = (
                number % TRACK,
                float(number),
                shard_name(0),
                0,
                0,
                0.0,
                0.0,
                float(SOURCE),
                float(SOURCE),
                0.0,
                0.0,
                float(SOURCE),
                0.0,
                *(_UNSEEN if track.endswith("0001/interview/0") else _SEEN),
            )
            rows.append((track, identity, "interview", f"{identity}/{clip.name}", *place))
    index = pd.DataFrame(rows, columns=list(tables.Index.to_schema().columns))
    (root / "frames").mkdir()
    np.save(root / "images.npy", np.stack(images))
    write_json(root / "frames/crop.json", recipe(ExtractParams.standalone(videos=Path("videos"), image_size=SIZE)))
    _write_frames(root, index, np.stack(images), SIZE, 95)
    rejects = pd.DataFrame({"clip": ["x/y.mp4"], "track_id": [""], "reason": ["truncated"], "detail": ["ends early"]})
    tables.write(rejects, root / "frames/rejects.parquet", tables.Rejects)
    splits = split_identities(index["identity"], PERCENT, 0)
    table = pd.DataFrame({"identity": splits.keys(), "split": splits.values()})
    tables.write(table, root / "splits.parquet", tables.Splits)
    _write_results(root)
    return Place(root)


def copy(place: Place, root: Path) -> Place:
    shutil.copytree(place.root, root, ignore=shutil.ignore_patterns("videos", "faces"))
    return Place(root)


def _write_frames(root: Path, index: pd.DataFrame, images: np.ndarray, size: int, jpeg_quality: int) -> None:
    """Shards, index and ledger of `images`, one for each row of `index`."""
    part, frames = root / "part", root / "frames"
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir()
    index = index.copy()
    with open(part / shard_name(0), "wb") as file:
        tar = TarWriter(file)
        for row, image in enumerate(images):
            sharpness, brightness = quality(image)
            jpeg = encode(crop(image, Box(0, 0, *image.shape[1::-1]), size), jpeg_quality)
            name = member_name(index.at[row, "track_id"], index.at[row, "frame_no"])
            index.loc[row, "offset"], index.loc[row, "size"] = tar.add(name, jpeg), len(jpeg)
            index.loc[row, "sharpness"], index.loc[row, "brightness"] = sharpness, brightness
        tar.close()
    tables.write(index.assign(shard=shard_name(0)), part / "index.parquet", tables.Index)
    for old in [*frames.glob("*.tar"), *frames.glob("index.parquet"), *frames.glob("shards.parquet")]:
        old.unlink()
    merge([part], frames, 1)
    shutil.rmtree(part)
    tracks, clips = index["track_id"].nunique(), index["clip"].nunique()
    counts = {"unit": 0, "clips": clips + 1, "tracks": tracks, "frames": len(index), "rejected_clips": 1}
    left_out = dict.fromkeys(
        ("rejected_tracks", "boxes_clamped", "samples_damaged", "files_ignored", "clips_crowded", "clips_swapped"), 0
    )
    rest = {**left_out, "bytes": index["size"].sum()}
    tables.write(pd.DataFrame([counts | rest]), frames / "ledger.parquet", tables.Ledger)


def _write_results(root: Path) -> None:
    """What later stages leave behind, in form if not in substance."""
    labels = tables.read(root / "labels.parquet", tables.Labels)
    ids = labels["face_id"].tolist()
    vectors = np.random.default_rng(0).normal(size=(len(ids), 8)).astype(np.float32)
    write_embeddings(root / "embeddings", ids, [vectors], 8, len(ids), {"encoder": "fabnet"})
    test = labels[labels["split"] == "test"]
    row = {"encoder": "fabnet", "probe": "regularised", "task": "pose", "seed": 0}
    predictions = test[["face_id", "identity"]].assign(**row).reset_index(drop=True)
    for column in ("target", "prediction"):
        predictions[column] = pd.Series([[1.0, 2.0, 3.0]] * len(test), dtype=object)
    predictions = predictions[list(tables.Predictions.to_schema().columns)]
    tables.write(predictions, root / "predictions.parquet", tables.Predictions)
    steps = np.arange(1, 5)
    history = pd.DataFrame({"step": steps, "samples": 32 * steps, "split": "train", "loss": 1 / steps})
    tables.write(history.assign(learning_rate=0.002, copying=np.nan), root / "history.parquet", tables.History)
    score = {"value": 5.0, "low": 4.0, "high": 6.0, "n": len(test)}
    write_json(root / "metrics.json", {"synthetic": {"fabnet": {"yaw_mae_deg": score, "units_auc": score}}})
